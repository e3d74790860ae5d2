"""Reading rows of ChemCoTBench and ChemCoTDataset. A field may come as an object or as JSON text of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..shared.chemcot import field_object
from ..shared.compounds import load_rdkit

_ANSWER_KEYS = ("output", "count", "Output Scaffold", "answer", "gt")
_MIN_CHARS = 4
# sub-sets whose answer is a number
COUNTING = ("fg_count", "ring_count")


def molecules_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Canonical SMILES of the molecules a row asks about: the first in its query, for `equivalence` all of them.

    A ring system that is asked for is none of them: a handful of ring systems occurs everywhere.
    """
    chem = load_rdkit()
    found = []
    for token in re.split(r"[\s,;]+", str(row.get("query", ""))):
        text = token.strip(".?:'\"`")
        molecule = chem.MolFromSmiles(text) if _looks_like_smiles(text) else None
        if molecule is not None:
            found.append(chem.MolToSmiles(molecule))
    found = list(dict.fromkeys(found))
    return tuple(found if row.get("subtask") == "equivalence" else found[:1])


def _looks_like_smiles(text: str) -> bool:
    """No ordinary word: long enough, and either with a digit or sign, or nothing but capitals (``CCCO``)."""
    return len(text) >= _MIN_CHARS and (text.isupper() or not text.isalpha())


def answer_of(row: Mapping[str, Any]) -> int | str:
    """The answer of a training row, from ``gt``, ``meta`` or ``struct_cot``: a number where one is asked for, empty for none."""
    found = next((str(value) for value in _answers(row) if value not in (None, "")), "")
    return int(found) if row.get("subtask") in COUNTING and found.strip().isdigit() else found


def _answers(row: Mapping[str, Any]) -> Iterator[Any]:
    yield row.get("gt")
    for field in ("gt", "meta", "struct_cot"):
        inside = field_object(row, field)
        yield from (inside.get(key) for key in _ANSWER_KEYS)
