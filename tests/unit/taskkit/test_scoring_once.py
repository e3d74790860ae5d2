"""An answer is scored once, however many ask."""

from pathlib import Path

import pytest

from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.contract import TaskGrader, load_grader

GRADER = """
SUBSET_METRICS = {"all": "accuracy"}
runs = []
def subset_of(row): return "all"
def score(row, response, subset):
    if response == "breaks":
        raise ValueError("no")
    runs.append((row["n"], response, subset))
    return {"parsed": True, "value": None, "score": 1.0 if len(runs) % 2 else 0.0, "metrics": {}}
def constant_answers(items): return ["x"]
def process_results(doc, results): return {"score": score(doc["row"], results[0], doc["subset"])["score"], "parsed": 1.0}
"""


@pytest.fixture
def grader(tmp_path: Path) -> TaskGrader:
    (tmp_path / "domain" / "task" / "tests").mkdir(parents=True)
    (tmp_path / "domain" / "task" / "tests" / "grader.py").write_text(GRADER)
    return load_grader(tmp_path / "domain" / "task")


def test_one_answer_to_one_item_is_scored_once_meanwhile_and_anew_afterwards(grader: TaskGrader) -> None:
    with grader.scoring_once():
        measured = grader.module.process_results({"row": {"n": 1, "a": 2}, "subset": "all"}, ["x"])
        assert grader.score({"a": 2, "n": 1}, "x", "all").score == measured["score"] == 1.0
        assert grader.score({"n": 2}, "x", "all").score == 0.0
        assert len(grader.module.runs) == 2
    assert grader.score({"n": 1, "a": 2}, "x", "all").score == 1.0 and len(grader.module.runs) == 3


def test_an_answer_that_breaks_the_grader_is_told_to_both_alike(grader: TaskGrader) -> None:
    with grader.scoring_once():
        measured = grader.module.process_results({"row": {"n": 1}, "subset": "all"}, ["breaks"])
        scored = grader.score({"n": 1}, "breaks", "all")
    assert measured["score"] == scored.score == 0.0 and not scored.parsed
    assert scored.failure == "task/tests/grader.py:7: ValueError: no"


def test_a_grader_that_breaks_is_as_it_was_afterwards(grader: TaskGrader) -> None:
    real = grader.module.score
    with pytest.raises(GraderFailure), grader.scoring_once():
        grader.score({}, "x", "all")
    assert grader.module.score is real
