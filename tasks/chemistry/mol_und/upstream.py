"""Reading rows of ChemCoTBench and ChemCoTDataset. A field may come as an object or as JSON text of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .compounds import load_rdkit

_ANSWER_KEYS = ("output", "count", "Output Scaffold", "answer", "gt")
_MIN_CHARS = 4


def molecules_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Canonical SMILES of the molecules a row asks about: the first in its query, for `equivalence` all of them.

    A ring system that is asked for is none of them: a handful of ring systems occurs everywhere.
    """
    chem, _ = load_rdkit()
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


def answer_of(row: Mapping[str, Any]) -> str:
    """The answer of a training row, from ``gt``, ``meta`` or ``struct_cot``; empty where there is none."""
    for field in ("gt", "meta", "struct_cot"):
        value = row.get(field)
        if field == "gt" and value not in (None, ""):
            return str(value)
        found = _object(value)
        for key in _ANSWER_KEYS:
            if found.get(key) not in (None, ""):
                return str(found[key])
    return ""


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}
