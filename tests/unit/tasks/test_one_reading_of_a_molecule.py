"""The four chemistry tasks read a molecule in an answer alike: what is one for one of them is one for all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from task_cases import grader
from test_hostile_answers import molecule

from harness.taskkit.scoring.contract import ScoredAnswer

READERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "chemistry/mol_edit": (
        molecule("mol_edit", "add", "CCO", "Input Molecule: CC", '{"reference": "CCO", "added_group": "hydroxyl"}'),
        "add",
        "valid_rate",
    ),
    "chemistry/mol_opt": (molecule("mol_opt", "solubility", "", "Source Molecule: CCCCCC"), "solubility", "valid_rate"),
    "chemistry/mol_und": (molecule("mol_und", "Murcko_scaffold", "c1ccccc1"), "Murcko_scaffold", "valid"),
    "chemistry/reaction": (molecule("reaction", "retro", "CO"), "retro", "valid_rate"),
}
_GRADERS = {name: grader(name) for name in READERS}

MOLECULES = [
    "C", "CC", "CCO", "OCC", "C(C)O", "C1CCCCC1", "c1ccccc1", "C1=CC=CC=C1", "[CH4]", "[Na+].[Cl-]", "CC.O", "O=C=O", "N#N",
    "C#N",
    "[2H]O[2H]", "F/C=C/F", "F/C=C\\F", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "[O-][N+](=O)c1ccccc1", "CS(=O)(=O)C", "BrBr",
    "[H][H]",
    "[Fe+2]", "OB(O)c1ccccc1", "c1ccc2ccccc2c1", "c1ccncc1", "c1cc[nH]c1", "C%10CCCCC%10", "C1CC1C1CC1", "[NH4+]", "[13CH4]",
    "C[Si](C)(C)C",
    "CC(C)(C)OC(=O)N", "O=S(=O)(O)O", "P(=O)(O)(O)O", "I", "[I-]", "C" * 300, "[Xe]",
]  # fmt: skip
BEHIND = [
    "c1ccccc1 or C1CCCCC1", "c1ccccc1 C1CCCCC1", "CCO ethanol", "CCO (ethanol)", "CCO, CCN", "CCO;CCN", "CCO\tname", "CCO\nCCN",
    "CCO  .CCN",
    "C C O", "CCO |$R1$|", "CCO |", "The answer is CCO", "CCO is right", "ethanol: CCO", "CCO = ethanol", "CCO\u00a0x",
    "CCO\u2003CCN", "CCO\rCCN",
    "CCO -> CCN", "CCO >> CCN", "1. CCO", "CCO?", "CCO!", "`CCO`", "'CCO'", "\"CCO\"", "<CCO>", "SMILES: CCO", "CCO # comment",
    "CCO //", "CCO\\n",
    "CCO\u3000", "\u200bCCO", "CCO\u200b", "\ufeffCCO", "\u202eOCC", "CC\u202eO", "CCO\u0301", "ＣＣＯ",
]  # fmt: skip
BROKEN = [
    "C(", "C)", "(C", "C((", "C1", "C1CC", "c1cccc1", "c1ccccc", "C=", "=C", "C#", "C==C", "C(C)(C)(C)(C)C", "[C", "C]", "[]",
    "[Zz]", "Q", "X", "R",
    "hello", "42", "-", "+", ".", "..", "C..C", ".C", "C.", "/", "\\", "//", "C/", "@", "[@]", "[C@@@]", "%", "%1", "C%", "C%1",
    "{}", "[[C]]", "C$$C",
    "none", "N/A", "null", "true", "yes", "no", "O=", "[O--", "[+]", "c", "n1", "[nH", "C&C", "C!C", "C~C", "C:C",
    "[Na+][Cl-]]", "Cl-", "Na+", "\u0000",
    "C\u0000C", "\ud800", "C\ud800", "\udfffCC", "C\uffff", "😀", "C😀", "é", "Cé", "C" * 1001, "C" * 100_000, "(" * 500,
    "[" * 500, "C1" * 400, "0" * 900,
    "C(" * 450, "C(" * 300 + ")" * 300, "=" * 1000, "." * 1000, "C." * 499, "[C@H]" * 10, "[C@](" * 100, "*" * 3, "C1CC1CC1",
    "[1000C]", "[C+1000]",
    "[C:1]", "[#6]", "[C,N]", "[C;N]", "C?C", "C_C", "C^C", "<C>", "CC>>CCO", "CC>O>CN", ">>", "C;C", "C,C", "C'C", "C`C",
    'C"C', "C\\\\C", "C//C", "[C", "[2]", "[H", "[0C]",
    "[C-9999999999]", "[C@TH9]", "[C@OH31]", "C1CC2", "C%(100)CC%(100)", "C0CC0", "[C:99999999999]", "[!C]", "[$(C)]", "[R]",
    "[A]", "[a]",
]  # fmt: skip
WILDCARDS = ["*", "C*", "*c1ccccc1", "[*]C", "[*:1]CC", "C.*", "[*H]", "CC(*)C"]
NO_TEXT: list[Any] = [None, True, 1, 1.5, {}, [[]], {"smiles": "CCO"}, "", " ", "\n", "\u00a0", -1, 10**400, [{}], [None], [1]]
TEXTS = [*MOLECULES, *BEHIND, *BROKEN, *WILDCARDS]


def readings(value: Any, *, escaped: bool = True) -> dict[str, ScoredAnswer]:
    response = "Here: " + json.dumps({"output": value}, ensure_ascii=escaped)
    return {name: _GRADERS[name].score(row, response, subset) for name, (row, subset, _) in READERS.items()}


def valid(found: dict[str, ScoredAnswer]) -> dict[str, bool]:
    return {name: answer.metrics[READERS[name][2]] == 1.0 for name, answer in found.items()}


def test_there_are_200_strings() -> None:
    assert len(set(TEXTS)) >= 200


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_four_tasks_agree_on_what_is_a_molecule(text: str) -> None:
    for escaped in (True, False):
        found = readings(text, escaped=escaped)
        assert len(set(valid(found).values())) == 1, valid(found)
        assert len({answer.parsed for answer in found.values()}) == 1
        assert not any(answer.failure for answer in found.values())


@pytest.mark.parametrize("text", MOLECULES)
def test_what_everyone_writes_is_a_molecule(text: str) -> None:
    assert all(valid(readings(text)).values())


@pytest.mark.parametrize("text", [*BEHIND, *WILDCARDS])
def test_text_around_a_molecule_and_wildcards_are_none(text: str) -> None:
    if text == "CCO\u3000":  # white space at the ends is none of it
        assert all(valid(readings(text)).values())
    else:
        assert not any(valid(readings(text)).values())


@pytest.mark.parametrize("value", NO_TEXT, ids=repr)
def test_what_is_no_text_is_no_answer_to_any_of_them(value: Any) -> None:
    assert not any(answer.parsed for answer in readings(value).values())


def test_a_wildcard_answers_a_question_whose_right_answer_has_one() -> None:
    row = molecule("reaction", "retro", "*c1ccccc1")
    assert _GRADERS["chemistry/reaction"].score(row, '{"output": "c1ccccc1*"}', "retro").score == 1
