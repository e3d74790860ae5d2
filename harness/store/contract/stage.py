"""What a promise is, and the stage on which it is tried: one store, opened by as many processes as a promise needs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget, Usage
from harness.spec.event import Ended, Entered
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import GradeRecord, RunResult
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import Generation, Limits
from harness.spec.verdict import Metric, Scores
from harness.store.base import Store
from harness.store.owner import Owner
from harness.store.run_dir import RunDir

START = datetime(2026, 1, 1, tzinfo=UTC)
ELSEWHERE = Owner("elsewhere", "another boot", 1, "1")


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        """Return seconds since 1970."""
        return self.now


@dataclass(frozen=True)
class Promise:
    """One thing that a store promises."""

    group: str
    text: str
    try_on: Callable[[Stage], None]

    def check(self, stage: Stage) -> None:
        """Try it; raises AssertionError where it is broken."""
        try:
            self.try_on(stage)
        finally:
            stage.close()

    def __str__(self) -> str:
        return f"{self.group}: {self.text}"


PROMISES: list[Promise] = []


def promise(group: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add a function to the suite, under the first line of its docstring."""

    def add(function: Callable[[Stage], None]) -> Callable[[Stage], None]:
        PROMISES.append(Promise(group, (function.__doc__ or "").splitlines()[0].rstrip("."), function))
        return function

    return add


class Stage:
    """One store and what a promise needs to try it.

    Args:
        opener: opens the store as a process of ``owner`` does; with a clock the store believes it instead of the time.
    """

    def __init__(self, opener: Callable[[Owner, Callable[[], float] | None], Store]) -> None:
        self._opener = opener
        self._opened: list[Store] = []
        self._made = 0

    def open(self, owner: Owner | None = None, clock: Clock | None = None) -> Store:
        """Open the store once more, as this process or another."""
        store = self._opener(owner or Owner.here(), clock)
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            store.close()

    def spec(self, batch: str, **fields: Any) -> RunSpec:
        """Return a new run's specification; each is newer than the one before."""
        self._made += 1
        agent, task = fields.pop("agent", "base"), fields.pop("task", "math/sums")
        return RunSpec(
            id=fields.pop("id", f"r{self._made:04d}"),
            batch=batch,
            agent=AgentRef(config=AgentConfig(name=agent, command=("true",)), digest="a"),
            task=TaskRef(id=task, profile=fields.pop("profile", "mini"), digest="t", data_digest="d"),
            base_model=BaseModelRef(name="smol", digest="m"),
            seed=fields.pop("seed", self._made),
            budget=Budget(wall=60),
            limits=Limits(),
            generation=Generation(),
            sandbox="namespace",
            created=START + timedelta(minutes=self._made),
            **fields,
        )

    def add(self, store: Store, batch: str, specs: Sequence[RunSpec], name: str = "", **settings: Any) -> list[RunDir]:
        """Make the folders of a batch's runs and record it."""
        folders = [RunDir.create(store.run_dir(batch, spec.id).path, spec) for spec in specs]
        store.add_batch(batch, name, specs, settings)
        return folders

    def result(self, spec: RunSpec, items: Sequence[float] = (1.0, 0.0), cause: Cause = Cause.COMPLETED) -> RunResult:
        """Return how a run ended that was scored so."""
        names = [f"i{number}" for number in range(len(items))]
        score = sum(items) / len(items)
        scores = Scores(
            primary=Metric(name="accuracy", value=score), subsets={"all": {"accuracy": score}}, parse_rate=1.0, items=len(items)
        )
        grade = GradeRecord(
            number=1, time=START, scores=scores, ci_low=0.1, ci_high=0.9, item_scores=dict(zip(names, items, strict=True)),
            item_subsets=dict.fromkeys(names, "all"), verdict_sha256="0" * 64, seconds=1.0,
        )  # fmt: skip
        return RunResult(
            spec=spec, state=RunState.DONE, outcome=Outcome(cause=cause, phase="agent"), grade=grade, grades=1,
            budget=spec.budget, usage=Usage(wall=1.0),
        )  # fmt: skip

    def finish(self, store: Store, result: RunResult) -> None:
        """End a run as the harness does: event, result file, record."""
        run = store.run_dir(result.spec.batch, result.spec.id)
        run.append(Ended(**result.outcome.model_dump()))
        run.append(Entered(state=result.state))
        run.write_result(result)
        store.record_result(result)

    def dead_owner(self) -> Owner:
        """Return a process of this host that has ended."""
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        owner = Owner.of(child.pid)
        child.communicate()
        return owner
