"""From run results to measurements: which runs count, in which setting they were made, and what was scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.outcome import Cause
from harness.spec.result import Reference, RunResult
from harness.spec.run import RunSpec

# The graded primary may differ from the mean of the stored item values by this much through rounding, not by more.
_ROUNDING = 1e-6


class Setting(Spec):
    """What must be equal for two runs on a task to be compared without being asked to.

    ``backbone`` is None for agents that think with no language model: such runs fit beside any backbone.
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

    def fits(self, other: Setting) -> bool:
        """Whether runs of both settings may stand side by side."""
        return not self.differing(other)

    def differing(self, other: Setting) -> list[str]:
        """Return the names of the fields in which the settings differ."""
        names = [n for n in Setting.model_fields if n != "backbone" and getattr(self, n) != getattr(other, n)]
        clash = self.backbone != other.backbone and None not in (self.backbone, other.backbone)
        return [*names, "backbone"] if clash else names


class Measurement(Spec):
    """One run that counts, as the statistics see it."""

    run: str
    batch: str
    agent: str
    agent_digest: str = Field(description="of the agent's directory and parameters: another digest is another agent")
    task: str
    seed: int
    setting: Setting
    primary: float
    metric: str
    ci_low: float = Field(
        0.0, description="recorded interval of this one run's score, see `harness.taskkit.scoring.scores.interval`"
    )
    ci_high: float = 1.0
    item_values: dict[str, float] = Field(description="item id → score or jackknife pseudo-value")
    item_subsets: dict[str, str] = Field(description="item id → sub-set")
    items_digest: str = Field(description="of the item ids, to name an item set in messages")
    flagged: bool = Field(False, description="agent_integrity: stands at the base model's score")
    references: tuple[Reference, ...] = ()
    created: str = ""


class LeftOut(Spec):
    """A run that is no measurement, and why."""

    run: str
    agent: str
    task: str
    reason: str


