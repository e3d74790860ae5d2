"""Which molecules a row asks about and speaks of, however they are written: what the leak scan looks for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from harness.taskkit.building.overlap import texts

from .compounds import load_rdkit

# Molecules of fewer atoms are reagents and building blocks that every data set of molecules shares.
_ATOMS = 6
_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$/\\.%:*]{3,}")


def mentions(row: Any) -> frozenset[str]:
    """Canonical SMILES of the molecules in the first text of a row that has any: what follows are answers and reasoning.

    Raises:
        MissingError: RDKit is not installed.
    """
    return frozenset(_molecules(row))


def subjects(row: Any) -> frozenset[str]:
    """The largest of `mentions`, all where several are: smaller ones are scaffolds and reagents that many questions name.

    Raises:
        MissingError: RDKit is not installed.
    """
    found = _molecules(row)
    return frozenset(smiles for smiles, atoms in found.items() if atoms == max(found.values()))


def _molecules(row: Any) -> dict[str, int]:
    load_rdkit()
    for text in texts(row):
        parts = {part.strip(":") for token in _SMILES.findall(text) for part in token.split(".")}
        if found := dict(molecule for part in parts if (molecule := _read(part))):
            return found
    return {}


@lru_cache(maxsize=100_000)
def _read(token: str) -> tuple[str, int] | None:
    """Canonical SMILES and heavy atoms of a word that is a molecule."""
    chem = load_rdkit()
    molecule = None if token.isdigit() or len(token) < _ATOMS else chem.MolFromSmiles(token)
    atoms = int(molecule.GetNumHeavyAtoms()) if molecule is not None else 0
    return (str(chem.MolToSmiles(molecule)), atoms) if atoms >= _ATOMS else None
