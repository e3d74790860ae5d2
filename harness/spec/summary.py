"""What rankings and comparisons need of a run, small enough to keep a hundred thousand of them: pure, from a `RunResult`."""

from __future__ import annotations

import gc
import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.spec.base import Spec
from harness.spec.measured import quick_look
from harness.spec.outcome import Cause
from harness.spec.result import GradeRecord, Reference, RunResult
from harness.spec.run import PUBLIC_HIDDEN, RunSpec

# The graded primary may differ from the mean of the stored item values by this much through rounding, not by more.
_ROUNDING = 1e-6
# Why a run does not count that ended through no doing of its agent, behind its cause.
NO_MEASUREMENT = "is no measurement of the agent"


class Setting(Spec):
    """What must be equal for two runs on a task to be compared without being asked to.

    ``backbone`` is None for agents that think with no language model: such runs fit beside any backbone. What ``varied`` names
    may differ: it stands in the name that the run's agent is shown by. ``hidden`` is what the hidden split was drawn with
    (`harness.spec.run.TaskRef.hidden`), ``engine`` what computed the answers that were graded.
    """

    profile: str
    task_digest: str
    data_digest: str
    base_model: str
    budget: str
    limits: str
    generation: str
    sandbox: str
    versions: str
    backbone: str | None
    hidden: str = PUBLIC_HIDDEN
    engine: str = "transformers"
    varied: tuple[str, ...] = ()

    def fits(self, other: Setting) -> bool:
        """Whether runs of both settings may stand side by side."""
        return not self.differing(other)

    def differing(self, other: Setting) -> list[str]:
        """Return the names of the fields in which the settings differ."""
        fields = [n for n in Setting.model_fields if n not in ("backbone", "varied")]
        names = [n for n in fields if self._unnamed(n) != other._unnamed(n)]
        backbones = (self._unnamed("backbone"), other._unnamed("backbone"))
        clash = len(set(backbones)) > 1 and None not in backbones
        return [*names, "backbone"] if clash else names

    def _unnamed(self, field: str) -> str | None:
        """Return a field's value where the agent's shown name does not say it."""
        value: str | None = getattr(self, field)
        return "" if field in self.varied and value is not None else value


@dataclass(frozen=True)
class ItemSet:
    """The items that a run was scored on.

    Attributes:
        ids: sorted.
        subsets: the sub-set of each item, in the order of ``ids``; None where the grade does not say.
        only_subset: the sub-set of items of which no grade on the data says it; None: the task has several, so it must be said.
    """

    ids: tuple[str, ...]
    subsets: tuple[str | None, ...]
    only_subset: str | None


class RunSummary(NamedTuple):
    """One run in the row form in which the index keeps it; settings, item sets and references are named by key.

    Attributes:
        agent: its name, with what tells the variant apart where it is one: ``ft_agent feedback=false``.
        agent_digest: of the agent's directory and parameters: another digest is another agent.
        created: ISO 8601, UTC.
        setting: key in `Summaries.settings`.
        items: key in `Summaries.item_sets`; "" for a run without scores.
        references: key in `Summaries.references`.
        primary: the score; 0.0 for a run that does not count.
        ci_low: with ``ci_high`` the interval of this one run's score, as it was recorded with the grade.
        why_not: why the run is no measurement; "" where it is one.
        problem: what makes the run's score unusable until it is graded again; "" where nothing does.
        flagged: agent_integrity: stands at its grade, and at the base model's score at most.
        is_mean: whether ``values`` average to ``primary`` (or are pseudo-values); None: their sub-sets are not known yet.
        tokens: charged at the backbone.
        dollars: the same.
        silent: never called the backbone that its agent requires.
        values: one little-endian float64 an item, in the order of the item set's ids: its score or jackknife pseudo-value.
        scores: the same of item scores alone; empty where ``values`` are those.
    """

    run: str
    batch: str
    agent: str
    agent_digest: str
    task: str
    seed: int
    created: str
    setting: str
    items: str
    references: str
    primary: float
    metric: str
    ci_low: float
    ci_high: float
    why_not: str
    problem: str
    flagged: bool
    is_mean: bool | None
    tokens: int
    dollars: float
    silent: bool
    values: bytes
    scores: bytes = b""


@dataclass(frozen=True)
class Summary:
    """One run's row with what its keys name."""

    row: RunSummary
    setting: Setting
    items: ItemSet | None
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Summaries:
    """Many runs; what they share is there once, by key."""

    runs: Sequence[RunSummary] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    item_sets: Mapping[str, ItemSet] = field(default_factory=dict)
    references: Mapping[str, tuple[Reference, ...]] = field(default_factory=dict)


def gather(results: Iterable[RunResult]) -> Summaries:
    """Summarise results, in their order."""
    runs: list[RunSummary] = []
    settings: dict[str, Setting] = {}
    item_sets: dict[str, ItemSet] = {}
    references: dict[str, tuple[Reference, ...]] = {}
    for result in results:
        summary = summarise(result)
        runs.append(summary.row)
        settings[summary.row.setting] = summary.setting
        references[summary.row.references] = summary.references
        if summary.items is not None:
            item_sets[summary.row.items] = summary.items
    return Summaries(runs, settings, item_sets, references)


