"""Tidying: tags, exclusions, removal, freed weights, and the index rebuilt from the run folders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from harness.service.bench import Bench
from harness.service.lists import disk_bytes
from harness.session.collect import unseal_and_remove
from harness.spec.base import Spec
from harness.spec.errors import StoreError, UsageError
from harness.spec.outcome import RunState
from harness.spec.progress import Progress
from harness.store.base import ReindexReport, RunFilter, Store

_FINAL = frozenset(state for state in RunState if state.final)


class Removal(Spec):
    """What a removal would take away."""

    references: tuple[str, ...] = Field(description="whole ids of runs and batches")
    runs: tuple[str, ...] = Field(description="every run that goes")
    counted: tuple[str, ...] = Field(description="of these the ones that a leaderboard counts")
    driven: dict[str, str] = Field(description="run → the process that drives it")
    bytes: int = Field(description="on disk")


class Freed(Spec):
    """A run whose weights were (or would be) freed."""

    run: str
    bytes: int = Field(description="on disk")


class Tidy(Bench):
    """What keeps a results directory in order."""

    def tag(self, references: Sequence[str], add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
        """Put tags on runs or batches and take tags off; return their whole ids."""
        found = [self.store.resolve(reference, "any") for reference in references]
        self.store.tag(found, add, remove)
        return found

    def exclude(self, run: str, why: str) -> str:
        """Leave a run out of rankings and comparisons; it stays and is shown with ``why``. Returns its whole id."""
        found = self.store.resolve(run, "run")
        self.store.exclude(found, why)
        return found

    def include(self, run: str) -> str:
        """Take `exclude` back. Returns the run's whole id."""
        found = self.store.resolve(run, "run")
        self.store.include(found)
        return found

    def removal(self, references: Sequence[str]) -> Removal:
        """Say what `remove` would take away."""
        return removal(self.store, references)

    def remove(self, references: Sequence[str], counted: bool = False) -> Removal:
        """Delete runs and batches for good: folders and index.

        Args:
            references: ids, unique prefixes or names.
            counted: delete runs that a leaderboard counts, too.

        Raises:
            UsageError: a leaderboard counts one of them (code ``counted``).
            StoreError: somebody drives one of them (code ``busy``).
        """
        return remove(self.store, references, counted)

    def free_sealed(self, before: datetime, dry_run: bool = False) -> list[Freed]:
        """Delete the weights of runs that ended before ``before``; manifest, result, grades and answers stay.

        Such a run cannot be graded again.
        """
        return free_sealed(self.store, before, dry_run)

    def reindex(self, progress: Progress | None = None) -> ReindexReport:
        """Build the index anew from the run folders."""
        return self.store.reindex(progress)


def removal(store: Store, references: Sequence[str]) -> Removal:
    """See `Tidy.removal`."""
    found = list(dict.fromkeys(store.resolve(reference, "any") for reference in references))
    runs: dict[str, None] = {}
    for reference in found:
        members = store.runs(RunFilter(batch=reference)) or store.runs(RunFilter(runs=(reference,)))
        runs |= dict.fromkeys(info.id for info in members)
    summaries = store.summaries(RunFilter(runs=tuple(runs))).runs if runs else ()
    return Removal(
        references=tuple(found),
        runs=tuple(runs),
        counted=tuple(row.run for row in summaries if not row.why_not),
        driven=store.holders(list(runs)),
        bytes=disk_bytes(store.files(run).path for run in runs),
    )


def remove(store: Store, references: Sequence[str], counted: bool) -> Removal:
    """See `Tidy.remove`."""
    found = removal(store, references)
    for run, holder in found.driven.items():
        raise StoreError(f"run {run} is driven by {holder}", hint=f"end it first with `dojo cancel {run}`", code="busy")
    if found.counted and not counted:
        raise UsageError(
            f"a leaderboard counts {len(found.counted)} of {len(found.runs)} runs, as {found.counted[0]}",
            hint="`dojo exclude RUN --why …` keeps a run out of comparisons and on disk; --counted removes it all the same",
            code="counted",
        )
    store.remove(found.references)
    return found


def free_sealed(store: Store, before: datetime, dry_run: bool) -> list[Freed]:
    """See `Tidy.free_sealed`."""
    freed = []
    for info in store.runs(RunFilter(states=_FINAL)):
        run = store.files(info.id)
        # without a manifest nothing would say afterwards that something was handed in
        if info.updated >= before or not run.manifest_path.is_file() or not (run.sealed.exists() or run.submissions.exists()):
            continue
        size = disk_bytes([run.sealed, run.submissions])
        if not size:
            continue
        if not dry_run:
            try:
                with store.claim(info.id):
                    unseal_and_remove(run.sealed)
                    unseal_and_remove(run.submissions)
            except StoreError as exc:
                if exc.code != "busy":
                    raise
                continue  # it is being graded again
        freed.append(Freed(run=info.id, bytes=size))
    return freed
