"""A submission beside its base model on side evaluations, in one grader sandbox. The base model's answers are kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.assets.base_models import BaseModel
from harness.files import make_readable, tree_digest, write_atomic
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.replies import LmTasks
from harness.grading.side.sets import Chosen
from harness.grading.worker.generation import VERSION
from harness.spec.base import Spec
from harness.spec.engine import EngineName
from harness.spec.errors import GraderFailure, UsageError
from harness.spec.side import SideMeasure, SideResult
from harness.spec.task import Generation
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.digest import taskkit_digest
from harness.taskkit.scoring.contract import load_grader

_CUT_OFF = "cut_off"


class _Kept(Spec):
    """What a base model made of a set's items and of a folder of lm-eval tasks."""

    items: tuple[ItemScore, ...] = ()
    responses: dict[str, str] = Field(default_factory=dict)
    lm_tasks: LmTasks | None = None


@dataclass(frozen=True)
class Measured:
    """Results by evaluation, and a line for each item: what was asked, what base model and submission said."""

    results: tuple[SideResult, ...]
    lines: tuple[dict[str, Any], ...]


def side_exam(chosen: Chosen, base_model: BaseModel, generation: Generation, scratch: Path) -> Exam:
    """Return what a grader is shown; what was chosen is written into ``scratch``, where its user can read it.

    Raises:
        UsageError: a folder of lm-eval tasks cannot be read.
    """
    items = scratch / "items.jsonl"
    items.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in chosen.items()), encoding="utf-8")
    (scratch / "few_shot.jsonl").touch()
    lm_tasks = _copied(chosen.lm_tasks, scratch / "lm_tasks") if chosen.lm_tasks else None
    make_readable(scratch)
    return Exam(
        task_dir=chosen.folder,
        base_model=base_model,
        items_path=items,
        few_shot_path=scratch / "few_shot.jsonl",
        generation=chosen.generation(generation),
        split="side",
        data=("side", chosen.digest),
        metric="side",
        lm_tasks=lm_tasks,
    )


def _copied(folder: Path, target: Path) -> Path:
    """Copy a folder of lm-eval tasks, with what its links lead to: graders are shown the copy, which anybody may read."""
    try:
        shutil.copytree(folder, target)
    except OSError as exc:
        reasons = exc.args[0] if isinstance(exc, shutil.Error) else [(exc.filename, "", exc.strerror)]
        path, _, why = reasons[0]
        raise UsageError(f"{path} cannot be copied for the grader: {why}", hint="mend it, or leave it out of the folder") from exc
    return target


def measure(
    start: Callable[[Exam], Evaluator],
    chosen: Chosen,
    base_model: BaseModel,
    generation: Generation,
    submission: Path,
    cache: Path,
    engine: EngineName,
) -> Measured:
    """Let a submission, and its base model where nobody has yet, answer the items.

    Args:
        start: makes a grader sandbox for an exam.
        chosen: which side evaluations.
        base_model: the submission's.
        generation: of the run; the set's own lengths are put in.
        submission: the sealed directory.
        cache: where the base model's answers are kept.
        engine: what computes answers here.

    Raises:
        SubmissionRefused, GraderFailure: as `Evaluator.score`.
        UsageError: a folder of lm-eval tasks cannot be read.
    """
    (cache / "side").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".exam-", dir=cache / "side") as folder:
        scratch = Path(folder)
        exam = side_exam(chosen, base_model, generation, scratch)
        kept_at = _cache_path(chosen, exam, engine, cache)
        kept = _read(kept_at)
        with start(exam) as evaluator:
            verdict, responses = evaluator.score(submission) if chosen.names else (None, {})
            lm_tasks = evaluator.run_lm_tasks(submission) if exam.lm_tasks else None
            if kept is None:
                kept = _of_base(evaluator, chosen, exam, scratch / "base")
                kept_at.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(kept_at, kept.model_dump_json().encode())
    results: list[SideResult] = []
    lines: list[dict[str, Any]] = []
    if verdict is not None:
        results += _by_rules(chosen, kept, verdict)
        lines += _lines(chosen, kept, verdict, responses)
    if exam.lm_tasks is not None and lm_tasks is not None and kept.lm_tasks is not None:
        results.append(_by_lm_eval(chosen, kept.lm_tasks, lm_tasks))
    return Measured(tuple(results), tuple(lines))


