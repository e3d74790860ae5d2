"""Small changes of real molecules that raise a property, each checked by measuring before and after."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..shared.chemcot import Question
from ..shared.compounds import load_rdkit, split_of
from ..shared.molecules import canonical, molecule
from ..shared.properties import property_of

MAX_CHARS = 16
# The sub-sets whose property RDKit alone computes.
KINDS = {name: (name,) for name in ("qed", "logp", "solubility")}
_WORDS = {"qed": "drug-likeness (QED)", "logp": "penalised logP", "solubility": "water solubility"}
_ADDED = (6, 7, 8, 9, 17)
# Smaller gains are no lesson.
_LEAST_GAIN = 0.02


class Improvements:
    """Draws molecules of one split with an improved neighbour; each molecule is used once."""

    def __init__(self, compounds: Sequence[str], split: str, rng: random.Random) -> None:
        self._rng, self._split = rng, split
        mine = [smiles for smiles in compounds if split_of(smiles) == split]
        rng.shuffle(mine)
        self._left = iter(mine)
        self._used: set[str] = set()

    def draw(self, kind: str, _: int) -> Question:
        """Draw a question about a property.

        Raises:
            StopIteration: no molecule is left.
        """
        measure = property_of(kind)
        for smiles in self._left:
            if smiles in self._used:
                continue
            before = measure(molecule(smiles))
            neighbours = [n for n in _neighbours(molecule(smiles)) if split_of(n) == self._split and n not in self._used]
            self._rng.shuffle(neighbours)
            better = next((n for n in neighbours if measure(molecule(n)) > before + _LEAST_GAIN), None)
            if better is not None:
                self._used |= {smiles, better}
                query = f"Raise the {_WORDS[kind]}. Source Molecule: {smiles}"
                return Question(kind, kind, query, better, (smiles, better), meta={"reference": better})
        raise StopIteration(kind)


def _neighbours(source: Any) -> Iterator[str]:
    """Canonical SMILES of molecules with one atom more at a carbon, or one end atom less."""
    chem = load_rdkit()
    for atom in source.GetAtoms():
        edits = [(number, False) for number in _ADDED if atom.GetAtomicNum() == 6 and atom.GetTotalNumHs()]
        edits += [(0, True)] if atom.GetDegree() == 1 else []
        for number, removes in edits:
            edited = chem.RWMol(source)
            if removes:
                edited.RemoveAtom(atom.GetIdx())
            else:
                edited.AddBond(atom.GetIdx(), edited.AddAtom(chem.Atom(number)), chem.BondType.SINGLE)
            if chem.SanitizeMol(edited, catchErrors=True) == chem.SanitizeFlags.SANITIZE_NONE:
                found = molecule(canonical(edited))
                if found is not None and len(canonical(found)) <= MAX_CHARS + 4:
                    yield canonical(found)
