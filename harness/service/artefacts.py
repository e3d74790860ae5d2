"""Artefacts in a place elsewhere: put there, brought back, looked at, and big parts freed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Literal

from pydantic import Field

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.outcome import RunState
from harness.spec.progress import Progress
from harness.store.artefacts.drop import drop_parts
from harness.store.artefacts.dropped import dropped_parts
from harness.store.artefacts.manifest import StoredRun, read_manifest, runs_there
from harness.store.artefacts.place import Place
from harness.store.artefacts.pull import Fault, faults, pull_run
from harness.store.artefacts.push import is_current, push_run
from harness.store.base import RunFilter, RunInfo
from harness.store.folders import Home
from harness.store.opening import is_run_folder

_FINAL = frozenset(state for state in RunState if state.final)


class StoredRow(Spec):
    """One run, here and there."""

    run: str
    batch: str
    there: Literal["whole", "cut off", "no"] = Field(description="cut off: `push` goes on with it")
    here: Literal["whole", "dropped", "no"] = Field(description="dropped: without its big parts")


class Moved(Spec):
    """What was done with one run."""

    run: str
    files: int = 0
    bytes: int = Field(0, description="of all its files; for `drop`: freed")
    moved: int = Field(0, description="objects or files that had to be sent or fetched")
    moved_bytes: int = 0
    left_out: tuple[str, ...] = Field((), description="what is no plain file and is not kept there")
    error: dict[str, str] | None = Field(None, description="code, message and hint, where it failed")


class Verified(Spec):
    """What is wrong with one run in the place."""

    run: str
    files: int = 0
    bytes: int = 0
    faults: tuple[dict[str, str], ...] = Field((), description="path, sha256 and fault (missing or altered) of each bad object")
    error: dict[str, str] | None = None


class Artefacts(Bench):
    """What is done with the place that ``DOJO_ARTEFACTS`` names. Every method raises `MissingError` where it does not answer."""

    def artefacts(self) -> list[StoredRow]:
        """Return every run that has ended here, or of which something is there, by id."""
        there = {run: (batch, whole) for batch, run, whole in runs_there(self._place())}
        known = {info.id: info for info in self.store.runs(RunFilter(states=_FINAL))} if self.home.is_dir() else {}
        rows = []
        for run in sorted(there.keys() | known.keys()):
            batch, whole = there.get(run, ("", None))
            rows.append(
                StoredRow(
                    run=run,
                    batch=batch or known[run].batch,
                    there="no" if whole is None else "whole" if whole else "cut off",
                    here=self._here(known.get(run)),
                )
            )
        return rows

    def push_artefacts(
        self, references: Sequence[str] = (), *, anew: bool = False, progress: Progress | None = None
    ) -> list[Moved]:
        """Put runs that have ended there: those named (or of batches named), or all that are not there as they are here.

        Args:
            references: ids, unique prefixes or names; none: all.
            anew: send what is there already, too.
            progress: hears of each file.

        Returns:
            Those that were named, or that had to be sent.

        Raises:
            UsageError: a run that is named has not ended.
        """
        place = self._place()

        def push(info: RunInfo) -> Moved | None:
            folder = self.store.files(info.id)
            if not (references or anew) and is_current(place, folder, info.batch):
                return None
            with self.store.claim(info.id):
                done = push_run(place, folder, progress, anew=anew)
            return Moved(
                run=info.id,
                files=done.files,
                bytes=done.bytes,
                moved=done.sent,
                moved_bytes=done.sent_bytes,
                left_out=done.left_out,
            )

        rows = [_each(info.id, partial(push, info)) for info in self._ended(references)]
        return [row for row in rows if row is not None]

    def pull_artefacts(self, references: Sequence[str], *, progress: Progress | None = None) -> list[Moved]:
        """Put the folders of runs back into the results directory; `reindex` then takes new ones into the lists.

        Args:
            references: ids or unique prefixes of runs or batches in the place.
            progress: hears of each file.

        Raises:
            NotFoundError: nothing there is called so.
        """
        place, home = self._place(), self._results()

        def pull(batch: str, run: str) -> Moved:
            done = pull_run(place, home, _manifest(place, batch, run), progress)
            return Moved(run=run, files=done.files, bytes=done.bytes, moved=done.brought, moved_bytes=done.bytes)

        rows = [_each(run, partial(pull, batch, run)) for batch, run in _named(place, references)]
        return [row for row in rows if row is not None]

    def verify_artefacts(self, references: Sequence[str] = (), *, progress: Progress | None = None) -> list[Verified]:
        """Read runs in the place, every byte, and return what is not as it was put there; none named: all that are whole."""
        place = self._place()

        def verify(batch: str, run: str) -> Verified:
            stored = _manifest(place, batch, run)
            bad = faults(place, stored, stored.files, progress)
            return Verified(run=run, files=len(stored.files), bytes=stored.bytes, faults=tuple(map(_told, bad)))

        chosen = _named(place, references) if references else [(b, r) for b, r, whole in runs_there(place) if whole]
        found = []
        for batch, run in chosen:
            try:
                found.append(verify(batch, run))
            except StoreError as exc:
                found.append(Verified(run=run, error=exc.as_dict()))
        return found

    def drop_artefacts(
        self,
        references: Sequence[str] = (),
        *,
        before: datetime | None = None,
        dry: bool = False,
        progress: Progress | None = None,
    ) -> list[Moved]:
        """Delete here what is large of runs and was read to be whole there: what was sealed, submissions, the agent's workspace.

        Args:
            references: ids, unique prefixes or names; none: all that have ended.
            before: only runs that ended before.
            dry: look, and delete nothing.
            progress: hears of each object that is read.

        Returns:
            Those runs that had anything to delete.
        """
        place = self._place()

        def drop(info: RunInfo) -> Moved:
            with self.store.claim(info.id):
                return Moved(run=info.id, bytes=drop_parts(place, self.store.files(info.id), info.batch, progress, dry=dry))

        chosen = [info for info in self._ended(references) if before is None or info.updated < before]
        done = [_each(info.id, partial(drop, info)) for info in chosen]
        return [row for row in done if row is not None and (row.bytes or row.error or references)]

    def _ended(self, references: Sequence[str]) -> list[RunInfo]:
        if not references:
            return self.store.runs(RunFilter(states=_FINAL))
        found: dict[str, RunInfo] = {}
        for reference in references:
            whole = self.store.resolve(reference, "any")
            members = self.store.runs(RunFilter(batch=whole)) or self.store.runs(RunFilter(runs=(whole,)))
            found |= {info.id: info for info in members}
        for info in found.values():
            if not info.state.final:
                raise UsageError(f"run {info.id} has not ended", hint="`dojo status` shows where it stands")
        return list(found.values())

    def _here(self, info: RunInfo | None) -> Literal["whole", "dropped", "no"]:
        if info is None:
            return "no"
        folder = self.store.files(info.id)
        if not folder.path.is_dir():
            return "no"
        return "dropped" if dropped_parts(folder) else "whole"

    def _results(self) -> Home:
        if is_run_folder(self.home):
            raise UsageError(f"{self.home} is one run's folder", hint="let DOJO_HOME name a results directory, or a new folder")
        return Home(self.home)


def _named(place: Place, references: Sequence[str]) -> list[tuple[str, str]]:
    """Return batch and id of the runs in a place that are meant.

    Raises:
        NotFoundError: none is called so.
        UsageError: several runs, or several batches, begin so.
    """
    there = {run: batch for batch, run, _ in runs_there(place)}
    known = sorted({*there, *there.values()})
    found: dict[str, str] = {}
    for reference in references:
        close = [name for name in known if name.startswith(reference)]
        meant = [reference] if reference in known else [max(there)] if reference == "@last" and there else close
        if not meant:
            raise NotFoundError.named(f"run in {place.url}", reference, known)
        if len(meant) > 1:
            raise UsageError(f"{reference!r} is the beginning of {len(meant)} ids", hint=f"such as {meant[0]} and {meant[-1]}")
        found |= {run: batch for run, batch in there.items() if meant[0] in (run, batch)}
    return [(batch, run) for run, batch in found.items()]


def _manifest(place: Place, batch: str, run: str) -> StoredRun:
    stored = read_manifest(place, batch, run)
    if stored is None:
        raise StoreError(
            f"run {run} is not whole in {place.url}: it has no manifest",
            hint=f"`dojo artefacts push {run}` where its folder is goes on with what was cut off",
            code="artefact_incomplete",
        )
    return stored


def _each(run: str, act: Callable[[], Moved | None]) -> Moved | None:
    """Do it; what is wrong with one run does not keep the others from theirs, a place that does not answer does."""
    try:
        return act()
    except (StoreError, UsageError) as exc:
        return Moved(run=run, error=exc.as_dict())


def _told(fault: Fault) -> dict[str, str]:
    return {"path": fault.path, "sha256": fault.sha256, "fault": fault.fault}
