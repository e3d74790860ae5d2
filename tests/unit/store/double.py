"""A store that keeps its index in memory, written against the protocol alone."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.spec import RunResult, RunSpec, RunState
from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.event import Entered
from harness.spec.outcome import Cause
from harness.spec.progress import Progress
from harness.spec.summary import Summaries, gather
from harness.store.base import BatchInfo, Damage, Kind, Lease, ReindexReport, RunFilter, RunInfo, Store
from harness.store.owner import Owner
from harness.store.run_dir import RunDir


@dataclass
class Claim:
    owner: Owner
    renewed: float


@dataclass
class Shared:
    """What all who open the store see."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    batches: dict[str, BatchInfo] = field(default_factory=dict)
    runs: dict[str, RunInfo] = field(default_factory=dict)
    results: dict[str, RunResult] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    cancels: set[str] = field(default_factory=set)


class MemoryLease:
    def __init__(self, store: MemoryStore, run: str, claim: Claim) -> None:
        self.run, self.lost = run, threading.Event()
        self._store, self._claim = store, claim

    def held(self) -> bool:
        with self._store.shared.lock:
            if self._store.shared.claims.get(self.run) is not self._claim:
                self.lost.set()
            self._claim.renewed = self._store.clock()
        return not self.lost.is_set()

    def release(self) -> None:
        with self._store.shared.lock:
            if self._store.shared.claims.get(self.run) is self._claim:
                del self._store.shared.claims[self.run]
        self.lost.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class MemoryStore:
    def __init__(self, home: Path, shared: Shared, owner: Owner, clock: Callable[[], float] | None) -> None:
        self.home, self.shared, self.owner, self.clock = home, shared, owner, clock or time.time
        self._leases: list[MemoryLease] = []

    def close(self) -> None:
        for lease in self._leases:
            lease.release()

    def add_batch(self, batch: str, name: str, specs: Sequence[RunSpec], settings: dict[str, Any]) -> None:
        with self.shared.lock:
            self.shared.batches[batch] = BatchInfo(id=batch, name=name, created=datetime.now(UTC), settings=settings)
            for position, spec in enumerate(specs):
                self.shared.runs[spec.id] = info_of(spec, position)

    def batches(self, where: RunFilter | None = None) -> list[BatchInfo]:
        meant = {run.batch for run in self.runs(where)}
        return [batch for batch in self.shared.batches.values() if where is None or batch.id in meant]

    def runs(self, where: RunFilter | None = None) -> list[RunInfo]:
        with self.shared.lock:
            return [run for run in self.shared.runs.values() if self._matches(run, where or RunFilter())]

    def run(self, run: str) -> RunInfo:
        if run not in self.shared.runs:
            raise NotFoundError.named("run", run, list(self.shared.runs))
        return self.shared.runs[run]

    def resolve(self, reference: str, kind: Kind) -> str:
        batches = list(self.shared.batches) if kind != "run" else []
        runs = list(self.shared.runs) if kind != "batch" else []
        known = batches + runs
        if reference == "@last" and (batches or runs):
            return (batches or runs)[-1]
        named = [b for b in batches if self.shared.batches[b].name == reference]
        for found in ([i for i in known if i == reference], named, [i for i in known if i.startswith(reference)]):
            if len(found) == 1:
                return found[0]
            if found and reference:
                raise UsageError(f"{reference!r} is not unique", hint=", ".join(found))
        raise NotFoundError.named(kind, reference, known)

    def run_dir(self, batch: str, run: str) -> RunDir:
        return RunDir(self.home / batch / run)

    def files(self, run: str) -> RunDir:
        return self.run_dir(self.run(run).batch, run)

    def results(self, where: RunFilter | None = None) -> tuple[list[RunResult], list[Damage]]:
        found, damages = [], []
        for info in self.runs(where):
            run = self.files(info.id)
            try:
                result = run.result()
                if result is None and info.state.final:
                    raise StoreError(f"{run.result_path} is missing", hint="grade it again")
            except StoreError as exc:
                damages.append(Damage(run=info.id, path=str(run.path), message=exc.message, hint=exc.hint))
            else:
                found += [result] if result else []
        return found, damages

    def summaries(self, where: RunFilter | None = None) -> Summaries:
        infos = {run.id: run for run in self.runs(where)}
        found = gather(self.shared.results[run] for run in infos if run in self.shared.results)
        rows = [r._replace(why_not=f"excluded: {w}") if (w := infos[r.run].excluded) else r for r in found.runs]
        return Summaries(rows, found.settings, found.item_sets, found.references)

    def record_state(self, run: str, state: RunState, *, cause: Cause | None = None) -> None:
        self._change(run, state=state, cause=cause)

    def record_result(self, result: RunResult) -> None:
        grade = result.grade
        self._change(result.spec.id, state=result.state, cause=result.outcome.cause)
        if grade:
            score = grade.scores.primary
            self._change(result.spec.id, score=score.value, metric=score.name, ci_low=grade.ci_low, ci_high=grade.ci_high)
        self.shared.results[result.spec.id] = result

    def claim(self, run: str) -> Lease:
        with self.shared.lock:
            self._known(run)
            if holder := self.holder(run):
                raise StoreError(f"run {run} is driven by {holder}", hint="end that first", code="busy")
            claim = self.shared.claims[run] = Claim(self.owner, self.clock())
        lease = MemoryLease(self, run, claim)
        self._leases.append(lease)
        return lease

    def holders(self, runs: Sequence[str]) -> dict[str, str]:
        return {run: owner for run in runs if (owner := self.holder(run))}

    def holder(self, run: str) -> str | None:
        claim = self.shared.claims.get(run)
        if claim is None:
            return None
        alive = claim.owner.alive(self.owner)
        over = self.clock() - claim.renewed > 30 if alive is None else not alive
        return None if over else str(claim.owner)

    def request_cancel(self, run: str) -> None:
        self.shared.cancels.add(self.run(run).id)

    def cancel_requested(self, run: str) -> bool:
        return self.run(run).id in self.shared.cancels

    def tag(self, references: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        adding, removing = set(add), set(remove)
        for reference in references:
            for table in (self.shared.batches, self.shared.runs):
                if reference in table:
                    info = table[reference]  # type: ignore[index]
                    tags = tuple(sorted((set(info.tags) | adding) - removing))
                    table[reference] = info.model_copy(update={"tags": tags})  # type: ignore[index]
                    break
            else:
                raise NotFoundError(f"no batch or run {reference}", hint="list them")

    def exclude(self, run: str, why: str) -> None:
        if not why.strip():
            raise UsageError("no reason", hint="say why")
        self._change(run, excluded=why)

    def include(self, run: str) -> None:
        self._change(run, excluded="")

    def remove(self, references: Iterable[str]) -> None:
        going: list[RunInfo] = []
        for reference in references:
            members = [r for r in self.shared.runs.values() if reference in (r.id, r.batch)]
            if not members:
                raise NotFoundError(f"no batch or run {reference}", hint="list them")
            going += members
        for run in going:
            if holder := self.holder(run.id):
                raise StoreError(f"run {run.id} is driven by {holder}", hint="end that first", code="busy")
        for run in going:
            shutil.rmtree(self.files(run.id).path)
            del self.shared.runs[run.id]
            self.shared.results.pop(run.id, None)
        used = {run.batch for run in self.shared.runs.values()}
        self.shared.batches = {b: info for b, info in self.shared.batches.items() if b in used}

    def reindex(self, progress: Progress | None = None) -> ReindexReport:
        damages: list[Damage] = []
        for info in list(self.shared.runs.values()):
            run, hurt, spec, result = self.files(info.id), [], None, None
            for read in (run.result, run.spec, lambda run=run: list(run.events())):
                try:
                    got = read()
                except StoreError as exc:
                    hurt.append(Damage(run=info.id, path=str(run.path), message=exc.message, hint=exc.hint))
                    continue
                result = got if isinstance(got, RunResult) else result
                spec = got if isinstance(got, RunSpec) else spec
            damages += hurt
            if spec is None and result is None:
                del self.shared.runs[info.id]
                continue
            spec = spec or result.spec
            fresh = info_of(spec, info.position).model_copy(update={"tags": info.tags, "excluded": info.excluded})
            self.shared.runs[info.id] = fresh
            for event in run.readable_events():
                if isinstance(event.data, Entered):
                    self.record_state(info.id, event.data.state)
            self.shared.results.pop(info.id, None)
            if result is not None:
                self.record_result(result)
        count = {run.batch for run in self.shared.runs.values()}
        return ReindexReport(batches=len(count), runs=len(self.shared.runs), damages=tuple(damages))

    def _known(self, run: str) -> None:
        if run not in self.shared.runs:
            raise StoreError(f"run {run} is not known", hint="reindex")

    def _change(self, run: str, **fields: Any) -> None:
        with self.shared.lock:
            self._known(run)
            self.shared.runs[run] = self.shared.runs[run].model_copy(update={**fields, "updated": datetime.now(UTC)})

    def _matches(self, run: RunInfo, where: RunFilter) -> bool:
        batch = self.shared.batches[run.batch]
        return all(
            (
                where.batch in (None, run.batch),
                where.runs is None or run.id in where.runs,
                where.task is None or fnmatchcase(run.task, where.task),
                where.agent is None or fnmatchcase(run.agent, where.agent),
                where.profile in (None, run.profile),
                not where.states or run.state in where.states,
                where.name is None or fnmatchcase(batch.name, where.name),
                where.tag is None or where.tag in (*run.tags, *batch.tags),
                where.since is None or run.created >= where.since,
                where.until is None or run.created < where.until,
                where.excluded is None or where.excluded == bool(run.excluded),
            )
        )


def info_of(spec: RunSpec, position: int) -> RunInfo:
    return RunInfo(
        id=spec.id, batch=spec.batch, position=position, agent=spec.agent.name, task=spec.task.id, profile=spec.task.profile,
        base_model=spec.base_model.name, seed=spec.seed, state=RunState.QUEUED, created=spec.created, updated=spec.created,
        limit=spec.limit,
    )  # fmt: skip


def as_store(store: MemoryStore) -> Store:
    """Where the type checker sees that the double is a store."""
    return store
