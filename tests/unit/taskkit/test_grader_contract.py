"""Loading a task's grader and refusing what breaks the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import ScoredAnswer, TaskGrader, load_grader

TASKS = Path(__file__).resolve().parents[3] / "tasks"
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


BREAKS = """
SUBSET_METRICS = {"all": "accuracy"}
def subset_of(row): return "all"
def constant_answers(items): return ["1"]
def process_results(doc, results): return score(doc["row"], results[0], "all")
def score(row, response, subset):
    seen.append(response)
    if not row["gold"]:
        raise ValueError("no gold")
    if response:
        BREAK
    return {"parsed": True, "value": response, "score": 0.5, "metrics": {"brier": 1.0}}
seen = []
"""
BREAKING = {
    "an exception": ("raise ValueError(response)", "ValueError: 1"),
    "one without words": ("raise KeyError()", "KeyError"),
    "an assertion": ("assert response != '1', 'seen'", "AssertionError: seen"),
    "recursion": ("score(row, response, subset)", "RecursionError"),
    "a score beyond 1": ('return {"parsed": True, "value": 1, "score": 1.5, "metrics": {}}', "1.5"),
    "a score that is no number": ('return {"parsed": True, "value": 1, "score": float("nan"), "metrics": {}}', "nan"),
    "a figure that is not finite": ('return {"parsed": True, "value": 1, "score": 1, "metrics": {"x": float("inf")}}', "inf"),
    "a figure that is no number": ('return {"parsed": True, "value": 1, "score": 1, "metrics": {"x": "many"}}', "many"),
    "no score": ('return {"parsed": True, "value": 1, "metrics": {}}', "KeyError: 'score'"),
    "nothing": ("return None", "TypeError"),
    "memory": ("raise MemoryError", "MemoryError"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_an_answer_that_the_grader_breaks_on_counts_as_none_and_says_where(tmp_path: Path, name: str) -> None:
    code, said = BREAKING[name]
    answer = grader(tmp_path, text=BREAKS.replace("BREAK", code)).score({"gold": 1}, "1", "all")
    assert (answer.parsed, answer.value, answer.score, dict(answer.metrics)) == (False, None, 0.0, {"brier": 1.0})
    assert said in answer.failure and len(answer.failure) <= 300


def test_where_it_broke_is_the_task_s_own_line(tmp_path: Path) -> None:
    made = grader(tmp_path, text=BREAKS.replace("BREAK", "int('x' + response)"))
    assert made.score({"gold": 1}, "1", "all").failure.startswith("task/tests/grader.py:11: ValueError: invalid literal")


def test_what_an_answer_says_is_kept_short_and_plain_where_the_exception_quotes_it(tmp_path: Path) -> None:
    made = grader(tmp_path, text=BREAKS.replace("BREAK", "raise ValueError('\\ud800' + response)"))
    failure = made.score({"gold": 1}, "\x1b[31m\n\u202e" * 100_000, "all").failure
    assert len(failure) <= 300 and failure.encode() and "\n" not in failure and "\x1b" not in failure


@pytest.mark.parametrize("code", ["import nothing_like_this", "raise OSError('no more processes')"])
def test_what_is_missing_for_any_answer_is_the_grader_s_failure(tmp_path: Path, code: str) -> None:
    with pytest.raises(GraderFailure, match=r"grader\.py"):
        grader(tmp_path, text=BREAKS.replace("BREAK", code)).score({"gold": 1}, "1", "all")


def test_an_item_that_no_answer_can_be_scored_on_is_the_grader_s_failure(tmp_path: Path) -> None:
    made = grader(tmp_path, text=BREAKS.replace("BREAK", "pass"))
    for response in ("1", ""):
        with pytest.raises(GraderFailure, match="no gold"):
            made.score({"gold": None}, response, "all")


def test_a_task_sees_plain_text_only(tmp_path: Path) -> None:
    made = grader(tmp_path, text=BREAKS.replace("BREAK", "pass"))
    assert made.score({"gold": 1}, "a\ud800b\x00", "all").value == "a\ufffdb\ufffd"
    assert made.module.seen == ["a\ufffdb\ufffd"]


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


@pytest.mark.parametrize("value", [[["A"]], [{}], 7, "A", {"A": [1]}, [None], "\ud800", [10**400]])
@pytest.mark.parametrize("task", ["patent/par4pc", "patent/noc4pc", "biology/err"])
def test_a_value_that_no_grader_gives_breaks_no_figures_in_an_unforeseen_way(task: str, value: object) -> None:
    made = load_grader(TASKS / task)
    row = {"options": {}, "gold_answers": ["A"], "answer": {"code": "102"}, "is_correct": True, "context": {}}
    forged = ScoredAnswer(parsed=True, value=value, score=1.0)
    try:
        scores = made.aggregate([(row, next(iter(made.subset_metrics)), forged)], "m")
    except GraderFailure as exc:
        assert "summarise() failed" in exc.message
    else:
        assert 0 <= scores.primary.value <= 1
