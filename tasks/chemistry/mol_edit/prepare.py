"""Data of chemistry/mol_edit. ``mini``: edits of packaged compounds. ``full``: ChemCoTBench and ChemCoTDataset."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.chemcot import ChemCotTask, Question, answers_in, field_object, full_data, mini_data
from ..shared.compounds import CHEMICALS, short_compounds
from ..shared.molecules import canonical, group_count, molecule, parse, source_molecule
from ..shared.subjects import mentions as mentions
from ..shared.subjects import subjects as subjects
from .edits import KINDS, MAX_CHARS, Edits

_NATIVE_KEY = "Final Target Molecule"


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile == "mini":
        return _mini(context)
    if profile == "full":
        return full_data(TASK, context)
    raise UsageError(f"chemistry/mol_edit has no profile {profile!r}", hint="mini or full")


def _mini(context: BuildContext) -> TaskData:
    compounds = short_compounds(context.package(CHEMICALS), MAX_CHARS)
    return mini_data(
        TASK,
        context,
        KINDS,
        lambda split, rng: Edits(compounds, split, rng),
        _slip,
        [
            f"Sources have at most {MAX_CHARS} characters; the groups are hydroxyl, amine and halogen.",
            "An answer is right when the groups' counts change as asked; the reference is one of several right answers.",
        ],
    )


def _slip(question: Question, rng: random.Random) -> str:
    """Nothing changed, or one carbon more: neither is what was asked."""
    source = question.molecules[0]
    return rng.choice([source, f"C{source}"])


def _molecules_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The source and the reference answer."""
    found = [source_molecule(str(row["query"]))] if _has_source(row) else []
    found += answers_in({"meta": row.get("meta")}, ("reference",))
    mols = [parse(smiles.strip()) for smiles in found]
    return tuple(dict.fromkeys(canonical(mol) for mol in mols if mol is not None))


def _has_source(row: Mapping[str, Any]) -> bool:
    try:
        source_molecule(str(row.get("query", "")))
    except ValueError:
        return False
    return True


def _right_answer(row: Mapping[str, Any]) -> str:
    """The first answer of a training row whose groups' counts changed as the row says."""
    meta = field_object(row, "meta")
    changes = {}
    for name, change in (("removed_group", -1), ("added_group", 1)):
        if meta.get(name):
            changes["_".join(str(meta[name]).lower().split())] = change
    if not changes or not _has_source(row):
        return ""
    source = molecule(source_molecule(str(row["query"])))
    for answer in answers_in(row, ("reference", "output", _NATIVE_KEY)):
        mol = molecule(answer.strip())
        if source and mol and all(group_count(mol, g) - group_count(source, g) == c for g, c in changes.items()):
            return answer.strip()
    return ""


TASK = ChemCotTask(
    name="mol_edit",
    subsets=("add", "delete", "sub"),
    taught=("add", "delete", "sub"),
    native={"add": _NATIVE_KEY, "delete": _NATIVE_KEY, "sub": _NATIVE_KEY},
    molecules_of=_molecules_of,
    gold_of=lambda row: str(field_object(row, "meta").get("reference", "")),
    right_answer=_right_answer,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (CHEMICALS,), "full": (TASK.bench, TASK.cot)}
