"""Data of chemistry/reaction. ``mini``: textbook rules on packaged compounds. ``full``: ChemCoTBench and ChemCoTDataset."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.chemcot import ChemCotTask, Question, answers_in, full_data, mini_data
from ..shared.compounds import CHEMICALS, short_compounds
from ..shared.molecules import canonical, parse
from ..shared.subjects import mentions as mentions
from ..shared.subjects import subjects as subjects
from .questions import KINDS, MAX_CHARS, Drawn, reactions

_NATIVE = {"fs": "Major Product", "retro": "Reactants", "rcr": "condition", "nepp": "output", "mechsel": "choice"}
# Shorter ones are water, ammonia, solvents' names and words.
_MIN_CHARS = 4
# What every second reaction contains says nothing about an overlap.
_MIN_ATOMS = 6


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile == "mini":
        return _mini(context)
    if profile == "full":
        return full_data(TASK, context)
    raise UsageError(f"chemistry/reaction has no profile {profile!r}", hint="mini or full")


def _mini(context: BuildContext) -> TaskData:
    compounds = short_compounds(context.package(CHEMICALS), MAX_CHARS)
    context.log("applying the rules")
    known = reactions(compounds)
    return mini_data(
        TASK,
        context,
        KINDS,
        lambda split, rng: Drawn(known, split, rng),
        _slip,
        [
            f"Molecules have at most {MAX_CHARS} characters and react by exactly one of eight textbook rules, in one way.",
            "The rules are a model of chemistry: whether a compound would react so in a flask is not asked.",
        ],
    )


def _slip(question: Question, rng: random.Random) -> str:
    """Another letter, or one of the molecules of the question that is not the answer."""
    if question.subset == "mechsel":
        return rng.choice([letter for letter in "ABCD" if letter != question.answer])
    return rng.choice([smiles for smiles in question.molecules if smiles != question.answer])


def _molecules_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The molecules of the question, without small and common ones (fewer than six heavy atoms)."""
    found: dict[str, None] = {}
    for token in re.split(r"[\s,;]+|>+", str(row.get("query", ""))):
        text = token.strip(".?:'\"`")
        if len(text) < _MIN_CHARS or not (text.isupper() or not text.isalpha()):
            continue
        for part in text.split("."):
            mol = parse(part)
            if mol is not None and mol.GetNumAtoms() >= _MIN_ATOMS:
                found[canonical(mol)] = None
    return tuple(found)


def _gold(row: Mapping[str, Any]) -> str:
    """The gold answer as people read it."""
    gt = row.get("gt")
    return gt if isinstance(gt, str) else json.dumps(gt)


def _right_answer(row: Mapping[str, Any]) -> str:
    """The answer of a training row; there is nothing to check it by but that it can be read."""
    subset = str(row["subtask"])
    answers = answers_in(row, (_NATIVE[subset], "output", "answer"))
    return next((a.strip() for a in answers if subset == "rcr" or parse(a.strip()) is not None), "")


TASK = ChemCotTask(
    name="reaction",
    subsets=tuple(KINDS),
    taught=("fs", "rcr"),
    native=_NATIVE,
    molecules_of=_molecules_of,
    gold_of=_gold,
    right_answer=_right_answer,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (CHEMICALS,), "full": (TASK.bench, TASK.cot)}
