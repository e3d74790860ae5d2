"""Loading a task's grader and refusing what breaks the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import TaskGrader, load_grader

GRADER = """
SUBSET_METRICS = {"easy": "accuracy", "hard": "share"}
LOWER_IS_BETTER = frozenset({"error"})


def subset_of(row):
    return row["subset"]


def score(row, response, subset):
    value = RESULT
    return value


def constant_answers(items):
    return [str(item["row"]["gold"]) for item in items]


def process_results(doc, results):
    return {"score": score(doc["row"], results[0], doc["subset"])["score"]}
"""
RIGHT = '{"parsed": bool(response), "value": response, "score": float(response == str(row["gold"])), "metrics": {"error": 2.0}}'


def grader(folder: Path, result: str = RIGHT, extra: str = "", text: str = GRADER) -> TaskGrader:
    path = folder / "domain" / "task" / "tests" / "grader.py"
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("RESULT", result) + extra)
    return load_grader(folder / "domain" / "task")


def test_the_primary_score_weighs_subsets_and_not_items(tmp_path: Path) -> None:
    made = grader(tmp_path)
    rows = [({"gold": 1}, "easy", "1")] * 3 + [({"gold": 1}, "easy", "2"), ({"gold": 1}, "hard", "")]
    scores = made.aggregate([(row, subset, made.score(row, answer, subset)) for row, subset, answer in rows], "mean")
    assert scores.primary.value == pytest.approx((0.75 + 0) / 2)
    assert scores.metrics["item_mean"] == pytest.approx(0.6) and scores.parse_rate == pytest.approx(0.8)
    assert scores.subsets["easy"] == {"accuracy": 0.75, "error": 2.0, "parse_rate": 1.0}
    assert made.higher_is_better("accuracy") and not made.higher_is_better("error")


def test_a_metric_that_is_no_mean_comes_from_summarise(tmp_path: Path) -> None:
    made = grader(
        tmp_path,
        extra='\ndef summarise(subset, scored):\n    return {"share": max(s["score"] * s["row"]["w"] for s in scored)}\n',
    )
    answers = [({"gold": 1, "w": 0.5}, "hard", made.score({"gold": 1}, a, "hard")) for a in ("1", "2")]
    assert made.aggregate(answers, "m").subsets["hard"]["share"] == 0.5


@pytest.mark.parametrize(
    "result",
    [
        '{"parsed": True, "value": 1, "score": 1.5, "metrics": {}}',
        '{"parsed": True, "value": 1, "score": float("nan"), "metrics": {}}',
        '{"parsed": True, "value": 1, "score": 1.0, "metrics": {"x": float("inf")}}',
        '{"parsed": True, "score": 1.0, "metrics": {}}',
        "1 / 0",
        "None",
    ],
)
def test_what_is_no_score_is_a_grader_failure(tmp_path: Path, result: str) -> None:
    with pytest.raises(GraderFailure, match=r"grader\.py"):
        grader(tmp_path, result).score({"gold": 1}, "1", "easy")


def test_a_row_of_no_subset_names_those_there_are(tmp_path: Path) -> None:
    made = grader(tmp_path)
    for row in ({"subset": "other"}, {}):
        with pytest.raises(SpecError) as caught:
            made.subset_of(row)
        assert "easy, hard" in caught.value.hint


def test_the_majority_answer_is_the_best_candidate(tmp_path: Path) -> None:
    items = [{"row": {"gold": g}, "subset": "easy"} for g in (1, 2, 2)]
    answer, scored = grader(tmp_path).majority_answer(items)
    assert answer == "2" and [a.score for a in scored] == [0, 1, 1]


def test_nothing_to_score_is_a_grader_failure(tmp_path: Path) -> None:
    made = grader(tmp_path)
    with pytest.raises(GraderFailure, match="no item"):
        made.aggregate([], "m")
    with pytest.raises(GraderFailure, match="no candidate"):
        made.majority_answer([])


def test_a_grader_that_is_missing_broken_or_incomplete_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no grader"):
        load_grader(tmp_path)
    with pytest.raises(SpecError, match="does not load"):
        grader(tmp_path / "a", text="import nothing_like_this\n")
    with pytest.raises(SpecError, match="lacks score, subset_of, constant_answers, process_results"):
        grader(tmp_path / "b", text="SUBSET_METRICS = {}\n")
