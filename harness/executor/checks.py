"""`dojo tasks check`: would a task run, and is it fit to measure with?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.assets.base_models import BaseModel
from harness.assets.leak_scan import scan_leaks
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task
from harness.files import sha256_file
from harness.grading.admission import Row, read_items, row_of, rules, score_without_model
from harness.grading.engines import choose_engine
from harness.grading.references import Admission, measure_references, stored_admission, write_admission
from harness.sandbox.base import Backend, Check
from harness.spec.errors import DojoError, SpecError, UsageError
from harness.spec.progress import Progress
from harness.spec.run import GIVEN_HIDDEN, PUBLIC_HIDDEN
from harness.spec.task import Sizes, UpstreamRecord
from harness.spec.toml import read_toml
from harness.taskkit.scoring.contract import load_grader

_FILES = ("task.toml", "instruction.md", "README.md", "prepare.py", "tests/grader.py", "tests/task.yaml")


@dataclass(frozen=True)
class TaskCheck:
    """What was found about a task; ``row`` is None where its data could not be prepared."""

    checks: tuple[Check, ...]
    row: Row | None


def check_task(
    task: Task,
    profile: str,
    cache: Path,
    base_model: Callable[[], BaseModel],
    progress: Progress | None = None,
    backend: Backend | None = None,
) -> TaskCheck:
    """Check a task: its files, its data, its grader on known, trivial and right answers, and its admission record.

    All figures are of the hidden items that anybody can make; of those drawn with the installation's secret it is checked that
    they are others.

    Args:
        task: the task.
        profile: which data.
        cache: where data lies.
        base_model: asked for the profile's base model, to tell whether the record is of this very model.
        progress: told what is being done.
        backend: where its references would be measured, for which engine they would be; None: this host's system.
    """
    missing = [name for name in _FILES if not (task.path / name).is_file()]
    checks = [
        Check("task.toml", True, f"{task.id} version {task.dojo.version}"),
        Check(
            "files", not missing, "missing: " + ", ".join(missing) if missing else "all there", "docs/write-a-task.md lists them"
        ),
    ]
    if profile != "mini":
        checks.append(_upstream(task))
    try:
        prepared = prepare_task(task, profile, cache, progress, hidden=PUBLIC_HIDDEN)
    except DojoError as exc:
        return TaskCheck((*checks, Check("data", False, exc.message, exc.hint)), None)
    steps: list[tuple[str, Callable[[], str]]] = [
        (
            "data",
            lambda: (
                f"{_count(prepared.dev_path)} dev, {_count(prepared.hidden_path)} hidden items, digest {prepared.digest[:12]}"
            ),
        ),
        ("sizes", lambda: _sizes(prepared)),
        ("checksums", lambda: _checksums(prepared)),
        ("leaks", lambda: _leaks(prepared)),
        ("hidden split", lambda: _hidden_split(prepared, prepare_task(task, profile, cache, progress))),
        ("worked answers", lambda: _worked(prepared)),
    ]
    for name, step in steps:
        try:
            checks.append(Check(name, True, step()))
        except DojoError as exc:
            checks.append(Check(name, False, exc.message, exc.hint))
    try:
        found = score_without_model(prepared)
        checks += rules(found, task.dojo.known_issues)
        spec = task.dojo.profiles[profile]  # type: ignore[index]
        engine = choose_engine(spec.generation.engine, spec.limits.gpus, backend).name
        admission = stored_admission(prepared, base_model(), spec.generation, cache, engine)
    except DojoError as exc:
        return TaskCheck((*checks, Check("scoring", False, exc.message, exc.hint)), None)
    checks.append(_admission_check(prepared, admission))
    return TaskCheck(tuple(checks), row_of(prepared, found, checks, admission))


def _upstream(task: Task) -> Check:
    """Say what the task's author tried with the real data set, and what not; told also where it cannot be had here."""
    path = task.path / "admission" / "upstream.toml"
    if not path.is_file():
        return Check("upstream data", True, f"admission/{path.name} does not tell what was tried with it: take it as nothing")
    try:
        return Check("upstream data", True, read_toml(path, UpstreamRecord).words)
    except SpecError as exc:
        return Check("upstream data", False, exc.message, exc.hint)


def _sizes(prepared: PreparedTask) -> str:
    """Compare the sizes that the task declares with those of its data."""
    profile = next(spec for name, spec in prepared.task.dojo.profiles.items() if name == prepared.profile)
    found = Sizes(
        dev=_count(prepared.dev_path),
        hidden=_count(prepared.hidden_path),
        sources=sum(source["before"] for source in prepared.manifest["removed"].values()),
    )
    shown = f"sizes = {{ dev = {found.dev}, hidden = {found.hidden}, sources = {found.sources} }}"
    if profile.sizes not in (None, found):
        raise SpecError(f"task.toml declares others than {shown}", hint="correct them there")
    return "as task.toml declares" if profile.sizes else f"not declared; task.toml may say {shown}"


