"""A task that `dojo tasks new` starts is whole and sound before anyone has changed it."""

from pathlib import Path

import pytest

from harness.assets.new_task import new_task
from harness.assets.prepare import prepare_task
from harness.grading.admission import rules, score_without_model
from harness.spec.errors import UsageError
from harness.taskkit.scoring.contract import load_grader


def test_a_new_task_has_its_own_name_everywhere_and_breaks_no_rule(tmp_path: Path) -> None:
    task = new_task("law/clauses", tmp_path / "mine")
    assert task.id == "law/clauses" and task.path == tmp_path / "mine" / "law" / "clauses"
    files = [path for path in task.path.rglob("*") if path.is_file()]
    assert not [path for path in files if "initials/" in path.read_text() or "text_initials" in path.read_text()]
    prepared = prepare_task(task, "mini", tmp_path / "cache")
    assert load_grader(task.path).score({"name": "Ada Fox", "initials": "AF"}, '{"output": "AF"}', "initials").score == 1.0
    assert [check.name for check in rules(score_without_model(prepared), {}) if not check.ok] == []


@pytest.mark.parametrize("name", ["clauses", "Law/clauses", "law/", "../law/clauses", "law/clauses/more", "law/cl-auses"])
def test_what_is_no_task_name_is_refused_with_an_example(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task name") as caught:
        new_task(name, tmp_path)
    assert "biology/folding" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    new_task("law/clauses", tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        new_task("law/clauses", tmp_path)
