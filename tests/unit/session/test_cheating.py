"""What a run left is searched before its first grade: a find decides how it ends, and what breaks the search decides nothing."""

import json
from pathlib import Path

import pytest

from harness.assets.base_models import BaseModel
from harness.assets.hidden_secret import set_secret
from harness.assets.prepare import prepare_task
from harness.assets.task_dir import load_task
from harness.attack.artefact_cheats import write_weights
from harness.attack.task import TASK_FOLDER
from harness.session.cheating import judged, search_for_cheating
from harness.session.record import RunRecord
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import RunResult
from harness.spec.summary import summarise
from harness.store.kept import pack
from harness.store.run_dir import RunDir
from tests.unit.session.test_runner import spec


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir.create(tmp_path / "run", spec())
    (made.path / "workspace").mkdir()
    return made


def searched(run: RunDir, cache: Path) -> dict[str, object]:
    set_secret(cache, "ab" * 32)
    pack(run.path / "workspace", run.kept)
    base = BaseModel("base", cache / "models" / "base", "m", 1, "")
    return search_for_cheating(run, prepare_task(load_task(TASK_FOLDER), "mini", cache), base, cache).model_dump()


def test_an_honest_run_has_no_find(run: RunDir, tmp_path: Path) -> None:
    (run.path / "workspace" / "notes.md").write_text("nothing of interest")
    assert searched(run, tmp_path / "cache") == {"searched_for_cheating": True}


def test_a_link_in_the_workspace_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "verdict.json").write_text("{}")
    (run.path / "workspace" / "verdict.json").symlink_to(tmp_path / "verdict.json")
    assert "cheating" not in searched(run, tmp_path / "cache")


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"\xff\xfe\x00", b'{"a": NaN}', b'"\\ud800"', b"{" * 1_000_000], ids=lambda c: str(c[:8])
)
def test_what_would_break_a_search_keeps_no_run_from_being_graded(run: RunDir, tmp_path: Path, content: bytes) -> None:
    (run.path / "workspace" / "hostile.json").write_bytes(content)
    (run.path / "agent.stdout").write_bytes(content)
    assert searched(run, tmp_path / "cache") == {"searched_for_cheating": True}


def test_a_submission_that_cannot_be_read_resembles_nothing(run: RunDir, tmp_path: Path) -> None:
    import numpy as np

    cache = tmp_path / "cache"
    for name, value in (("base", 0.0), ("other", 1.0)):
        (cache / "models" / name).mkdir(parents=True)
        for file, text in (("config.json", "{}"), ("dojo-manifest.json", "{}")):
            (cache / "models" / name / file).write_text(text)
        write_weights(cache / "models" / name / "model.safetensors", {"w": np.full((4, 4), value, np.float32)})
    run.sealed.mkdir()
    (run.sealed / "model.safetensors").write_bytes(b"\xff" * 64)
    assert searched(run, cache) == {"searched_for_cheating": True}


def test_cheating_decides_how_a_run_ended_and_says_what_was_seen() -> None:
    completed = Outcome(cause=Cause.COMPLETED, phase="agent", exit_code=0)
    assert judged(RunRecord(integrity={"searched_for_cheating": True}), completed) == completed
    found = judged(RunRecord(integrity={"cheating": ["the weights are another model's"]}), completed)
    assert found is not None and found.cause is Cause.AGENT_INTEGRITY and found.counts
    assert "the weights are another model's" in found.message
    assert judged(RunRecord(integrity={"cheating": ["x"]}), None) is None


@pytest.mark.parametrize(("graded", "base", "counted"), [(0.0, 0.25, 0.0), (1.0, 0.25, 0.25), (0.0, None, 0.0)])
def test_a_run_with_cheating_counts_no_more_than_its_grade_and_no_more_than_the_base(
    graded: float, base: float | None, counted: float
) -> None:
    scores = {"primary": {"name": "accuracy", "value": graded}, "subsets": {"all": {}}, "parse_rate": 1.0, "items": 1}
    reference = {"name": "base", "ci_low": 0, "ci_high": 1, "item_scores": {"i": base}}
    reference["scores"] = {**scores, "primary": {"name": "accuracy", "value": base}}
    result = RunResult.model_validate(
        {
            "spec": json.loads(spec().model_dump_json()),
            "state": RunState.DONE,
            "outcome": {"cause": "agent_integrity", "phase": "grade"},
            "grade": {"number": 1, "time": "2026-01-01T00:00:00Z", "scores": scores, "ci_low": 0, "ci_high": 1}
            | {"item_scores": {"i": graded}, "verdict_sha256": "", "seconds": 1},
            "references": [] if base is None else [reference],
            "budget": json.loads(spec().budget.model_dump_json()),
            "usage": {},
        }
    )
    row = summarise(result).row
    assert row.flagged and not row.problem and row.primary == counted
