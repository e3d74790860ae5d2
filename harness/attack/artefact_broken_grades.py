"""Attacks by a submission that breaks its grader, by whatever way is left: its run must count all the same (row 30)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.task import TASK_FOLDER, TASK_ID
from harness.sandbox.base import SandboxSpec
from harness.sandbox.scripted import ScriptedBackend, ScriptedSandbox
from harness.session.collect import manifest_of
from harness.session.journal import Journal
from harness.session.lifecycle import MAX_ATTEMPTS, RunSession
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.event import Ended, Entered, Sealed
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import RunResult
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import Generation, Limits, load_task_config
from harness.spec.verdict import ItemScore, Verdict
from harness.store.database import SqlStore
from harness.store.run_dir import RunDir
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.scores import aggregate

_RUN = "r20260101-000000-attac"
_ITEMS = [
    {"id": f"i{n}", "subset": "parity", "type": "parity", "prompt": f"{n}?", "gold": word, "row": {"answer": word}}
    for n, word in enumerate(("even", "odd"))
]


class _Grader(ScriptedSandbox):
    """A grader's sandbox that scores the base model well, and breaks on what is mounted as a submission."""

    def __init__(self, spec: SandboxSpec, broken: Callable[[_Grader], bytes], base_too: bool) -> None:
        super().__init__(spec)
        self._broken, self._base_too = broken, base_too

    def read_file(self, path: str, **options: Any) -> bytes:
        """Answer a request as soon as its reply is looked for."""
        if "/replies/" not in path:
            return super().read_file(path, **options)
        draft = next(data for name, data in reversed(self.files.items()) if name.endswith(".draft"))
        mounted = json.loads(draft)["path"] is None
        return self._broken(self) if mounted or self._base_too else _good()


def _good() -> bytes:
    grader = load_grader(TASK_FOLDER)
    items = tuple(ItemScore(id=str(i["id"]), subset="parity", parsed=True, score=1.0, value=i["gold"]) for i in _ITEMS)
    rows = {str(item["id"]): cast("dict[str, Any]", item["row"]) for item in _ITEMS}
    primary = load_task_config(TASK_FOLDER / "task.toml").metadata.dojo.metric.name
    verdict = Verdict(split="hidden", scores=aggregate(items, grader, primary, rows), items=items)
    reply = {"ok": True, "report": {"ok": True, "kind": "base"}, "verdict": verdict.model_dump(mode="json")}
    return json.dumps(reply | {"responses": dict.fromkeys(rows, "\\boxed{even}")}).encode()


def _error(grader: _Grader) -> bytes:
    return json.dumps({"ok": False, "error": {"message": "score() failed on \ud800", "hint": ""}}).encode()


def _refusal(grader: _Grader) -> bytes:
    report = {"ok": False, "kind": "full", "problems": [{"code": "not_finite", "message": "it changed its mind"}]}
    return json.dumps({"ok": True, "report": report}).encode()


def _out_of_memory(grader: _Grader) -> bytes:
    for process in grader.processes.values():
        process.end(137, oom_killed=True)
    raise FileNotFoundError


def _dead(grader: _Grader) -> bytes:
    grader.die(Cause.SANDBOX, "it took the sandbox with it")
    raise FileNotFoundError


WAYS: dict[str, Callable[[_Grader], bytes]] = {
    "an error of the task's grader": _error,
    "a reply that is none": lambda grader: b"\xff{",
    "a number without end in the reply": lambda grader: b'{"ok": true, "report": ' + b"9" * 400 + b"}",
    "levels without end in the reply": lambda grader: b"[" * 200_000,
    "another refusal than at handing in": _refusal,
    "the worker out of memory": _out_of_memory,
    "the sandbox dead": _dead,
}