def _of_base(evaluator: Evaluator, chosen: Chosen, exam: Exam, marker: Path) -> _Kept:
    """Let the base model answer what the submission was asked."""
    marker.mkdir()
    (marker / "dojo.json").write_text('{"dojo": "base"}', encoding="ascii")
    lm_tasks = evaluator.run_lm_tasks(marker) if exam.lm_tasks else None
    if not chosen.names:
        return _Kept(lm_tasks=lm_tasks)
    verdict, responses = evaluator.score(marker)
    return _Kept(items=verdict.items, responses=responses, lm_tasks=lm_tasks)


def _by_rules(chosen: Chosen, kept: _Kept, verdict: Verdict) -> list[SideResult]:
    base = {item.id: item for item in kept.items}
    pairs = {item.id: (base[item.id], item) for item in verdict.items}
    return [
        SideResult(
            name=name,
            title=evaluation.title,
            digest=chosen.digest,
            measures=tuple(m for subset in evaluation.subsets for m in _measures(chosen, subset, pairs)),
            max_new_tokens=chosen.set.max_new_tokens,
            engine=verdict.engine,
            seconds=verdict.seconds,
        )
        for name, evaluation in chosen.evaluations.items()
    ]


def _lines(chosen: Chosen, kept: _Kept, verdict: Verdict, responses: Mapping[str, str]) -> list[dict[str, Any]]:
    asked = {item["id"]: item for item in chosen.items()}
    base = {item.id: item for item in kept.items}
    return [
        {
            "id": item.id,
            "subset": item.subset,
            "prompt": asked[item.id]["prompt"],
            "base": {"response": kept.responses[item.id], "score": base[item.id].score},
            "submission": {"response": responses[item.id], "score": item.score},
        }
        for item in verdict.items
    ]


def _by_lm_eval(chosen: Chosen, base: LmTasks, submission: LmTasks) -> SideResult:
    """Set the figures of a folder of lm-eval tasks side by side.

    Raises:
        GraderFailure: the two were not asked the same.
    """
    assert chosen.lm_tasks is not None
    measures = []
    for task, metrics in submission.tasks.items():
        for metric, found in metrics.items():
            ours = base.tasks.get(task, {}).get(metric)
            if ours is None or len(ours.values) != len(found.values):
                raise GraderFailure(f"{task}: the base model was not asked the same for {metric}", hint="run it again")
            better = {True: "higher", False: "lower", None: "neither"}[found.higher_is_better]
            pairs = {f"{n}": pair for n, pair in enumerate(zip(ours.values, found.values, strict=True))}
            measures.append(SideMeasure.model_validate({"subset": task, "metric": metric, "better": better, "items": pairs}))
    return SideResult(
        name=chosen.lm_tasks.name,
        title=f"lm-eval tasks of {chosen.lm_tasks.name}",
        digest=tree_digest(chosen.lm_tasks),
        measures=tuple(measures),
        max_new_tokens=0,
        engine=submission.engine,
        seconds=submission.seconds,
    )


def _measures(chosen: Chosen, subset: str, pairs: Mapping[str, tuple[ItemScore, ItemScore]]) -> list[SideMeasure]:
    """Return the figures of one sub-set that the set shows: its own metric, those of its items, and who was cut off."""
    own = load_grader(chosen.folder).subset_metrics[subset]
    here = {id: pair for id, pair in pairs.items() if pair[1].subset == subset}
    extra = {name for _, item in here.values() for name in item.metrics}
    if extra:  # where answers are measured, and not only right or wrong
        extra.add(_CUT_OFF)
    cap = chosen.set.max_new_tokens
    return [
        SideMeasure(
            subset=subset,
            metric=metric,
            better=spec.better,
            description=spec.description,
            items={id: (_value(one, metric, own, cap), _value(other, metric, own, cap)) for id, (one, other) in here.items()},
        )
        for metric, spec in chosen.set.measures.items()
        if metric == own or metric in extra
    ]


def _value(item: ItemScore, metric: str, own: str, cap: int) -> float:
    if metric == own:
        return item.score
    return float(item.response_tokens >= cap) if metric == _CUT_OFF else item.metrics.get(metric, 0.0)


def _cache_path(chosen: Chosen, exam: Exam, engine: EngineName, cache: Path) -> Path:
    """Name the file by all that the base model's answers, and what they are worth, depend on."""
    generation = exam.generation.model_dump(exclude={"engine"})
    digests = [chosen.digest, exam.base_model.digest, taskkit_digest("scoring")]
    digests += [tree_digest(chosen.lm_tasks)] if chosen.lm_tasks else []
    basis = [digests, chosen.names, generation, engine, VERSION]
    key = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]
    return cache / "side" / exam.base_model.name / f"{key}.json"


def _read(path: Path) -> _Kept | None:
    """Return what was kept; None where nothing was, or it is damaged: it is measured anew then."""
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
