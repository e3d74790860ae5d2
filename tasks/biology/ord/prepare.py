"""Data of biology/ord. ``mini``: shuffled steps of generated protocols. ``full`` and ``strict``: BioProBench's ORD."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.bioprobench import ProtocolTask, build_from_hub, steps_key
from ..shared.mini import Recipe, build_mini
from .tests import grader

# What the right order of a row is, the grader says.
KINDS = {"three steps": 3, "four steps": 4}


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in all profiles."""
    shuffled, _ = grader.steps_of(row)
    steps = [f"{place}: {step}" for place, step in enumerate(shuffled)]
    return "\n".join(
        [str(row["question"]), *steps, 'Reply as {"order": [...]} with the numbers of the steps in the right order.']
    )


def answer_of(row: Mapping[str, Any]) -> str:
    """The right order in the asked form."""
    return f'{{"order": {grader.right_order(row)}}}'


def draw(kind: str, recipe: Recipe, rng: random.Random) -> dict[str, Any]:
    """Some steps of the recipe in any order."""
    places = sorted(rng.sample(range(len(recipe.steps)), KINDS[kind]))
    ordered = [recipe.steps[place] for place in places]
    shuffled = rng.sample(ordered, len(ordered))
    question = f"Please sort these steps of “{recipe.purpose}”."
    return {"question": question, "wrong_steps": shuffled, "correct_steps": ordered, "type": kind}


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Two steps that follow each other, exchanged."""
    ordered = list(row["correct_steps"])
    place = rng.randrange(1, len(ordered))
    ordered[place - 1], ordered[place] = ordered[place], ordered[place - 1]
    return {"correct_steps": ordered}


TASK = ProtocolTask(
    subset="ord",
    prompt=prompt,
    gold_of=grader.right_order,
    answer_of=answer_of,
    text_of=lambda row: f"{row['question']} {' '.join(map(str, row['correct_steps']))}",
    keys_of=lambda row: steps_key(row["correct_steps"]),
    check=grader.steps_of,
)


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_from_hub(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, list(KINDS), draw, spoil, "correct_steps")
    raise UsageError(f"biology/ord has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (TASK.data,)}
