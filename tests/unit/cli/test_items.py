"""What a run's model answered to the hidden items, and where two runs differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.database import SqlStore
from tests.unit.cli.conftest import ITEMS, Answer

Cli = Callable[..., Answer]


@pytest.fixture
def answered(home: list[str], tmp_path: Path) -> list[str]:
    """Keep answers for the four runs that ended: of two sub-sets, the last one not in the asked form."""
    with_answers = SqlStore(tmp_path / "results")
    for number, run in enumerate(home[:4]):
        path = with_answers.files(run).answers_path(1)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        scores = ITEMS["base" if number < 2 else "recipe"]
        path.write_text("".join(json.dumps(_answer(n, score)) + "\n" for n, score in enumerate(scores)))
    with_answers.close()
    return home


def _answer(number: int, score: float) -> dict[str, object]:
    return {
        "id": f"i{number}",
        "subset": "even" if number % 2 == 0 else "odd",
        "prompt": f"What is {number} + {number}?" + " Think." * 20,
        "gold": str(2 * number),
        "response": "I think. " * 20 + f"\x1b[31mso \\boxed{{{2 * number}}}",
        "parsed": number != 3,
        "score": float(score),
        "metrics": {"accuracy": float(score)},
        "value": None,
    }


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["i0", "i1", "i2", "i3"]),
        (["--wrong"], ["i3"]),
        (["--unparsed"], ["i3"]),
        (["--subset", "ev*"], ["i0", "i2"]),
        (["--subset", "nothing"], []),
        (["--limit", "1"], ["i0"]),
        (["--limit", "0"], ["i0", "i1", "i2", "i3"]),
    ],
)
def test_items_are_shown_by_what_came_of_them(dojo_cli: Cli, answered: list[str], options: list[str], ids: list[str]) -> None:
    answer = dojo_cli("items", answered[2], *options, "--json")
    assert answer.json["schema"] == "dojo/items/v1"
    assert [item["id"] for item in answer.data["items"]] == ids
    assert answer.data["total"] == 4 and answer.data["profile"] == "mini"


def test_for_people_an_answer_is_its_end_in_a_line_that_fits(dojo_cli: Cli, answered: list[str]) -> None:
    out = dojo_cli("items", answered[2]).out
    assert "0.000 unparsed" in out and "so \\boxed{4}" in out and "4 of 4 that match, 4 in all" in out
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 100


def test_two_runs_are_compared_item_by_item(dojo_cli: Cli, answered: list[str]) -> None:
    data = dojo_cli("items", "--diff", answered[2], answered[0], "--json").data
    assert (data["win"], data["tie"], data["loss"]) == (2, 2, 0)
    assert [item["id"] for item in data["items"]] == ["i0", "i1"]
    assert data["by_subset"] == {"even": {"win": 1, "tie": 1, "loss": 0}, "odd": {"win": 1, "tie": 1, "loss": 0}}
    out = dojo_cli("items", "--diff", answered[0], answered[2]).out
    assert "loss" in out and "2 of 2 items on which they differ" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["--diff", "@0"], 2, "--diff needs two runs", "dojo items --help"),
        (["@0", "@1"], 2, "--diff A B compares two", "dojo items --help"),
        (["@4"], 2, "has no grade, so no answers", "dojo status"),
        (["nobody"], 2, "no run named 'nobody'", "known: "),
    ],
)
def test_what_cannot_be_shown_says_why(
    dojo_cli: Cli, answered: list[str], arguments: list[str], code: int, message: str, hint: str
) -> None:
    named = [answered[int(word[1:])] if word.startswith("@") else word for word in arguments]
    answer = dojo_cli("items", *named)
    assert answer.code == code
    assert message in answer.err and hint in answer.err


def test_answers_that_were_not_kept_or_are_damaged_are_no_empty_list(dojo_cli: Cli, answered: list[str], tmp_path: Path) -> None:
    path = SqlStore(tmp_path / "results").files(answered[0]).answers_path(1)
    path.write_text(path.read_text() + '{"id": ')
    damaged = dojo_cli("items", answered[0], "--json")
    assert (damaged.code, damaged.json["error"]["code"]) == (1, "damaged")
    assert "line 5" in damaged.json["error"]["message"]
    path.unlink()
    gone = dojo_cli("items", answered[0])
    assert gone.code == 3 and "were not kept" in gone.err and "--again" in gone.err


BROKE = "task/tests/grader.py:45: ValueError: \x1b[31mno such ring"


def test_an_answer_that_broke_the_grader_is_shown_as_such_with_the_line(
    dojo_cli: Cli, answered: list[str], tmp_path: Path
) -> None:
    path = SqlStore(tmp_path / "results").files(answered[2]).answers_path(1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line | ({"failure": BROKE} if line["id"] == "i3" else {})) + "\n" for line in lines))
    answer = dojo_cli("items", answered[2])
    assert "0.000 broke" in answer.out and "\x1b" not in answer.out
    assert (
        "the task's grader broke on 1 answer, counted as wrong" in answer.out
        and "i3: task/tests/grader.py:45: ValueError" in answer.out
    )
    assert [item["failure"] for item in dojo_cli("items", answered[2], "--json").data["items"]] == ["", "", "", BROKE]
    assert "broke" not in dojo_cli("items", answered[0]).out


def test_a_grade_says_on_which_answers_the_grader_broke(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "results")
    result = store.files(home[2]).result()
    assert result is not None and result.grade is not None
    failures = {f"i{n}": f"task/tests/grader.py:{n}: ValueError" for n in range(7)}
    graded = result.model_copy(update={"grade": result.grade.model_copy(update={"failures": failures})})
    store.files(home[2]).result_path.write_text(graded.model_dump_json())
    for command in ("show", "grade"):
        out = dojo_cli(command, home[2]).out
        assert "broke on 7 answers" in out and "i4: task/tests/grader.py:4" in out and "i5:" not in out and "and 2 more" in out
        assert "broke" not in dojo_cli(command, home[0]).out
    assert dojo_cli("show", home[2], "--json").data["grade"]["failures"] == failures