def summarise(result: RunResult) -> Summary:
    """Say what a ranking needs of one run; a run that is no measurement says why instead."""
    spec = result.spec
    setting = setting_of(spec, engine_of(result))
    references = tuple(r.model_copy(update={"item_scores": {}, "pseudo_values": {}}) for r in result.references)
    flagged = result.outcome.cause is Cause.AGENT_INTEGRITY
    why_not, problem = _why_not(result), ""
    scored: GradeRecord | Reference | None = None
    if not why_not:
        scored = _as_flagged(result) if flagged else result.grade
        if scored is None:
            problem = f"run {spec.id} counts as the base model's score, but its reference `base` has no item scores"
    values: dict[str, float] = {}
    items: ItemSet | None = None
    mean: bool | None = True
    if scored is not None:
        # Pseudo-values of a sub-set stand in for its item scores; where none are stored the scores are the values.
        values = {**scored.item_scores, **{i: v for i, v in scored.pseudo_values.items() if i in scored.item_scores}}
        items = _item_set(result, values)
        mean = True if scored.pseudo_values else mean_is(scored.scores.primary.value, values, items)
    row = RunSummary(
        run=spec.id,
        batch=spec.batch,
        agent=spec.shown,
        agent_digest=digest(spec.agent.digest, json.dumps(spec.agent.config.params, sort_keys=True)),
        task=spec.task.id,
        seed=spec.seed,
        created=spec.created.isoformat(),
        setting=digest(setting.model_dump_json()),
        items=digest(repr(items)) if items else "",
        references=digest(*(r.model_dump_json() for r in references)),
        primary=scored.scores.primary.value if scored else 0.0,
        metric=scored.scores.primary.name if scored else "",
        ci_low=scored.ci_low if scored else 0.0,
        ci_high=scored.ci_high if scored else 1.0,
        why_not=why_not,
        problem=problem,
        flagged=flagged,
        is_mean=mean,
        tokens=result.usage.tokens,
        dollars=result.usage.dollars,
        silent=bool(result.integrity.get("backbone_never_called", False)),
        values=pack([values[i] for i in items.ids]) if items else b"",
        scores=pack([scored.item_scores[i] for i in items.ids]) if items and scored and scored.pseudo_values else b"",
    )
    return Summary(row, setting, items, references)


def _why_not(result: RunResult) -> str:
    if not result.state.final:
        return f"not finished ({result.state.value})"
    if result.spec.limit is not None:
        return quick_look(result.spec.limit)
    if not result.outcome.counts:
        return f"{result.outcome.cause.value} {NO_MEASUREMENT}"
    if result.grade is None and result.outcome.cause is not Cause.AGENT_INTEGRITY:
        return "not graded"
    return ""


def _base(references: Sequence[Reference]) -> Reference | None:
    return next((r for r in references if r.name == "base" and r.item_scores), None)


def _as_flagged(result: RunResult) -> GradeRecord | Reference | None:
    """Return what a run counts as in which cheating was found: its grade, but never more than the base model has.

    Where the harness found it, that is the grade of a run that handed nothing in.
    """
    base, grade = _base(result.references), result.grade
    if base is None or grade is None:
        return base if grade is None or grade.scores.primary.value > 0 else grade
    return grade if grade.scores.primary.value < base.scores.primary.value else base


def _item_set(result: RunResult, values: Mapping[str, float]) -> ItemSet:
    grade = result.grade
    names = list(grade.scores.subsets) if grade else []
    said = grade.item_subsets if grade else {}
    ids = tuple(sorted(values))
    only = None if len(names) > 1 else (names[0] if names else "all")
    return ItemSet(ids, tuple(said.get(i) for i in ids), only)


def mean_is(primary: float, values: Mapping[str, float], items: ItemSet) -> bool | None:
    """Whether ``primary`` is the unweighted mean over sub-sets of the values' means; None where a sub-set is not known."""
    groups: dict[str, list[float]] = {}
    said = None not in items.subsets
    for item, subset in zip(items.ids, items.subsets, strict=True):
        name = subset if said else items.only_subset
        if name is None:
            return None
        groups.setdefault(name, []).append(values[item])
    mean = sum(sum(group) / len(group) for group in groups.values()) / len(groups) if groups else 0.0
    return abs(mean - primary) <= _ROUNDING


def engine_of(result: RunResult) -> str:
    """Return the engine that a run's score comes from; of a run whose model answered nothing, the one of its yardsticks."""
    if result.grade is not None and result.grade.engine is not None:
        return result.grade.engine.name
    return next((reference.engine for reference in result.references if reference.name == "base"), "transformers")


def setting_of(spec: RunSpec, engine: str = "transformers") -> Setting:
    """Return what of a run decides whether it may be compared with another on the same task."""
    return Setting(
        profile=spec.task.profile,
        task_digest=spec.task.digest,
        data_digest=spec.task.data_digest,
        base_model=f"{spec.base_model.name} {spec.base_model.digest}",
        budget=spec.budget.model_dump_json(exclude_none=True),
        limits=spec.limits.model_dump_json(),
        generation=spec.generation.model_dump_json(exclude={"engine"}),
        sandbox=spec.sandbox,
        versions=json.dumps(spec.versions, sort_keys=True),
        backbone=f"{spec.backbone.words} {spec.backbone.identity[:12]}" if spec.backbone else None,
        varied=spec.varied,
        hidden=spec.task.hidden,
        engine=engine,
    )


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from running while a hundred thousand rows are made: they hold no cycles, and it costs half."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def pack(values: Sequence[float]) -> bytes:
    """Return the values as little-endian float64."""
    return struct.pack(f"<{len(values)}d", *values)


def unpack(data: bytes) -> tuple[float, ...]:
    """Return what `pack` packed."""
    return struct.unpack(f"<{len(data) // 8}d", data)


def digest(*texts: str) -> str:
    """Return twelve hex digits that name the texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
