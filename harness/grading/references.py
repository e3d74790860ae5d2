"""The yardsticks beside every score: base model, few-shot base, majority answer; measured once and kept with their digests.

They lie in the task's ``admission/<profile>.json`` where its author has measured them on the very same data, model, generation
and grader, otherwise in the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.assets.task_dir import with_shared
from harness.files import tree_digest, write_atomic
from harness.grading.engines import choose_engine
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.worker.generation import VERSION
from harness.sandbox.base import Backend
from harness.spec.base import Spec
from harness.spec.engine import EngineName
from harness.spec.errors import GraderFailure
from harness.spec.progress import Progress
from harness.spec.result import Reference
from harness.spec.task import Generation, Limits
from harness.spec.verdict import ItemScore
from harness.taskkit.digest import taskkit_digest
from harness.taskkit.scoring.contract import ScoredAnswer, TaskGrader, load_grader
from harness.taskkit.scoring.plain import plain_value
from harness.taskkit.scoring.scores import aggregate, interval, pseudo_values
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

# Worked examples of the few-shot base: the usual number, and what fits the context of small models.
SHOTS = 4


class Basis(Spec):
    """What a measurement of references depends on; another basis needs another measurement."""

    data: str
    base_model: str
    generation: Generation
    engine: EngineName = "transformers"
    grader: str = Field(
        description="SHA-256 over the task's tests/, its domain's shared/, taskkit's scoring and the version of our decoding"
    )


class Admission(Spec):
    """The references of a task in one profile, and degenerate submissions that must stay near the floor."""

    task: str
    profile: str
    basis: Basis
    references: tuple[Reference, ...] = Field(description="base, few_shot_base, majority")
    degenerate: tuple[Reference, ...] = Field(description="empty, echo and the like: answers without a model")
    oracle: Reference | None = Field(None, description="right answers in the asked format, where the task was checked")
    decontamination: dict[str, Any] = Field(default_factory=dict, description="source → rows before, removed, and why")
    leaks: dict[str, int] = Field(default_factory=dict, description="detector → places where it still found an item")
    majority_answers: dict[str, str] = Field(description="question type → the constant answer that was best on dev")
    seconds: dict[str, float]
    measured: datetime
    machine: str = Field(description="in words, without a host name")
    settings: dict[str, Any]


def references_for(
    prepared: PreparedTask,
    base_model: BaseModel,
    generation: Generation,
    limits: Limits,
    backend: Backend,
    cache: Path,
    tell: Progress | None = None,
) -> tuple[Reference, ...]:
    """Return the references of a prepared task, measuring them (minutes) where nobody has on this basis.

    Raises:
        GraderFailure: the grader broke while measuring.
    """
    engine = choose_engine(generation.engine, limits.gpus, backend).name
    found = stored_admission(prepared, base_model, generation, cache, engine)
    if found is not None:
        return found.references
    path = _cache_path(prepared, basis_of(prepared, base_model, generation, engine), cache)
    with _locked(path):
        found = stored_admission(prepared, base_model, generation, cache, engine)
        if found is None:
            found = measure_references(prepared, base_model, generation, limits, backend, tell)
            write_admission(path, found)
    return found.references


def stored_admission(
    prepared: PreparedTask, base_model: BaseModel, generation: Generation, cache: Path, engine: EngineName = "transformers"
) -> Admission | None:
    """Return what was measured on exactly this basis, in the task's directory or in the cache; None where nothing was."""
    basis = basis_of(prepared, base_model, generation, engine)
    places = (prepared.task.path / "admission" / f"{prepared.profile}.json", _cache_path(prepared, basis, cache))
    for path in places:
        admission = _read(path)
        if admission is not None and admission.basis == basis:
            return admission
    return None


def basis_of(prepared: PreparedTask, base_model: BaseModel, generation: Generation, engine: EngineName = "transformers") -> Basis:
    """Return the digests that a measurement depends on, and the engine that was chosen, whatever was wished for."""
    tests = with_shared(prepared.task.path, tree_digest(prepared.task.path / "tests"))
    parts = [tests, taskkit_digest("scoring"), VERSION]
    return Basis(
        data=prepared.digest,
        base_model=base_model.digest,
        generation=generation.model_copy(update={"engine": "auto"}),
        engine=engine,
        grader=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
    )


