"""What an evaluation tells of the dev split never adds up to it, and how far dev and hidden lie apart is told afterwards."""

from pathlib import Path

import pytest

from harness.assets.render import render_instruction
from harness.assets.task_dir import list_tasks
from harness.session.feedback import may_be_shown
from harness.session.finish import build_result
from harness.session.record import Evaluation, RunRecord
from harness.spec.event import Sealed
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import GradeRecord
from harness.store.run_dir import RunDir
from tests.unit.session.test_runner import spec


@pytest.mark.parametrize(("size", "most"), [(1, 1), (4, 1), (5, 2), (60, 15), (100, 25)])
def test_a_quarter_of_each_sub_set_may_be_shown_and_it_is_always_the_same(size: int, most: int) -> None:
    subsets = {f"{name}-{n}": name for n in range(size) for name in ("a", "b")}
    shown = may_be_shown(subsets)
    assert sorted(subsets[item] for item in shown) == ["a"] * most + ["b"] * most
    assert may_be_shown(dict(reversed(subsets.items()))) == shown


def test_every_goal_says_whether_training_on_dev_is_allowed() -> None:
    for task in list_tasks():
        assert "{{dev_rule}}" in task.instruction and not task.dojo.train_on_dev
    said = render_instruction("# Do it\n", {"dev_rule": "training on items of the dev split is not allowed"})
    assert said == "# Do it\n\nTraining on items of the dev split is not allowed.\n"
    assert render_instruction("{{ dev_rule }}!", {"dev_rule": "no"}) == "no!"


def test_the_gap_between_dev_and_hidden_stands_in_the_result_of_what_was_evaluated_as_it_was_handed_in(tmp_path: Path) -> None:
    scores = {"primary": {"name": "accuracy", "value": 0.4}, "subsets": {}, "parse_rate": 1.0, "items": 100}
    grade = GradeRecord.model_validate(
        {"number": 1, "time": "2026-01-01T00:00:00Z", "scores": scores, "ci_low": 0.3, "ci_high": 0.5, "item_scores": {}}
        | {"verdict_sha256": "", "seconds": 1.0}
    )
    told = {"primary": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 60}}
    of_another = Evaluation(1, "", "other", 0.1, {"primary": {"value": 0.1, "low": 0.0, "high": 0.2, "n": 60}})
    sealed = Sealed(submission=1, digest="mine", files=1, bytes=1)
    outcome = Outcome(cause=Cause.COMPLETED, phase="agent")

    def integrity(*evaluations: Evaluation) -> dict[str, object]:
        record = RunRecord(evaluations=evaluations, grades=(grade,), sealed=sealed)
        return build_result(spec(), RunDir(tmp_path), record, outcome, RunState.DONE, ()).integrity

    found = integrity(Evaluation(2, "", "mine", 0.9, told), of_another)
    assert found["dev_hidden_gap"] == 0.5 and found["dev_hidden_gap_95"] == pytest.approx(0.1414)
    assert "dev_hidden_gap" not in integrity(of_another)