def _leaks(prepared: PreparedTask) -> str:
    report = scan_leaks(prepared)
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items())
    if report.found:
        first = "; ".join(f"{hit.item} in {hit.place} ({hit.detector})" for hit in report.hits[:5])
        raise SpecError(
            f"{report.found} places repeat a dev or hidden item ({counts}): {first}",
            hint="mend prepare.py: give items and source rows the `text` or `keys` that they share",
        )
    removed = Counter[str]()
    for source in prepared.manifest["removed"].values():
        removed.update({reason: n for reason, n in source.items() if reason not in ("before", "removed")})
    before = ", ".join(f"{n} {reason}" for reason, n in removed.items()) or "nothing"
    own = len(prepared.manifest["shared_by_dev_and_hidden"])
    parts = [
        f"none of {report.items} items found again in {report.rows:,} source rows ({counts})",
        f"taken out before: {before}",
    ]
    parts += [f"{name} not run: {why}" for name, why in report.not_run.items()]
    parts += [f"dev and hidden share {own} by the benchmark's own rule"] if own else []
    return "; ".join(parts)


def _hidden_split(public: PreparedTask, drawn: PreparedTask) -> str:
    """Say how much of this installation's hidden split somebody has who makes one with the public seed."""
    if drawn.hidden == GIVEN_HIDDEN:
        return "part of a published test set: who has that has these items"
    asked, known = ({item["prompt"] for item in read_items(data.hidden_path)} for data in (drawn, public))
    shared = len(asked & known)
    if 2 * shared > len(asked):
        raise SpecError(
            f"{shared} of {len(asked)} hidden questions come out of the task's program with the seed that everybody knows",
            hint='draw the hidden items, and nothing else, with context.rng("hidden") in prepare.py',
        )
    leak = _leaks(drawn)
    return f"drawn with the secret {drawn.hidden}; {shared} of {len(asked)} questions stand in the public draw too; {leak}"


def _admission_check(prepared: PreparedTask, admission: Admission | None) -> Check:
    hint = f"dojo tasks check {prepared.task.id} --profile {prepared.profile} --record"
    if admission is None:
        path = prepared.task.path / "admission" / f"{prepared.profile}.json"
        if path.exists():
            return Check("admission", False, f"{path.parent.name}/{path.name} was measured on other data, model or grader", hint)
        return Check("admission", True, f"not recorded yet: `{hint}` measures the base model")
    shown = ", ".join(f"{r.name} {r.scores.primary.value:.3f} ({r.ci_low:.3f}-{r.ci_high:.3f})" for r in admission.references)
    return Check("admission", True, shown)


def record_admission(
    prepared: PreparedTask, base_model: BaseModel, backend: Backend, cache: Path, progress: Progress | None = None
) -> None:
    """Write the task's admission record: base, few-shot base, majority, degenerate answers, the oracle.

    The model's part is taken from the cache where it was measured on this very data, model, generation and grader.

    Raises:
        GraderFailure: the grader broke while measuring.
    """
    profile = next(spec for name, spec in prepared.task.dojo.profiles.items() if name == prepared.profile)
    engine = choose_engine(profile.generation.engine, profile.limits.gpus, backend).name
    found = stored_admission(prepared, base_model, profile.generation, cache, engine) or measure_references(
        prepared, base_model, profile.generation, profile.limits, backend, progress
    )
    without = score_without_model(prepared)
    found = found.model_copy(
        update={
            "degenerate": without.degenerate,
            "oracle": without.oracle,
            "decontamination": prepared.manifest["removed"],
            "leaks": dict(scan_leaks(prepared).counts),
        }
    )
    path = prepared.task.path / "admission" / f"{prepared.profile}.json"
    write_admission(path, found)


def _count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _checksums(prepared: PreparedTask) -> str:
    """Compare every prepared file with the manifest."""
    files = prepared.manifest.get("files", {})
    for name, file in files.items():
        if sha256_file(prepared.dir / name) != file["sha256"]:
            raise UsageError(f"{name} is not what was prepared", hint=f"remove {prepared.dir} and prepare again")
    return f"{len(files)} files are what was prepared"


def _worked(prepared: PreparedTask) -> str:
    """Score the worked examples, which agents are shown as right."""
    grader, items = load_grader(prepared.task.path), read_items(prepared.few_shot_path)
    for item in items:
        answer = grader.score(item["row"], str(item["answer"]), str(item["subset"]))
        if not answer.parsed or answer.score < 1.0:
            raise UsageError(
                f"the worked answer of {item['id']} scores {answer.score}", hint="mend tests/grader.py or prepare.py"
            )
    return f"{len(items)} worked answers score 1"