def measure_references(
    prepared: PreparedTask,
    base_model: BaseModel,
    generation: Generation,
    limits: Limits,
    backend: Backend,
    tell: Progress | None = None,
) -> Admission:
    """Measure all references on the hidden split; the model runs in a grader sandbox as every submission does."""
    say = tell or (lambda _text: None)
    grader, metric = load_grader(prepared.task.path), prepared.task.dojo.metric.name
    dev, hidden, few_shot = (_read_items(p) for p in (prepared.dev_path, prepared.hidden_path, prepared.few_shot_path))
    rows = {item["id"]: item["row"] for item in hidden}
    references: list[Reference] = []
    engine = choose_engine(generation.engine, limits.gpus, backend).name
    seconds: dict[str, float] = {}
    settings: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dojo-base-") as folder:
        (Path(folder) / "dojo.json").write_text('{"dojo": "base"}', encoding="ascii")
        exam = Exam.of(prepared, base_model, generation, "hidden")
        id = f"pid{os.getpid()}-references-{uuid.uuid4().hex[:8]}"
        with Evaluator.start(backend, id, exam, limits) as evaluator:
            for name, shots in (("base", None), ("few_shot_base", min(SHOTS, len(few_shot)))):
                say(f"measuring {name.replace('_', '-')} on {len(hidden)} hidden items")
                verdict, _ = evaluator.score(Path(folder), fewshot=shots)
                scored = reference_of(name, verdict.items, grader, rows, metric)
                references.append(scored.model_copy(update={"engine": engine}))
                seconds[name], settings = verdict.seconds, verdict.settings
            settings = settings | {"memory_peak_mb": round(evaluator.memory_peak_mb())}
    answers = majority_answers(grader, dev)
    references.append(constant_reference("majority", lambda item: answers.get(item["type"], ""), hidden, grader, metric))
    return Admission(
        task=prepared.task.id,
        profile=prepared.profile,
        basis=basis_of(prepared, base_model, generation, engine),
        references=tuple(references),
        degenerate=(
            constant_reference("empty", lambda _item: "", hidden, grader, metric),
            constant_reference("echo", lambda item: str(item["prompt"]), hidden, grader, metric),
        ),
        majority_answers=answers,
        seconds=seconds,
        measured=datetime.now(UTC),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        settings={k: v for k, v in settings.items() if k != "generation"},
    )


def majority_answers(grader: TaskGrader, dev: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Choose the best constant answer of each question type on the dev split; the hidden split has no say in it."""
    types: dict[str, list[Mapping[str, Any]]] = {}
    for item in dev:
        types.setdefault(item["type"], []).append(item)
    return {name: grader.majority_answer(items)[0] for name, items in types.items()}


def constant_reference(
    name: str,
    respond: Callable[[Mapping[str, Any]], str],
    items: Sequence[Mapping[str, Any]],
    grader: TaskGrader,
    metric: str,
) -> Reference:
    """Score answers that need no model."""
    return reference_of(name, scored_answers(respond, items, grader), grader, {item["id"]: item["row"] for item in items}, metric)


def scored_answers(
    respond: Callable[[Mapping[str, Any]], str], items: Sequence[Mapping[str, Any]], grader: TaskGrader
) -> list[ItemScore]:
    """Score answers that need no model, item by item."""
    return [_item_score(item, grader.score(item["row"], respond(item), item["subset"])) for item in items]


def reference_of(
    name: str, items: Sequence[ItemScore], grader: TaskGrader, rows: Mapping[str, Mapping[str, Any]], metric: str
) -> Reference:
    """Put scores, interval and item values of one yardstick together."""
    values = pseudo_values(items, grader, rows)
    low, high = interval(items, values)
    return Reference(
        name=name,
        scores=aggregate(items, grader, metric, rows),
        ci_low=low,
        ci_high=high,
        item_scores={item.id: item.score for item in items},
        pseudo_values=values,
    )


def write_admission(path: Path, admission: Admission) -> None:
    """Store a measurement as readable JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (admission.model_dump_json(indent=1) + "\n").encode())


def _item_score(item: Mapping[str, Any], answer: ScoredAnswer) -> ItemScore:
    return ItemScore(
        id=item["id"],
        subset=item["subset"],
        parsed=answer.parsed,
        score=answer.score,
        metrics=dict(answer.metrics),
        value=plain_value(answer.value),
        failure=answer.failure,
    )


def _read(path: Path) -> Admission | None:
    """Read a stored measurement; None where there is none. A damaged file is an error: it is no sign of "never measured"."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Admission.model_validate(strict_json(data, max_bytes=64 * 1024 * 1024))
    except (StrictJsonError, ValidationError) as exc:
        raise GraderFailure(f"{path} is no admission record: {str(exc)[:200]}", hint="delete it; it is measured anew") from exc


def _read_items(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _cache_path(prepared: PreparedTask, basis: Basis, cache: Path) -> Path:
    # what was measured before there were two engines is found again
    left_out: dict[str, Any] = {"generation": {"engine"}} | ({"engine": True} if basis.engine == "transformers" else {})
    key = hashlib.sha256(basis.model_dump_json(exclude=left_out).encode()).hexdigest()[:16]
    return cache / "references" / prepared.task.id / prepared.profile / f"{key}.json"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process measure at a time; the others find its result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
