"""Data of biology/gen. ``mini``: generated protocols to be written out. ``full`` and ``strict``: BioProBench's GEN."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.bioprobench import ProtocolTask, build_from_hub, steps_key
from ..shared.mini import Recipe, build_mini
from .tests import grader

# What the reference steps of a row are, the grader says.
KINDS = {"up to heating": 3, "whole": 6}


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in all profiles."""
    asked = [str(row.get(name) or "").strip() for name in ("instruction", "input")]
    return "\n".join([*filter(None, asked), 'Reply as {"steps": [...]} with one text a step.'])


def check(row: Mapping[str, Any]) -> None:
    """Refuse a row without a question or without steps.

    Raises:
        ValueError: it has none.
    """
    if not str(row["input"] or "").strip():
        raise ValueError("the row asks for nothing")
    grader.gold_of(row)


def draw(kind: str, recipe: Recipe, rng: random.Random) -> dict[str, Any]:
    """The recipe's first steps, or all of them, to be written from its purpose."""
    until = "Stop after heating." if kind == "up to heating" else "Filter and store the solution."
    steps = recipe.steps[: KINDS[kind]]
    return {"system_prompt": "", "instruction": "", "input": f"{recipe.purpose}. {until}", "output": steps, "type": kind}


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The steps in another order, without one of them."""
    steps = rng.sample(row["output"], len(row["output"]) - 1)
    return {"output": list(reversed(row["output"]))[1:] if steps == row["output"][: len(steps)] else steps}


TASK = ProtocolTask(
    subset="gen",
    prompt=prompt,
    gold_of=grader.gold_of,
    answer_of=grader.answer_of,
    text_of=lambda row: str(row["input"]),
    keys_of=lambda row: steps_key(grader.gold_of(row)),
    check=check,
)


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_from_hub(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, list(KINDS), draw, spoil, "output")
    raise UsageError(f"biology/gen has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (TASK.data,)}