class Measurements(Spec):
    """The runs that count, those that do not, and what a reader must be told."""

    measurements: tuple[Measurement, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()


def measurements_from(results: Iterable[RunResult]) -> Measurements:
    """Turn results into measurements.

    Runs whose outcome does not count and runs without a grade are left out and listed. ``agent_integrity`` runs take the
    base model's item scores and are flagged.

    Raises:
        UsageError: a grade lacks the sub-set of an item on a task with several sub-sets, or the base reference has no item scores
            although a flagged run needs them.
    """
    results = list(results)
    known = _known_subsets(results)
    kept: list[Measurement] = []
    left: list[LeftOut] = []
    warnings: list[str] = []
    for result in results:
        reason = _why_left_out(result)
        if reason:
            spec = result.spec
            left.append(LeftOut(run=spec.id, agent=spec.agent.name, task=spec.task.id, reason=reason))
            continue
        measurement, warning = _measure(result, known[result.spec.task.data_digest])
        kept.append(measurement)
        warnings += [warning] if warning else []
    return Measurements(measurements=tuple(kept), left_out=tuple(left), warnings=tuple(dict.fromkeys(warnings)))


def _why_left_out(result: RunResult) -> str:
    if not result.state.final:
        return f"not finished ({result.state.value})"
    if not result.outcome.counts:
        return f"{result.outcome.cause.value} is no measurement of the agent"
    if result.grade is None and result.outcome.cause is not Cause.AGENT_INTEGRITY:
        return "not graded"
    return ""


def _measure(result: RunResult, known_subsets: Mapping[str, str]) -> tuple[Measurement, str]:
    spec, grade = result.spec, result.grade
    flagged = result.outcome.cause is Cause.AGENT_INTEGRITY
    scored = _base_reference(result) if flagged or grade is None else grade
    # Pseudo-values of a sub-set stand in for its item scores; where none are stored the scores are the values.
    values = {**scored.item_scores, **{i: v for i, v in scored.pseudo_values.items() if i in scored.item_scores}}
    subsets = _subsets_of(result, values, known_subsets)
    primary = scored.scores.primary
    warning = ""
    if not scored.pseudo_values and abs(_mean_over_subsets(values, subsets) - primary.value) > _ROUNDING:
        warning = (
            f"{spec.task.id}: {primary.name} is not the mean of the stored item scores and no pseudo-values are stored; "
            "intervals are approximate (`dojo grade RUN --again` stores them)"
        )
    measurement = Measurement(
        run=spec.id,
        batch=spec.batch,
        agent=spec.agent.name,
        agent_digest=_digest(spec.agent.digest, json.dumps(spec.agent.config.params, sort_keys=True)),
        task=spec.task.id,
        seed=spec.seed,
        setting=setting_of(spec),
        primary=primary.value,
        metric=primary.name,
        ci_low=scored.ci_low,
        ci_high=scored.ci_high,
        item_values=values,
        item_subsets=subsets,
        items_digest=_digest(*sorted(values)),
        flagged=flagged,
        references=result.references,
        created=spec.created.isoformat(),
    )
    return measurement, warning


def _base_reference(result: RunResult) -> Reference:
    base = next((r for r in result.references if r.name == "base"), None)
    if base is None or not base.item_scores:
        raise UsageError(
            f"run {result.spec.id} counts as the base model's score, but its reference `base` has no item scores",
            hint=f"`dojo grade {result.spec.id} --again` measures the references of {result.spec.task.id} anew",
        )
    return base


def _known_subsets(results: Sequence[RunResult]) -> dict[str, dict[str, str]]:
    """Gather what the grades on the same data say about the items' sub-sets: a flagged run may have no grade of its own."""
    known: dict[str, dict[str, str]] = {}
    for result in results:
        known.setdefault(result.spec.task.data_digest, {}).update(result.grade.item_subsets if result.grade else {})
    return known


def _subsets_of(result: RunResult, values: Mapping[str, float], known: Mapping[str, str]) -> dict[str, str]:
    if all(item in known for item in values):
        return {item: known[item] for item in values}
    names = list(result.grade.scores.subsets) if result.grade else []
    if len(names) > 1:
        raise UsageError(
            f"the grade of run {result.spec.id} does not say which sub-set of {result.spec.task.id} each item belongs to",
            hint=f"`dojo grade {result.spec.id} --again` stores it",
        )
    return dict.fromkeys(values, names[0] if names else "all")


def setting_of(spec: RunSpec) -> Setting:
    """Return what of a run's specification decides whether it may be compared with another on the same task."""
    return Setting(
        profile=spec.task.profile,
        task_digest=spec.task.digest,
        data_digest=spec.task.data_digest,
        base_model=f"{spec.base_model.name} {spec.base_model.digest}",
        budget=spec.budget.model_dump_json(exclude_none=True),
        limits=spec.limits.model_dump_json(),
        generation=spec.generation.model_dump_json(),
        sandbox=spec.sandbox,
        versions=json.dumps(spec.versions, sort_keys=True),
        backbone=spec.backbone,
    )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _mean_over_subsets(values: Mapping[str, float], subsets: Mapping[str, str]) -> float:
    groups: dict[str, list[float]] = {}
    for item, value in values.items():
        groups.setdefault(subsets[item], []).append(value)
    return sum(sum(group) / len(group) for group in groups.values()) / len(groups) if groups else 0.0


def require_same_items(measurements: Sequence[Measurement]) -> None:
    """Check that all runs were scored on the same items.

    Raises:
        UsageError: they were not; names both digests.
    """
    first = measurements[0]
    for other in measurements[1:]:
        if other.item_values.keys() != first.item_values.keys():
            raise UsageError(
                f"runs {first.run} and {other.run} on {first.task} were scored on different items: "
                f"{first.items_digest} ({len(first.item_values)} items, data {first.setting.data_digest[:12]}) and "
                f"{other.items_digest} ({len(other.item_values)} items, data {other.setting.data_digest[:12]})",
                hint="compare runs of one data digest only; run one of the agents again on the other's data",
            )
