"""Finding batches and runs: what there is, where it stands, what it weighs, and what of it is damaged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.spec.errors import DojoError
from harness.spec.measured import measured
from harness.store.base import BatchInfo, Damage, RunFilter, RunInfo, Store


class ListedRun(RunInfo):
    """A run as the index knows it, with what was measured and what its folder holds on disk."""

    name: str = Field("", description="its batch's name")
    variant: str = Field("", description="what tells its agent apart from that agent as it comes, as `feedback=false`")
    hidden: str = Field("", description="a mark where anybody can make the hidden split")
    budget: str = Field("", description="the limits, as `5m, 8 evaluations`; empty where run.json cannot be read")
    sandbox: str = ""
    backbone: str = ""
    dojo_version: str = ""
    bytes: int | None = Field(None, description="on disk; only where it was asked for")


class ListedBatch(BatchInfo):
    """A batch with its runs counted."""

    runs: int
    states: dict[str, int] = Field(description="state → runs")
    agents: tuple[str, ...]
    tasks: tuple[str, ...]
    profiles: tuple[str, ...]
    bytes: int | None = Field(None, description="on disk; only where it was asked for")


class Found(Spec):
    """What a search found, the newest first."""

    runs: tuple[ListedRun, ...] = ()
    batches: tuple[ListedBatch, ...] = ()
    damaged: tuple[Damage, ...] = ()
    more: bool = Field(False, description="there is more than was asked for")


class Lists(Bench):
    """Searches over everything that was submitted."""

    def find_runs(self, where: RunFilter | None = None, limit: int | None = None, sizes: bool = False) -> Found:
        """Return the runs that match, the newest first; only the folders of those returned are read."""
        return find_runs(self.store, where or RunFilter(), limit, sizes)

    def find_batches(self, where: RunFilter | None = None, limit: int | None = None, sizes: bool = False) -> Found:
        """Return the batches of which a run matches, the newest first."""
        return find_batches(self.store, where or RunFilter(), limit, sizes)


def find_runs(store: Store, where: RunFilter, limit: int | None, sizes: bool) -> Found:
    """See `Lists.find_runs`."""
    rows: list[ListedRun] = []
    damaged: list[Damage] = []
    for name, info in _newest_first(store, where, limit):
        if limit is not None and len(rows) == limit:
            return Found(runs=tuple(rows), damaged=tuple(damaged), more=True)
        folder = store.files(info.id).path
        facts, problem = _facts(store, info)
        damaged += [problem] if problem else []
        size = disk_bytes([folder]) if sizes else None
        rows.append(ListedRun(**info.model_dump(), **facts, name=name, bytes=size))
    return Found(runs=tuple(rows), damaged=tuple(damaged))


def find_batches(store: Store, where: RunFilter, limit: int | None, sizes: bool) -> Found:
    """See `Lists.find_batches`."""
    found = list(reversed(store.batches(where)))
    shown = found if limit is None else found[:limit]
    rows: list[ListedBatch] = []
    damaged: list[Damage] = []
    for batch in shown:
        runs = store.runs(RunFilter(batch=batch.id))
        damaged += [problem for info in runs if (problem := _facts(store, info)[1])]
        states: dict[str, int] = {}
        for info in runs:
            states[info.state.value] = states.get(info.state.value, 0) + 1
        rows.append(
            ListedBatch(
                **batch.model_dump(),
                runs=len(runs),
                states=states,
                agents=tuple(sorted({info.agent for info in runs})),
                tasks=tuple(sorted({info.task for info in runs})),
                profiles=tuple(sorted({info.profile for info in runs})),
                bytes=disk_bytes(store.files(info.id).path for info in runs) if sizes else None,
            )
        )
    return Found(batches=tuple(rows), damaged=tuple(damaged), more=len(found) > len(shown))


def disk_bytes(folders: Iterable[Path]) -> int:
    """Return what the folders take on disk: blocks, and a file with several names once. What cannot be read is not counted."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        for path, subfolders, files in os.walk(folder):
            for name in (*subfolders, *files):
                try:
                    found = os.lstat(os.path.join(path, name))
                except OSError:
                    continue
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * 512
    return total


def _newest_first(store: Store, where: RunFilter, limit: int | None) -> Iterator[tuple[str, RunInfo]]:
    """Yield the name of its batch and each run. With a limit the batches are asked one by one, so that few rows are read."""
    batches = list(reversed(store.batches(where)))
    if limit is None:
        names = {batch.id: batch.name for batch in batches}
        yield from ((names.get(info.batch, ""), info) for info in reversed(store.runs(where)))
        return
    for batch in batches:
        for info in reversed(store.runs(where.model_copy(update={"batch": batch.id}))):
            yield batch.name, info


def _facts(store: Store, info: RunInfo) -> tuple[dict[str, str], Damage | None]:
    """Return what only the run's folder knows; and what is wrong with it."""
    run = store.files(info.id)
    try:
        spec = run.spec()
        found = measured(spec)
        facts = {name: getattr(found, name) for name in ("hidden", "budget", "sandbox", "backbone", "dojo_version")}
        facts["variant"] = spec.variant
    except DojoError as exc:
        return {}, Damage(run=info.id, path=str(run.path), message=exc.message, hint=exc.hint)
    try:
        if info.state.final:
            run.result()
    except DojoError as exc:
        return facts, Damage(run=info.id, path=str(run.result_path), message=exc.message, hint=exc.hint)
    return facts, None
