"""The seam behind which batches and runs are kept: what a store is asked and what it answers.

The run folders are the truth. A store is an index over them that answers without reading them all, and the place where
processes agree on who drives a run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.outcome import Cause, RunState
from harness.spec.progress import Progress
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.summary import Summaries
from harness.store.run_dir import RunDir

Kind = Literal["batch", "run", "any"]

AWAY = "database_away"
"""Code of the error where a database's server does not answer, or shuts down or starts just now."""


class RunFilter(Spec):
    """Which runs are meant; what is None (or empty) does not restrict. Globs are as in a shell: ``*``, ``?``, ``[abc]``."""

    batch: str | None = Field(None, description="a batch's whole id")
    runs: tuple[str, ...] | None = Field(None, description="whole ids")
    task: str | None = Field(None, description="glob over task ids")
    agent: str | None = Field(None, description="glob over agents' names")
    profile: str | None = None
    states: frozenset[RunState] = Field(frozenset(), description="empty: any")
    name: str | None = Field(None, description="glob over batches' names")
    tag: str | None = Field(None, description="a tag of the run, or of its batch")
    since: datetime | None = Field(None, description="created then or later")
    until: datetime | None = Field(None, description="created before")
    excluded: bool | None = Field(None, description="True: only runs left out of comparisons; False: only the others")


class RunInfo(Spec):
    """One run and where it stands, as the index knows it."""

    id: str
    batch: str
    position: int = Field(description="place in the batch, from 0")
    agent: str
    task: str
    profile: str
    base_model: str
    seed: int
    state: RunState
    cause: Cause | None = None
    score: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    metric: str = ""
    created: datetime
    updated: datetime
    tags: tuple[str, ...] = ()
    excluded: str = Field("", description='why the run is left out of comparisons; "" when it is not')
    limit: int | None = Field(None, description="a quick look at so many items")


class BatchInfo(Spec):
    """One submit."""

    id: str
    name: str
    created: datetime
    settings: dict[str, Any] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()


class Damage(Spec):
    """Something of a run's folder that cannot be read. It harms that run alone."""

    run: str
    path: str
    message: str
    hint: str


class ReindexReport(Spec):
    """What was found in the run folders."""

    batches: int
    runs: int
    damages: tuple[Damage, ...] = ()


class Lease(Protocol):
    """The right to drive a run, kept alive by a heartbeat until it is released, lost, or its process dies."""

    run: str
    lost: threading.Event

    def held(self) -> bool:
        """Whether nobody else can drive the run now; looks again where the last renewal is too long ago."""
        ...

    def release(self) -> None:
        """Give the run up. Releasing twice is no error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Store(Protocol):
    """Batches and runs. Methods that look never write, neither files nor the database."""

    def close(self) -> None:
        """Release connections and every lease held."""
        ...

    def add_batch(self, batch: str, name: str, specs: Sequence[RunSpec], settings: dict[str, Any]) -> None:
        """Record a batch with all its runs as queued, at once or not at all. Their folders must exist already."""
        ...

    def batches(self, where: RunFilter | None = None) -> list[BatchInfo]:
        """Return the batches (of which a run matches), oldest first."""
        ...

    def runs(self, where: RunFilter | None = None) -> list[RunInfo]:
        """Return runs in order of submission."""
        ...

    def run(self, run: str) -> RunInfo:
        """Return one run by its whole id.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def resolve(self, reference: str, kind: Kind) -> str:
        """Turn an id, a unique prefix, ``@last`` or a batch's name into an id.

        Raises:
            NotFoundError: nothing matches, with "did you mean".
            UsageError: several match; names them.
        """
        ...

    def run_dir(self, batch: str, run: str) -> RunDir:
        """Return the folder of a run (it need not exist yet)."""
        ...

    def files(self, run: str) -> RunDir:
        """Return the folder of a run by its whole id.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def results(self, where: RunFilter | None = None) -> tuple[list[RunResult], list[Damage]]:
        """Return the results of runs that have one, in order of submission; what cannot be read is named beside them."""
        ...

    def summaries(self, where: RunFilter | None = None) -> Summaries:
        """Return what rankings and comparisons need of runs that have a result; no folder is read."""
        ...

    def record_state(self, run: str, state: RunState, *, cause: Cause | None = None) -> None:
        """Write where a run stands.

        Raises:
            StoreError: the run is not in the index.
        """
        ...

    def record_result(self, result: RunResult) -> None:
        """Write how a run ended: state, cause, score, and what rankings need.

        Raises:
            StoreError: the run is not in the index.
        """
        ...

    def claim(self, run: str) -> Lease:
        """Take the right to drive a run. A dead owner of this host loses it at once, one elsewhere when its lease runs out.

        Raises:
            StoreError: somebody drives it (code ``busy``, names them), or the run is not in the index.
        """
        ...

    def holders(self, runs: Sequence[str]) -> dict[str, str]:
        """Say who drives which of some runs, in one question; those that nobody drives are left out."""
        ...

    def holder(self, run: str) -> str | None:
        """Say who drives a run; None: nobody. Takes nothing, so a claim made meanwhile never fails by it."""
        ...

    def request_cancel(self, run: str) -> None:
        """Ask whoever drives the run, now or later, to end it. Asking twice is no error."""
        ...

    def cancel_requested(self, run: str) -> bool:
        """Whether somebody asked for the run's end."""
        ...

    def tag(self, references: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Put tags on runs or batches (whole ids) and take tags off."""
        ...

    def exclude(self, run: str, why: str) -> None:
        """Leave a run out of rankings and comparisons; it stays, and ``why`` is shown.

        Raises:
            UsageError: ``why`` is empty.
        """
        ...

    def include(self, run: str) -> None:
        """Take `exclude` back."""
        ...

    def remove(self, references: Iterable[str]) -> None:
        """Delete runs or whole batches (whole ids): index and folders.

        Raises:
            StoreError: somebody drives one of them (code ``busy``); nothing is removed then.
        """
        ...

    def reindex(self, progress: Progress | None = None) -> ReindexReport:
        """Build the index anew from the folders. An index that is whole stays in use until the new one is."""
        ...
