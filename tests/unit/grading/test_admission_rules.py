"""Rules that say whether a task is fit to measure with."""

import shutil
from pathlib import Path

import pytest

from harness.assets.prepare import PreparedTask
from harness.assets.task_dir import load_task
from harness.grading.admission import WithoutModel, row_of, rules, score_without_model
from harness.spec.result import Reference
from harness.spec.verdict import Metric, Scores
from tests.unit.grading.tiny import TOY_TASK, toy_items, write_lines


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedTask:
    task = tmp_path / "tasks" / "toys" / "toy"
    shutil.copytree(TOY_TASK, task)
    data = tmp_path / "data"
    data.mkdir()
    write_lines(data / "dev.jsonl", toy_items(8))
    write_lines(data / "hidden.jsonl", toy_items(6))
    write_lines(data / "few_shot.jsonl", toy_items(4))
    return PreparedTask(task=load_task(task), profile="mini", dir=data, digest="d1", sources=(), manifest={})


def reference(name: str, value: float, high: float | None = None) -> Reference:
    scores = Scores(
        primary=Metric(name="score", value=value, higher_is_better=True), metrics={}, subsets={}, parse_rate=1.0, items=10
    )
    return Reference(name=name, scores=scores, ci_low=value - 0.02, ci_high=value if high is None else high)


def found(
    empty=0.0, echo=0.0, constant=0.2, random=0.1, majority=0.2, oracle=1.0, chance=0.1, broken: dict[str, str] | None = None
) -> WithoutModel:
    values = {"empty": empty, "echo": echo, "constant": constant, "random": random}
    return WithoutModel(
        majority=reference("majority", majority, majority + 0.05),
        degenerate=tuple(reference(name, value) for name, value in values.items()),
        oracle=reference("oracle", oracle),
        chance=chance,
        broken=broken or {},
    )


def broken(checks) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_a_task_as_it_should_be_breaks_no_rule() -> None:
    assert broken(rules(found(), {})) == []


@pytest.mark.parametrize(
    ("figures", "rule"),
    [
        ({"empty": 0.06}, "empty"),
        ({"echo": 0.3}, "echo"),
        ({"random": 0.4}, "random"),
        ({"majority": 0.95}, "constant"),
        ({"constant": 0.95}, "constant"),
        ({"oracle": 0.99}, "oracle"),
        ({"broken": {"h-1, a zero byte": "task/tests/grader.py:7: ValueError"}}, "breaks"),
    ],
)
def test_each_rule_is_broken_by_what_it_is_for(figures: dict[str, float], rule: str) -> None:
    checks = rules(found(**figures), {})
    assert broken(checks) == [rule]
    assert all(check.hint for check in checks if not check.ok)


def test_chance_may_beat_the_commonest_answer_where_there_are_few_answers() -> None:
    assert broken(rules(found(random=0.32, majority=0.18, chance=1 / 3), {})) == []


def test_a_declared_exception_is_shown_with_its_reason() -> None:
    checks = rules(found(majority=1.0), {"constant": "as the benchmark has it"})
    assert broken(checks) == []
    assert "KNOWN ISSUE: as the benchmark has it" in next(c for c in checks if c.name == "constant").detail


def test_an_exception_that_is_not_needed_or_that_no_rule_has_is_refused() -> None:
    assert broken(rules(found(), {"constant": "x"})) == ["constant"]
    assert broken(rules(found(), {"colour": "x"})) == ["known_issues"]


def test_everything_without_a_model_is_scored_by_the_tasks_own_grader(prepared: PreparedTask) -> None:
    scored = score_without_model(prepared)
    assert {r.name: r.scores.primary.value for r in scored.degenerate}["empty"] == 0.0
    assert scored.oracle.scores.primary.value == 1.0 and scored.oracle.scores.items == 6
    assert [r.name for r in scored.degenerate] == ["empty", "echo", "constant", "random"]
    assert scored.best.scores.primary.value < 1.0 and scored.chance == pytest.approx(0.2)
    assert scored == score_without_model(prepared)


def test_the_row_says_what_was_not_measured(prepared: PreparedTask) -> None:
    scored = score_without_model(prepared)
    row = row_of(prepared, scored, rules(scored, {}), None)
    assert (row.base, row.few_shot_base, row.grade_s) == (None, None, None)
    assert row.task == "toys/toy" and row.hidden == 6 and row.dev == 8


def test_a_grader_that_a_hostile_answer_breaks_is_not_fit_and_the_line_is_named(prepared: PreparedTask) -> None:
    path = prepared.task.path / "tests" / "grader.py"
    code = path.read_text()
    path.write_text(
        code.replace("    text = response.strip()\n", "    assert '[[[' not in response\n    text = response.strip()\n")
    )
    bad = next(check for check in rules(score_without_model(prepared), {}) if not check.ok)
    line = path.read_text().splitlines().index("    assert '[[[' not in response") + 1
    assert bad.name == "breaks" and f"toy/tests/grader.py:{line}: AssertionError" in bad.detail and "open brackets" in bad.detail
