"""Data of biology/err. ``mini``: right and corrupted steps of generated protocols. ``full`` and ``strict``: BioProBench's ERR."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.bioprobench import ProtocolTask, build_from_hub, steps_key
from ..shared.mini import REAGENTS, SOLVENTS, Recipe, build_mini
from .tests import grader

# Whether the step of a row is correct, the grader says.
KINDS = ("operation", "reagent", "parameter")
_WRONG_VERBS = {"Weigh": "Discard", "Add": "Remove", "Heat": "Cool", "Stir": "Leave"}


def shown(row: Mapping[str, Any]) -> str:
    """The step that is asked about.

    Raises:
        ValueError: the row has none.
    """
    step = row["corrected_text" if grader.gold_of(row) else "corrupted_text"]
    if not isinstance(step, str) or not step.strip():
        raise ValueError("the row has no step to ask about")
    return step


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in all profiles."""
    context = context_of(row)
    lines = [f"{title}: {context[name]}" for name, title in _CONTEXT.items() if context.get(name)]
    return "\n".join([*lines, f"Step: {shown(row)}", 'Is the step correct? Reply as {"correct": ...} with true or false.'])


_CONTEXT = {"purpose": "Purpose", "prior_step": "Step before", "next_step": "Step after"}


def context_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Purpose and neighbours of the step; a context that is one text is its purpose."""
    return dict(row["context"]) if isinstance(row["context"], Mapping) else {"purpose": str(row["context"] or "")}


def answer_of(row: Mapping[str, Any]) -> str:
    """The gold answer in the asked form."""
    return f'{{"correct": {str(grader.gold_of(row)).lower()}}}'


def draw(kind: str, recipe: Recipe, rng: random.Random) -> dict[str, Any]:
    """A step of the recipe, every second one with another verb, another substance or another number."""
    steps = recipe.steps
    place = rng.choice([0, 1]) if kind == "reagent" else rng.randrange(4)
    right = steps[place]
    words = right.split()
    if kind == "operation":
        wrong = right.replace(words[0], _WRONG_VERBS[words[0]])
    elif kind == "reagent":
        own, pool = (recipe.reagent, REAGENTS) if place == 0 else (recipe.solvent, SOLVENTS)
        wrong = right.replace(own, rng.choice([name for name in pool if name != own]))
    else:
        value = (recipe.grams, recipe.millilitres, recipe.celsius, recipe.minutes)[place]
        wrong = right.replace(str(value), str(value * rng.choice([2, 10])))
    correct = rng.random() < 0.5
    return {
        "context": {
            "purpose": recipe.purpose + ".",
            "prior_step": steps[place - 1] if place else "",
            "next_step": steps[place + 1],
        },
        "corrupted_text": "" if correct else wrong,
        "corrected_text": right,
        "is_correct": correct,
        "type": kind,
    }


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same step with the other verdict."""
    field = "corrupted_text" if row["is_correct"] else "corrected_text"
    return {"is_correct": not row["is_correct"], field: shown(row)}


def about(row: Mapping[str, Any]) -> list[str]:
    """The step as it should be, with its neighbours."""
    context = context_of(row)
    return [str(context.get("prior_step") or ""), str(row["corrected_text"] or shown(row)), str(context.get("next_step") or "")]


TASK = ProtocolTask(
    subset="err",
    prompt=prompt,
    gold_of=grader.gold_of,
    answer_of=answer_of,
    text_of=lambda row: f"{shown(row)} {context_of(row).get('purpose') or ''}",
    keys_of=lambda row: steps_key(about(row)),
    check=shown,
)


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_from_hub(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, KINDS, draw, spoil, "is_correct")
    raise UsageError(f"biology/err has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (TASK.data,)}
