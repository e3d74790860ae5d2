"""Edits of functional groups on real molecules, each checked by counting groups before and after."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..shared.chemcot import Question
from ..shared.compounds import load_rdkit, split_of
from ..shared.molecules import canonical, group_count, molecule

MAX_CHARS = 18
# Group → the element that stands for it where it is added, and the elements that may be taken away.
_ELEMENTS = {"hydroxyl": (8, (8,)), "amine": (7, (7,)), "halo": (17, (9, 17, 35, 53))}
_NAMES = {"hydroxyl": "hydroxyl group", "amine": "amine group", "halo": "halogen atom"}

KINDS = {
    "add": tuple(f"add {group}" for group in _ELEMENTS),
    "delete": tuple(f"delete {group}" for group in _ELEMENTS),
    "sub": tuple(f"sub {old} {new}" for old in _ELEMENTS for new in _ELEMENTS if old != new),
}
# Numbers of the groups in the source, asked for in turn as far as there are molecules, so that no constant answer does well.
_BEFORE = {"add": ((0,), (1,), (2,)), "delete": ((1,), (2,), (3,)), "sub": ((1, 0), (2, 0), (1, 1), (2, 1))}


class Edits:
    """Draws edits of the molecules of one split; each molecule is used once."""

    def __init__(self, compounds: Sequence[str], split: str, rng: random.Random) -> None:
        self._rng, self._split = rng, split
        mine = [smiles for smiles in compounds if split_of(smiles) == split]
        rng.shuffle(mine)
        self._used: set[str] = set()
        self._by_counts: dict[tuple[int, ...], list[str]] = {}
        for smiles in mine:
            mol = molecule(smiles)
            self._by_counts.setdefault(tuple(group_count(mol, group) for group in _ELEMENTS), []).append(smiles)

    def draw(self, kind: str, number: int) -> Question:
        """Draw the ``number``-th edit of a type.

        Raises:
            StopIteration: no molecule is left.
        """
        subset, *groups = kind.split()
        choices = _BEFORE[subset]
        for turn in range(len(choices)):
            wanted = dict(zip(groups, choices[(number + turn) % len(choices)], strict=True))
            for smiles in self._having(wanted):
                edited = self._edit(smiles, subset, groups)
                if edited:
                    self._used |= {smiles, edited}
                    return _question(subset, kind, groups, smiles, edited)
        raise StopIteration(kind)

    def _having(self, wanted: dict[str, int]) -> Iterator[str]:
        places = {list(_ELEMENTS).index(group): count for group, count in wanted.items()}
        fitting = [found for counts, found in self._by_counts.items() if all(counts[p] == n for p, n in places.items())]
        candidates = [smiles for found in fitting for smiles in found if smiles not in self._used]
        self._rng.shuffle(candidates)
        return iter(candidates)

    def _edit(self, smiles: str, subset: str, groups: Sequence[str]) -> str:
        """The edited molecule, of the same split and not yet used; empty where there is none."""
        source = molecule(smiles)
        removed = groups[0] if subset != "add" else None
        added = groups[-1] if subset != "delete" else None
        changes = {group: (group == added) - (group == removed) for group in groups}
        products = list(_products(source, removed, added))
        self._rng.shuffle(products)
        for product in products:
            mol = molecule(product)
            right = all(group_count(mol, g) - group_count(source, g) == change for g, change in changes.items())
            fresh = product != smiles and product not in self._used
            if right and fresh and len(product) <= MAX_CHARS + 4 and split_of(product) == self._split:
                return product
        return ""


def _products(source: Any, removed: str | None, added: str | None) -> Iterator[str]:
    """Canonical SMILES of what comes of taking ``removed`` from a place and putting ``added`` there."""
    chem = load_rdkit()
    for atom in source.GetAtoms():
        if removed is None:
            if atom.GetAtomicNum() != 6 or not atom.GetTotalNumHs():
                continue
        elif atom.GetAtomicNum() not in _ELEMENTS[removed][1] or atom.GetDegree() != 1:
            continue
        edited = chem.RWMol(source)
        if removed is None:
            new = edited.AddAtom(chem.Atom(_ELEMENTS[str(added)][0]))
            edited.AddBond(atom.GetIdx(), new, chem.BondType.SINGLE)
        elif added is None:
            edited.RemoveAtom(atom.GetIdx())
        else:
            edited.ReplaceAtom(atom.GetIdx(), chem.Atom(_ELEMENTS[added][0]))
        if chem.SanitizeMol(edited, catchErrors=True) == chem.SanitizeFlags.SANITIZE_NONE:
            smiles = canonical(edited)
            mol = molecule(smiles)
            if mol is not None:
                yield canonical(mol)


def _question(subset: str, kind: str, groups: Sequence[str], source: str, edited: str) -> Question:
    names = [_NAMES[group] for group in groups]
    text = {"add": "Add one {0}.", "delete": "Delete one {0}.", "sub": "Replace one {0} by one {1}."}
    meta = {"reference": edited}
    if subset != "add":
        meta["removed_group"] = groups[0]
    if subset != "delete":
        meta["added_group"] = groups[-1]
    query = f"{text[subset].format(*names, '')} Input Molecule: {source}"
    return Question(subset, kind, query, edited, (source, edited), meta=meta)
