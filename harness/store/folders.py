"""What the run folders say, read for the index: every batch and run that can be read, and what could not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.spec.errors import DojoError, StoreError
from harness.spec.event import Ended, Entered, Graded
from harness.spec.outcome import RunState
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.summary import Summary, summarise
from harness.store.base import Damage
from harness.store.marks import BATCH_FILE, MARKS_FILE, BatchFile, Marks, read_batch, read_marks
from harness.store.run_dir import RunDir

# Folders that are on their way out, or that belong to nobody, begin with a dot.
_HIDDEN = "."


@dataclass(frozen=True)
class FoundRun:
    """One run as its folder tells it."""

    spec: RunSpec
    columns: dict[str, Any]
    marks: Marks
    summary: Summary | None


@dataclass
class FoundBatch:
    """One batch with its runs in order of submission; ``written`` is False where its folder has no ``batch.json``."""

    id: str
    file: BatchFile
    written: bool
    runs: list[FoundRun] = field(default_factory=list)


@dataclass(frozen=True)
class Home:
    """Where the folders of batches and runs lie: a results directory, or (``single``) one run's folder alone."""

    path: Path
    single: bool = False

    @property
    def batches(self) -> Path:
        """The folder of all batches."""
        return self.path / "batches"

    def batch(self, batch: str) -> Path:
        """The folder of a batch."""
        return self.batches / batch

    def run(self, batch: str, run: str) -> Path:
        """The folder of a run."""
        return self.path if self.single else self.batch(batch) / "runs" / run

    def listing(self) -> Iterator[tuple[str, list[Path]]]:
        """Yield each batch's id with the folders of its runs."""
        if self.single:
            yield RunDir(self.path).spec().batch, [self.path]
            return
        for batch in _folders(self.batches):
            yield batch.name, _folders(batch / "runs")


def scan(home: Home, former: Mapping[str, BatchFile] | None = None) -> Iterator[tuple[FoundBatch, list[Damage]]]:
    """Read every batch folder, with what is damaged in it.

    Args:
        home: where to look.
        former: what a database knows of batches whose folder does not say it.
    """
    former = former or {}
    seen = set()
    for batch, paths in home.listing():
        seen.add(batch)
        yield _batch(home, batch, paths, former.get(batch))
    for batch in former.keys() - seen:
        yield (
            FoundBatch(batch, former[batch], written=True),
            [gone(run, home.run(batch, run)) for run in former[batch].runs],
        )


def read_run(path: Path) -> tuple[FoundRun | None, list[Damage]]:
    """Read one run's folder; whatever of it is whole counts."""
    run, damages = RunDir(path), []

    def note(exc: DojoError, file: Path) -> None:
        damages.append(Damage(run=path.name, path=str(file), message=exc.message, hint=exc.hint))

    result: RunResult | None = None
    try:
        result = run.result()
    except StoreError as exc:
        note(exc, run.result_path)
    try:
        spec: RunSpec | None = run.spec()
    except StoreError as exc:
        note(exc, path / "run.json")
        spec = result.spec if result else None
    marks = Marks()
    try:
        marks = read_marks(path)
    except StoreError as exc:
        note(exc, path / MARKS_FILE)
    try:
        for _ in run.events():
            pass
    except StoreError as exc:
        note(exc, run.events_path)
    if spec is None:
        return None, damages
    columns = _columns(run, spec, result)
    if result is None and columns["state"] in (RunState.DONE.value, RunState.FAILED.value) and not damages:
        missing = StoreError(f"{run.result_path} is missing", hint=f"`dojo grade {spec.id} --again` writes it anew")
        note(missing, run.result_path)
    return FoundRun(spec, {**columns, "excluded": marks.excluded}, marks, summarise(result) if result else None), damages


def result_columns(result: RunResult) -> dict[str, Any]:
    """Return the index's columns that a result decides."""
    grade = result.grade
    return {
        "state": result.state.value,
        "cause": result.outcome.cause.value,
        "score": grade.scores.primary.value if grade else None,
        "ci_low": grade.ci_low if grade else None,
        "ci_high": grade.ci_high if grade else None,
        "metric": grade.scores.primary.name if grade else "",
    }


def spec_columns(spec: RunSpec) -> dict[str, Any]:
    """Return the index's columns that a specification decides."""
    return {
        "id": spec.id,
        "batch": spec.batch,
        "agent": spec.agent.name,
        "task": spec.task.id,
        "profile": spec.task.profile,
        "base_model": spec.base_model.name,
        "seed": spec.seed,
        "limit": spec.limit,
        "created": spec.created,
    }


def _batch(home: Home, batch: str, paths: list[Path], former: BatchFile | None) -> tuple[FoundBatch, list[Damage]]:
    damages: list[Damage] = []
    file: BatchFile | None = None
    try:
        file = None if home.single else read_batch(home.batch(batch))
    except StoreError as exc:
        path = home.batch(batch) / BATCH_FILE
        damages.append(Damage(run=batch, path=str(path), message=exc.message, hint=exc.hint))
    written = file is not None
    file = file or former
    runs = {}
    for path in paths:
        found, hurt = read_run(path)
        damages += hurt
        if found is not None and (home.single or found.spec.id == path.name):
            runs[found.spec.id] = found
        elif found is not None:
            message = f"{path} holds run {found.spec.id}, whose folder has that name"
            damages.append(Damage(run=path.name, path=str(path), message=message, hint="rename the folder, or delete the copy"))
    named = file.runs if file else ()
    damages += [gone(run, home.run(batch, run)) for run in named if not home.run(batch, run).is_dir()]
    order = {run: place for place, run in enumerate(named)}
    ordered = sorted(runs.values(), key=lambda r: (order.get(r.spec.id, len(order)), r.spec.created, r.spec.id))
    if file is None:
        created = min((r.spec.created for r in ordered), default=datetime.fromtimestamp(0).astimezone())
        file = BatchFile(created=created)
    file = file.model_copy(update={"runs": (*named, *(r.spec.id for r in ordered if r.spec.id not in order))})
    return FoundBatch(batch, file, written, ordered), damages


def _columns(run: RunDir, spec: RunSpec, result: RunResult | None) -> dict[str, Any]:
    columns: dict[str, Any] = {
        **spec_columns(spec),
        "state": RunState.QUEUED.value, "cause": None, "score": None, "ci_low": None, "ci_high": None, "metric": "",
        "updated": spec.created,
    }  # fmt: skip
    for event in run.readable_events():
        columns["updated"] = event.time
        match event.data:
            case Entered(state=state):
                columns["state"] = state.value
            case Ended(cause=cause):
                columns["cause"] = cause.value
            case Graded() as grade:
                primary = grade.scores.primary
                columns |= {"score": primary.value, "metric": primary.name, "ci_low": grade.ci_low, "ci_high": grade.ci_high}
    if not RunState(columns["state"]).final:
        columns["cause"] = None
    return {**columns, **result_columns(result)} if result else columns


def gone(run: str, path: Path) -> Damage:
    """Return what is said of a run whose folder is not there."""
    hint = f"bring it back from a backup, or take it out of the lists with `dojo rm {run}`"
    return Damage(run=run, path=str(path), message=f"the folder {path} is gone", hint=hint)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(_HIDDEN))
    except OSError:
        return []


def damage_lines(damages: Iterable[Damage]) -> list[str]:
    """Say each damage in a line."""
    return [f"run {d.run}: {d.message} ({d.hint})" for d in damages]
