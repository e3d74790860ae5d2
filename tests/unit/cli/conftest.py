"""A small real home directory: a batch of two agents with two seeds that ended, and one run on its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import main
from harness.spec import (
    AgentConfig,
    Budget,
    Cause,
    EventKind,
    GradeRecord,
    Limits,
    Metric,
    Outcome,
    Reference,
    RunResult,
    RunSpec,
    RunState,
    Scores,
    Usage,
)  # fmt: skip
from harness.spec.engine import EngineRecord
from harness.spec.event import payload_of
from harness.spec.run import AgentRef, BaseModelRef, TaskRef
from harness.spec.task import Generation
from harness.store.database import SqlStore

BATCH = "b20260101-000000-aaaaa"
HOSTILE = "\x1b]0;owned\x07\x1b[2Jplain \u202etext"
ITEMS = {"base": [0, 0, 1, 0], "recipe": [1, 1, 1, 0]}


@dataclass
class Answer:
    """What one call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def data(self) -> Any:
        assert self.json["ok"] is True, self.out
        return self.json["data"]


@pytest.fixture
def dojo_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call ``dojo`` in this process, with home and cache in the test's directory."""
    for name in ("DOJO_CONFIG", "DOJO_TASKS", "DOJO_AGENTS", "DOJO_SANDBOX", "DOJO_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOJO_HOME", str(tmp_path / "results"))
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def spec_of(number: int, agent: str, seed: int) -> RunSpec:
    return RunSpec(
        id=f"r20260101-00000{number}-aaaa{number}",
        batch=BATCH,
        agent=AgentRef(config=AgentConfig(name=agent, command=("run",)), digest="d" * 64),
        task=TaskRef(id="math/sums", profile="mini", digest="t" * 64, data_digest="e" * 64, hidden="5" * 16),
        base_model=BaseModelRef(name="smol", digest="m" * 64),
        seed=seed,
        budget=Budget(wall=600),
        limits=Limits(),
        generation=Generation(),
        sandbox="namespace",
        versions={"dojo": "0.1.0"},
    )


def scores_of(items: list[float]) -> Scores:
    mean = sum(items) / len(items)
    return Scores(
        primary=Metric(name="accuracy", value=mean), subsets={"all": {"accuracy": mean}}, parse_rate=0.75, items=len(items)
    )


@pytest.fixture
def home(tmp_path: Path) -> list[str]:
    """Fill the test's home and return the ids of its runs; the last one is running."""
    store = SqlStore(tmp_path / "results")
    specs = [spec_of(n, agent, seed) for n, (agent, seed) in enumerate((a, s) for a in ITEMS for s in (0, 1))]
    specs.append(spec_of(len(specs), "search", 0))
    for spec in specs:
        type(store.run_dir(BATCH, spec.id)).create(store.run_dir(BATCH, spec.id).path, spec)
    store.add_batch(BATCH, "first \x1b[31mtry", specs, {})
    for spec in specs[:-1]:
        finish(store, spec)
    run = store.run_dir(BATCH, specs[-1].id)
    run.append(payload_of(EventKind.STATE, {"state": "preparing"}))
    run.append(payload_of(EventKind.STATE, {"state": "running"}))
    run.append(payload_of(EventKind.CLOCK_STARTED, {}))
    run.append(payload_of(EventKind.NOTE, {"text": HOSTILE}), elapsed_s=3.5)
    (run.path / "agent.stdout").write_bytes(f"out {HOSTILE}\nlast".encode())
    (run.path / "agent.stderr").write_bytes(b"err \xc2\x9b31m\n")
    store.record_state(specs[-1].id, RunState.RUNNING)
    store.close()
    return [spec.id for spec in specs]


def finish(store: SqlStore, spec: RunSpec) -> None:
    """Write what a run leaves that went well."""
    items = [float(v) for v in ITEMS[spec.agent.name]]
    names = [f"i{n}" for n in range(len(items))]
    grade = GradeRecord(
        engine=EngineRecord(name="vllm", device="cpu", dtype="float32", versions={"vllm": "0.32.0"}),
        number=1,
        time=datetime.now(UTC),
        scores=scores_of(items),
        ci_low=0.1,
        ci_high=0.9,
        item_scores=dict(zip(names, items, strict=True)),
        item_subsets=dict.fromkeys(names, "all"),
        verdict_sha256="0" * 64,
        seconds=1.0,
    )
    outcome = Outcome(cause=Cause.COMPLETED, phase="agent", message=f"it said {HOSTILE}")
    flat = [0.0, 0.0, 1.0, 0.0]
    reference = Reference(
        name="base", scores=scores_of(flat), ci_low=0.0, ci_high=0.6, item_scores=dict(zip(names, flat, strict=True))
    )
    run = store.run_dir(spec.batch, spec.id)
    run.append(payload_of(EventKind.STATE, {"state": "running"}))
    run.append(payload_of(EventKind.OUTCOME, outcome.model_dump(mode="json")))
    run.append(payload_of(EventKind.GRADED, grade.model_dump(mode="json")))
    run.append(payload_of(EventKind.STATE, {"state": "done"}))
    result = RunResult(
        spec=spec,
        state=RunState.DONE,
        outcome=outcome,
        grade=grade,
        grades=1,
        references=(reference,),
        budget=spec.budget,
        usage=Usage(wall=65, evaluations=2),
        integrity={"note": HOSTILE},
        artefacts={"workspace": "workspace.zip"},
    )
    run.write_result(result)
    store.record_result(result)
