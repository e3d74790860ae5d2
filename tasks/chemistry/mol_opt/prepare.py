"""Data of chemistry/mol_opt. ``mini``: packaged compounds and three properties. ``full``: ChemCoTBench and ChemCoTDataset."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.chemcot import ChemCotTask, Question, answers_in, full_data, mini_data
from ..shared.compounds import CHEMICALS, short_compounds
from ..shared.molecules import canonical, molecule, parse, source_molecule
from ..shared.properties import property_of
from ..shared.subjects import mentions as mentions
from ..shared.subjects import subjects as subjects
from .improvements import KINDS, MAX_CHARS, Improvements

_NATIVE_KEY = "Final Target Molecule"
_SUBSETS = ("drd", "gsk", "jnk", "qed", "logp", "solubility")


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile == "mini":
        return _mini(context)
    if profile == "full":
        return full_data(TASK, context)
    raise UsageError(f"chemistry/mol_opt has no profile {profile!r}", hint="mini or full")


def _mini(context: BuildContext) -> TaskData:
    compounds = short_compounds(context.package(CHEMICALS), MAX_CHARS)
    return mini_data(
        TASK,
        context,
        KINDS,
        lambda split, rng: Improvements(compounds, split, rng),
        _slip,
        [
            "Left out: drd, gsk and jnk. They are scored by models of Therapeutics Data Commons that no package brings along.",
            f"Sources have at most {MAX_CHARS} characters; the reference is one of many molecules with more of the property.",
        ],
    )


def _slip(question: Question, rng: random.Random) -> str:
    """The source itself, or its beginning, which may be no molecule and seldom is an improvement."""
    source = question.molecules[0]
    return rng.choice([source, source[: max(1, len(source) // 2)]])


def _molecules_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The source molecule: nothing else of a row is asked about."""
    try:
        source = parse(source_molecule(str(row.get("query", ""))))
    except ValueError:
        return ()
    return (canonical(source),)


def _right_answer(row: Mapping[str, Any]) -> str:
    """The first answer of a training row that does improve on the source."""
    try:
        source = molecule(source_molecule(str(row["query"])))
    except ValueError:
        return ""
    measure = property_of(str(row["subtask"]))
    for answer in answers_in(row, ("reference", "output", _NATIVE_KEY)):
        mol = molecule(answer.strip())
        if source and mol and measure(mol) > measure(source) + 1e-9:
            return answer.strip()
    return ""


TASK = ChemCotTask(
    name="mol_opt",
    subsets=_SUBSETS,
    taught=_SUBSETS,
    # Whether an answer to the others is right takes TDC's models: the data must not depend on them.
    shown=tuple(KINDS),
    native=dict.fromkeys(_SUBSETS, _NATIVE_KEY),
    molecules_of=_molecules_of,
    gold_of=lambda row: source_molecule(str(row["query"])),
    right_answer=_right_answer,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (CHEMICALS,), "full": (TASK.bench, TASK.cot)}
