"""Headings of tables and plots: what was measured, and in what a table's runs differ from the newest ones on the task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.analysis.counted import why_aside
from harness.analysis.measurement import Measurement
from harness.spec.budget import Budget
from harness.spec.measured import Measured, budget_words, hidden_words, measured, measured_together
from harness.spec.result import RunResult
from harness.spec.summary import Setting, engine_of, setting_of

# Enough of a digest to tell two apart.
_DIGEST = 8


@dataclass(frozen=True)
class Heading:
    """A heading of a table or panel.

    Attributes:
        title: what was measured.
        note: what else must be known: in what the runs differ from the newest ones on the task, why they are never compared.
    """

    title: str
    note: str = ""


def measured_by(runs: Iterable[Measurement]) -> Measured:
    """Return what the runs measured; where they differ (mixed settings, several tasks) the values stand together."""
    # settings are shared by the runs made in them, and hashing one for each of 100,000 runs would take longer than the ranking
    kinds = {(id(m.setting), m.metric): m for m in runs}
    return measured_together(measured_in(m.setting, m.metric) for m in kinds.values())


def measured_in(setting: Setting, metric: str) -> Measured:
    """Return what runs of one setting measured."""
    return Measured(
        profile=setting.profile,
        hidden=hidden_words(setting.hidden),
        base_model=setting.base_model.partition(" ")[0],
        metric=metric,
        budget=budget_words(Budget.model_validate_json(setting.budget)),
        sandbox=setting.sandbox,
        backbone=_words(setting.backbone),
        dojo_version=str(json.loads(setting.versions).get("dojo", "")),
    )


def run_headings(
    results: Iterable[RunResult], excluded: Mapping[str, str] | None = None, *, with_task: bool = False
) -> dict[str, Heading]:
    """Return run id → the heading that a single run stands under; it says so where the run is never compared, and why.

    A run without a score is said to measure what the task's other runs do.
    """
    # what is never compared comes first, so that it is the measure of the others only where there is nothing else
    runs = sorted(results, key=lambda r: (not why_aside(r.spec, excluded or {}), r.spec.created))
    metrics = {r.spec.task.id: r.grade.scores.primary.name for r in runs if r.grade}
    settings = {r.spec.id: setting_of(r.spec, engine_of(r)) for r in runs}
    newest = {r.spec.task.id: settings[r.spec.id] for r in runs}
    found = {}
    for spec in (r.spec for r in runs):
        differs, aside = differs_from(settings[spec.id], newest[spec.task.id]), why_aside(spec, excluded or {})
        notes = [f"other {differs}" if differs else "", f"{aside}; never compared or ranked" if aside else ""]
        title = measured(spec, metrics.get(spec.task.id, "")).heading(*([spec.task.id] if with_task else []))
        found[spec.id] = Heading(title, "; ".join(filter(None, notes)))
    return found


def differs_from(setting: Setting, newest: Setting) -> str:
    """Return in what a setting differs from the newest on the task: ``budget 10m, 8 evaluations instead of 5m, …``."""
    return "; ".join(_differing(name, setting, newest) for name in newest.differing(setting))


def _differing(name: str, own: Setting, newest: Setting) -> str:
    if name in (*own.varied, *newest.varied):
        here, there = ("as each name says" if name in setting.varied else "the same for all" for setting in (own, newest))
        return f"{name.replace('_', ' ')} {here} instead of {there}"
    here, there = getattr(own, name), getattr(newest, name)
    if name in ("limits", "generation", "versions"):
        return _entries(name, json.loads(here), json.loads(there))
    if name == "budget":
        here, there = (budget_words(Budget.model_validate_json(text)) for text in (here, there))
    elif name.endswith("_digest"):
        name, here, there = name.removesuffix("_digest"), here[:_DIGEST], there[:_DIGEST]
    elif name == "base_model":
        name, here, there = "base model", _model(here), _model(there)
    return f"{name} {here} instead of {there}"


def _words(backbone: str | None) -> str:
    """Return a setting's backbone without the digest that tells two of one name apart."""
    return backbone.rpartition(" ")[0] if backbone else ""


def _model(text: str) -> str:
    name, _, digest = text.partition(" ")
    return f"{name} {digest[:_DIGEST]}"


def _entries(name: str, own: Mapping[str, Any], newest: Mapping[str, Any]) -> str:
    """Return the entries that differ: ``limits cpus 2 instead of 1``."""
    changed = [key for key in {**own, **newest} if own.get(key) != newest.get(key)]
    return f"{name} " + ", ".join(f"{key} {own.get(key, 'unknown')} instead of {newest.get(key, 'unknown')}" for key in changed)