class _Library:
    """The small task's two items and a base model that nobody loads."""

    def __init__(self, folder: Path) -> None:
        hidden, few_shot = folder / "hidden.jsonl", folder / "few_shot.jsonl"
        hidden.write_text("".join(json.dumps(item) + "\n" for item in _ITEMS))
        few_shot.write_text("")
        task = SimpleNamespace(id=TASK_ID, path=TASK_FOLDER, dojo=load_task_config(TASK_FOLDER / "task.toml").metadata.dojo)
        prepared = SimpleNamespace(
            task=task, profile="mini", digest="d", dir=folder, hidden_path=hidden, dev_path=hidden, few_shot_path=few_shot
        )
        self._assets = SimpleNamespace(
            prepared=prepared, base_model=SimpleNamespace(path=folder, name="small", digest="m"), install=None
        )

    def assets(self, spec: RunSpec) -> Any:
        """Return them."""
        return self._assets

    def references(self, *_: Any) -> tuple[()]:
        """Give no yardstick."""
        return ()

    def open_backbone(self, *_: Any) -> None:
        """There is none."""


class _Unblamed(RunSession):
    """A session that holds every failure of a grade for the harness's own."""

    def _blamed(self, outcome: Outcome) -> bool:
        return False


def graded(
    folder: Path, broken: Callable[[Any], bytes], *, base_too: bool = False, session: type[RunSession] = RunSession
) -> RunResult:
    """Grade a sealed run in graders that break on what it handed in, and on the base model where ``base_too``."""
    store = SqlStore(folder / "home")
    spec = RunSpec(
        id=_RUN, batch="b1", agent=AgentRef(config=AgentConfig(name="hostile", command=("true",)), digest="a"),
        task=TaskRef(id=TASK_ID, profile="mini", digest="t", data_digest="d"), base_model=BaseModelRef(name="small", digest="m"),
        seed=0, budget=Budget(wall=60.0), limits=Limits(), generation=Generation(), sandbox="scripted",
    )  # fmt: skip
    run = RunDir.create(store.run_dir("b1", _RUN).path, spec)
    store.add_batch("b1", "", [spec], {})
    run.sealed.mkdir()
    (run.sealed / "dojo.json").write_text('{"dojo": "base"}')
    manifest = manifest_of(run.sealed)
    run.manifest_path.write_text(manifest.model_dump_json())
    backend = ScriptedBackend(lambda made: _Grader(made, broken, base_too))
    with store.claim(_RUN) as lease:
        journal = Journal(run, lambda _state: None, held=lease.held)
        for payload in (
            Entered(state=RunState.RUNNING),
            Ended(cause=Cause.COMPLETED, phase="agent"),
            Sealed(submission=1, digest=manifest.digest),
            Entered(state=RunState.SEALED),
        ):
            journal.emit(payload)
        session(spec, journal, store, backend, cast("Any", _Library(folder)), threading.Event()).drive()
    result = run.result()
    assert result is not None  # written when it was driven to its end
    return result


def _breaking(ground: Ground) -> str:
    for what, broken in WAYS.items():
        result = graded(ground.folder(), broken)
        said = f"{what}: {result.state}, {result.outcome.cause}: {result.outcome.message}"
        stopped(result.state is RunState.DONE and result.outcome.cause is Cause.AGENT_ERROR, said)
        stopped(result.grade is not None and result.grade.scores.primary.value == 0.0, said)
        stopped("broke_its_grade" in result.integrity, f"{what} does not stand in the result")
        innocent = graded(ground.folder(), broken, base_too=True)
        stopped(innocent.state is RunState.FAILED and innocent.grade is None, f"{what}: blamed though the base breaks it too")
    return f"after {MAX_ATTEMPTS} failures and a good grade of the base each counts, at the score of nothing: {'; '.join(WAYS)}"


def _believed(ground: Ground) -> str:
    result = graded(ground.folder(), _error, session=_Unblamed)
    stopped(result.state is RunState.DONE, f"the run does not count: {result.outcome.cause}")
    return "it counts"


ATTACKS: tuple[Attack, ...] = (
    Attack(
        30, "breaks-its-grade", Where.ARTEFACT,
        "break the grader in every way it can break: errors, forged replies, memory, death",
        "where the base model is graded well right after it, the submission is at fault and its run counts",
        _breaking, _believed,
    ),
)  # fmt: skip
