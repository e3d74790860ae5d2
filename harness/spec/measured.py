"""What was measured, in the few words that stand beside every score."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.budget import Budget
from harness.spec.run import PUBLIC_HIDDEN, RunSpec

# More values than this in one heading are counted instead of listed.
_LISTED = 2


class Measured(Spec):
    """The eight facts without which a score says nothing. Short words for people, the same wherever a score is shown."""

    profile: str = Field(description="which data and base model the task ran with: mini, full, strict")
    hidden: str = Field("", description="a mark where anybody can make the hidden split; empty where a secret draws it")
    base_model: str = Field(description="name of the base model")
    metric: str = Field("", description="the primary score; empty while nothing was scored")
    budget: str = Field(description="the limits of a run, as `5m, 8 evaluations`")
    sandbox: str = Field(description="sandbox backend")
    backbone: str = Field("", description="the language model that agents thought with; empty where they had none")
    dojo_version: str = Field("", description="version of dojo; empty where it was not recorded")

    def heading(self, *before: str) -> str:
        """Return one line for people, led by ``before`` (a task, a batch): ``math/aime25 · mini · smol · accuracy · …``."""
        version = f"dojo {self.dojo_version}" if self.dojo_version else ""
        backbone = f"backbone {self.backbone}" if self.backbone else ""
        words = (*before, self.profile, self.hidden, self.base_model, self.metric, self.budget, backbone, self.sandbox, version)
        return " · ".join(filter(None, words))


def measured(spec: RunSpec, metric: str = "") -> Measured:
    """Return what a run measures; ``metric`` is the name of its primary score, where something was scored already."""
    return Measured(
        profile=spec.task.profile,
        hidden=hidden_words(spec.task.hidden),
        base_model=spec.base_model.name,
        metric=metric,
        budget=budget_words(spec.budget),
        sandbox=spec.sandbox,
        backbone=spec.backbone.words if spec.backbone else "",
        dojo_version=spec.versions.get("dojo", ""),
    )


def measured_together(found: Iterable[Measured]) -> Measured:
    """Return what several sets of runs measured together: a field that differs lists its two values, or counts them."""
    several = list(found)
    plural = {
        "profile": "profiles", "hidden": "kinds of hidden splits",
        "base_model": "base models", "metric": "metrics", "budget": "budgets", "sandbox": "sandboxes",
        "backbone": "backbones",
        "dojo_version": "versions",
    }  # fmt: skip
    words = {}
    for name, noun in plural.items():
        values = list(dict.fromkeys(getattr(one, name) for one in several))
        # a budget holds commas itself
        joint = " / " if name == "budget" else ", "
        words[name] = joint.join(filter(None, values)) if len(values) <= _LISTED else f"{len(values)} {noun}"
    return Measured(**words)


def hidden_words(hidden: str) -> str:
    """Return the mark of a hidden split that anybody can make; nothing for others (see `harness.spec.run.TaskRef.hidden`)."""
    return "public hidden split" if hidden == PUBLIC_HIDDEN else ""


def budget_words(budget: Budget) -> str:
    """Return a budget's limits: ``5m, 8 evaluations, gpu 12h``. Dimensions without a limit are left out."""
    words = [duration_words(budget.wall), f"{budget.evaluations} evaluation" + ("" if budget.evaluations == 1 else "s")]
    words += [f"{name} {duration_words(value)}" for name in ("cpu", "gpu") if (value := getattr(budget, name)) is not None]
    words += [f"disk {budget.disk_mb} MB"] if budget.disk_mb is not None else []
    words += [f"{budget.tokens} tokens"] if budget.tokens is not None else []
    words += [f"{budget.output_tokens} output tokens"] if budget.output_tokens is not None else []
    words += [f"{budget.requests} requests"] if budget.requests is not None else []
    words += [f"${budget.dollars:g}"] if budget.dollars is not None else []
    return ", ".join(words)


def duration_words(seconds: float) -> str:
    """Return seconds as budgets are written: ``300`` as ``5m``, ``5400`` as ``1h30m``."""
    left, words = seconds, ""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if left >= unit and (unit != 86400 or seconds % 86400 == 0):
            words += f"{int(left // unit)}{name}"
            left %= unit
    return words + (f"{left:g}s" if left or not words else "")


def quick_look(limit: int | None) -> str:
    """Return the mark of a run over the first ``limit`` items only, or an empty string for a whole run."""
    return "" if limit is None else f"quick look at {limit} items"
