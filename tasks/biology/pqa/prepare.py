"""Data of biology/pqa. ``mini``: questions about generated protocols. ``full`` and ``strict``: BioProBench's PQA."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.bioprobench import ProtocolTask, build_from_hub
from ..shared.mini import REAGENTS, SOLVENTS, Recipe, build_mini
from .tests import grader

# What the right option of a row is, the grader says.
KINDS = ("parameter", "reagent", "operation")


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in all profiles."""
    options = [f"{letter}: {choice}" for letter, choice in zip(grader.LETTERS, grader.choices_of(row), strict=False)]
    return "\n".join([str(row["question"]), *options, 'Reply as {"answer": [letter, confidence in percent]}.'])


def answer_of(row: Mapping[str, Any]) -> str:
    """The right option in the asked form, sure of it."""
    return f'{{"answer": ["{grader.gold_of(row)}", 100]}}'


def draw(kind: str, recipe: Recipe, rng: random.Random) -> dict[str, Any]:
    """A question about a value, a substance or the order of the recipe, with four options."""
    if kind == "parameter":
        asked, answer, others = rng.choice(
            [
                ("What is the volume?", f"{recipe.millilitres} mL", [f"{10 * n} mL" for n in range(1, 10)]),
                ("What is the temperature?", f"{recipe.celsius} °C", [f"{5 * n} °C" for n in range(6, 19)]),
                ("How long is it stirred?", f"{recipe.minutes} min", [f"{n} min" for n in range(2, 31)]),
            ]
        )
    elif kind == "reagent":
        asked, answer, others = rng.choice(
            [
                ("What is weighed?", recipe.reagent, list(REAGENTS)),
                ("What is added?", recipe.solvent, list(SOLVENTS)),
            ]
        )
    else:
        verbs = [step.split()[0] for step in recipe.steps]
        place = rng.randrange(1, len(verbs))
        asked, answer, others = f"What is done right after “{recipe.steps[place - 1]}”?", verbs[place], verbs
    choices = [answer, *rng.sample([other for other in others if other != answer], 3)]
    rng.shuffle(choices)
    return {"question": f"Protocol: {' '.join(recipe.steps)}\n{asked}", "choices": choices, "answer": answer, "type": kind}


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Another option as the answer."""
    return {"answer": rng.choice([choice for choice in row["choices"] if choice != row["answer"]])}


TASK = ProtocolTask(
    subset="pqa",
    prompt=prompt,
    gold_of=grader.gold_of,
    answer_of=answer_of,
    text_of=lambda row: str(row["question"]),
    keys_of=lambda row: (),
    check=grader.gold_of,
)


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_from_hub(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, KINDS, draw, spoil, "answer")
    raise UsageError(f"biology/pqa has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (TASK.data,)}
