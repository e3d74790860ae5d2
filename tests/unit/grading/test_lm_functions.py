"""``!function`` in a task's YAML means the grader that is loaded, with its relative imports, not a second copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.grading.worker.lm_task import _lm_tasks
from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.contract import load_grader

TASKS = Path(__file__).resolve().parents[3] / "tasks"
ITEM = {"id": "i1", "subset": "add", "type": "t", "prompt": "p", "row": {}, "gold": "g"}


def test_lm_eval_scores_with_the_grader_that_is_loaded() -> None:
    grader = load_grader(TASKS / "chemistry" / "mol_edit")
    [(config, group)] = _lm_tasks(grader.path.parent / "task.yaml", grader, [ITEM], [], 0)
    assert config["process_results"] is grader.module.process_results and group == [ITEM]
    assert config["doc_to_text"] == "{{prompt}}"


def test_a_function_that_is_not_there_is_a_failure_of_the_grader(tmp_path: Path) -> None:
    grader = load_grader(TASKS / "chemistry" / "mol_edit")
    text = (grader.path.parent / "task.yaml").read_text()
    (tmp_path / "task.yaml").write_text(text.replace("grader.process_results", "grader.no_such"))
    with pytest.raises(GraderFailure, match=r"task\.yaml cannot be read: .*no_such"):
        _lm_tasks(tmp_path / "task.yaml", grader, [ITEM], [], 0)
