"""A kind of answer is read alike by all tasks that ask for it: letters, words, whole numbers, where an answer stands, markers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from task_cases import grader
from test_hostile_answers import CASES, molecule, table

PQA, ORD, ERR, GEN = (grader(f"biology/{name}") for name in ("pqa", "ord", "err", "gen"))
REACTION, MOL_UND = grader("chemistry/reaction"), grader("chemistry/mol_und")
PAR4PC, PI4PC, NOC4PC = (grader(f"patent/{name}") for name in ("par4pc", "pi4pc", "noc4pc"))
TABLES = {name: grader(f"table/{name}") for name in ("data_analysis", "fact_checking", "numerical_reasoning")}


def said(of: Any, task: str, key: str, value: Any, **row: Any) -> Any:
    case = CASES[task]
    return of.score({**case.row, **row}, json.dumps({key: value}), case.subset)


LETTERS = [
    "A", "B", "a", "b", " B ", "(B)", "[b]", "B.", "B:", "B)", "(B", "B ]", "\nB\n", "(B).", "AB", "A, B", "A/B", "A or B",
    "Because", "B because", "the B", "",
    " ", ".", "()", "Z", "É", "Ｂ", "²", "1", "B1", "**B**", "B" * 50, "(" * 90 + "B", "(" * 200 + "B", "\x00B", "B\ud800",
    "\u200bB", "Β", "β",
    None, True, 0, 1, 66, 1.0, {}, {"B": 1}, [["B"]], [None],
]  # fmt: skip


@pytest.mark.parametrize("value", LETTERS, ids=range(len(LETTERS)))
def test_three_tasks_read_a_letter_alike(value: Any) -> None:
    mechsel = REACTION.score(molecule("reaction", "mechsel", "B"), json.dumps({"output": value}), "mechsel").value
    pqa = said(PQA, "biology/pqa", "answer", value, choices=list("pqrstuvwxy"), answer="q").value
    par4pc = said(PAR4PC, "patent/par4pc", "answer", value).value
    found = [mechsel, pqa and pqa["answer"], par4pc and par4pc[0]]
    limits = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJ", "ABCDEFGH")
    assert found == [mechsel if mechsel and mechsel in letters else None for letters in limits]


WORDS = [
    "{}", " {}", "{}\n", "{}.", "{} .", "{}..", "{}!", "({})", "'{}'", "not {}", "{} indeed", "{}{}", "", " ", "perhaps",
    "\x00{}", "{}\ud800", "\u202e{}", "{}\u3000",
]  # fmt: skip


@pytest.mark.parametrize("form", WORDS, ids=range(len(WORDS)))
@pytest.mark.parametrize("write", [str.lower, str.upper, str.title])
def test_two_tasks_read_a_word_alike(form: str, write: Any) -> None:
    yes = MOL_UND.score(
        molecule("mol_und", "equivalence", "Yes"), json.dumps({"output": form.replace("{}", write("yes"))}), "equivalence"
    )
    true = said(ERR, "biology/err", "correct", form.replace("{}", write("true")))
    tagged = ERR.score(CASES["biology/err"].row, f"[ANSWER_START]{form.replace('{}', write('true'))}[ANSWER_END]", "err")
    assert yes.parsed == true.parsed == tagged.parsed
    assert (yes.value == "yes") == (true.value is True) == (tagged.value is True)


NUMBERS = [
    1, "1", "01", "001", " 1 ", "1\n", 1.0, "+1", -1, "-1", "- 1", 0, "0", -0.0, "-0", 1.5, "1.0", "1.5", "1e0", 1e999,
    "1e999999", "one", "", " ", True, None, [], [1],
    {}, "1,000", "1 000", "1.", ".1", "0x1", "１", "١", "¹", "½", "1\x00", "1\ud800", "\u202e1", 10**30, 10**400, -(10**30),
    "9" * 30, "9" * 90, "9" * 5000, "1%",
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=range(len(NUMBERS)))
def test_four_tasks_read_a_whole_number_alike(value: Any) -> None:
    count = MOL_UND.score(molecule("mol_und", "ring_count", "1"), json.dumps({"output": value}), "ring_count").value
    order = said(ORD, "biology/ord", "order", [value, 0 if count else 1]).value
    code = said(NOC4PC, "patent/noc4pc", "code", value).value
    paragraph = said(PI4PC, "patent/pi4pc", "answer", value).value
    assert (count == 1) == (order == [1, 0]) == (code == "1") == (paragraph == "1")
    assert (count == 0) == (order == [0, 1]) == (code == "0") == (paragraph == "0")


TAGGED = {
    "pqa": ("x & 90%", '{"answer": "B"}', "A", "B"),
    "ord": ("[0, 1]", '{"order": [1, 0]}', [0, 1], [1, 0]),
    "err": ("True", '{"correct": false}', True, False),
    "gen": ("Mix it.", '{"steps": ["Stir it."]}', ["Mix it."], ["Stir it."]),
}
FORMS = [
    "{tag}",
    "{json}",
    "{json} {tag}",
    "{tag} {json}",
    "<think>{json}</think>{tag}",
    "<think>{tag}</think>{json}",
    "<think>{tag}</think>",
    "{tag} {{",
    "",
]


@pytest.mark.parametrize("form", FORMS)
def test_the_four_protocol_tasks_look_in_the_same_places(form: str) -> None:
    chosen = set()
    for name, (tagged, in_json, from_tags, from_json) in TAGGED.items():
        case = CASES[f"biology/{name}"]
        text = form.format(tag=f"[ANSWER_START]{tagged}[ANSWER_END]", json=in_json)
        value = grader(f"biology/{name}").score(case.row, text, name).value
        value = value["answer"] if name == "pqa" and value else value
        chosen.add({json.dumps(from_tags): "tags", json.dumps(from_json): "json", "null": "none"}[json.dumps(value)])
    assert len(chosen) == 1


@pytest.mark.parametrize(
    "answer", ["12", "12.0", "**12**", "12 %", "1,200", "−12", "yes", "Yes.", "", "12 apples", "1e999", "\ud800", "\u202e12"]
)
@pytest.mark.parametrize(
    "marker", ["Final Answer: ", "**Final Answer:** ", "final answer:\n", "Answer: ", "Final Answer：", "## Final Answer\n"]
)
def test_the_table_tasks_read_a_final_answer_alike(marker: str, answer: str) -> None:
    rows = {
        "data_analysis": (table("DataAnalysis", "ImpactAnalysis", "12"), "impact"),
        "fact_checking": (table("FactChecking", "MatchBased", "12"), "fact_checking"),
        "numerical_reasoning": (table("NumericalReasoning", "Counting", "12"), "numerical_reasoning"),
    }
    found = {
        (f.parsed, f.value, f.score)
        for name, (row, subset) in rows.items()
        for f in [TABLES[name].score(row, marker + answer, subset)]
    }
    assert len(found) == 1
