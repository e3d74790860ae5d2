"""Questions about compounds whose answers RDKit gives exactly."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ..shared.chemcot import Question
from ..shared.compounds import load_rdkit, split_of
from .compounds import MAX_CHARS, Compound

SUBSETS = ("fg_count", "ring_count", "equivalence", "ring_system_scaffold", "Murcko_scaffold")

# Counts asked for are spread evenly over these ranges, so that no constant answer does well.
COUNTED = {"halo": range(0, 4), "hydroxyl": range(0, 3), "rings": range(0, 4)}
KINDS = {
    "fg_count": ("halo", "hydroxyl"),
    "ring_count": ("rings",),
    "equivalence": ("equivalence",),
    "ring_system_scaffold": ("ring_system_scaffold",),
    "Murcko_scaffold": ("Murcko_scaffold",),
}
_COUNT_TEXT = {
    "halo": "How many halogen atoms are in {}?",
    "hydroxyl": "How many hydroxyl groups are in {}?",
    "rings": "How many rings are in {}?",
}
MAX_SCAFFOLD = 10
_SWAPS = {"O": "S", "S": "O", "F": "Cl", "Cl": "Br", "Br": "Cl", "N": "O"}


class Questions:
    """Draws questions about the compounds of one split; each compound is asked about once, until a type has used up its own.

    Raises:
        StopIteration: by `draw`, when a type has no compound left.
    """

    def __init__(self, compounds: Sequence[Compound], split: str, rng: random.Random) -> None:
        self._rng = rng
        self._split = split
        mine = [c for c in compounds if split_of(c.smiles) == split]
        rng.shuffle(mine)
        self._used: set[str] = set()
        self._by_count = {
            kind: {n: iter([c for c in mine if c.counts[kind] == n]) for n in values} for kind, values in COUNTED.items()
        }
        # Rings with something on them, small enough to write down.
        ringed = [c for c in mine if c.scaffold and c.scaffold != c.smiles and len(c.scaffold) <= MAX_SCAFFOLD]
        self._scaffolds = [c.scaffold for c in ringed]
        self._any, self._ringed = iter(mine), iter(list(_varied(ringed)))

    def draw(self, kind: str, number: int) -> Question:
        """Draw the ``number``-th question of a type; counts and yes/no take turns, so that they are even."""
        if kind in COUNTED:
            values = COUNTED[kind]
            wanted = values[number % len(values)]
            compound = self._fresh(self._by_count[kind][wanted])
            subset = "fg_count" if kind in KINDS["fg_count"] else "ring_count"
            return _question(subset, kind, _COUNT_TEXT[kind].format(compound.smiles), wanted, (compound.smiles,))
        return {
            "equivalence": self._equivalence,
            "ring_system_scaffold": self._ring_system,
            "Murcko_scaffold": self._murcko,
        }[kind](number % 2 == 0)

    def _fresh(self, compounds: Iterator[Compound]) -> Compound:
        compound = next(c for c in compounds if c.smiles not in self._used)
        self._used.add(compound.smiles)
        return compound

    def _equivalence(self, same: bool) -> Question:
        while True:
            compound = self._fresh(self._any)
            other = rewritten(compound.smiles, self._rng) if same else self._mutated(compound.smiles)
            if other and other[1] != compound.smiles and len(other[1]) <= MAX_CHARS + 4:
                molecules = (compound.smiles,) if same else (compound.smiles, other[0])
                text = f"Are {compound.smiles} and {other[1]} the same molecule?"
                return _question("equivalence", "equivalence", text, "Yes" if same else "No", molecules)

    def _mutated(self, smiles: str) -> tuple[str, str] | None:
        """Another molecule: one atom exchanged or one carbon more; (its canonical SMILES, as asked)."""
        chem = load_rdkit()
        atoms = [i for i, char in enumerate(smiles) if char in _SWAPS and smiles[i : i + 2] not in ("Cl", "Br")]
        candidates = [smiles[:i] + _SWAPS[smiles[i]] + smiles[i + 1 :] for i in atoms] + [f"C{smiles}"]
        self._rng.shuffle(candidates)
        for candidate in candidates:
            molecule = chem.MolFromSmiles(candidate)
            canonical = chem.MolToSmiles(molecule) if molecule else smiles
            if canonical != smiles and split_of(canonical) == self._split:
                again = rewritten(canonical, self._rng)
                return again or (canonical, canonical)
        return None

    def _ring_system(self, present: bool) -> Question:
        compound = self._fresh(self._ringed)
        chem = load_rdkit()
        molecule = chem.MolFromSmiles(compound.smiles)
        ring = compound.scaffold
        if not present:
            # smaller than what is asked about: a larger one could not be in it, and would be what the question is about
            others = ((other, chem.MolFromSmiles(other)) for other in iter(lambda: self._rng.choice(self._scaffolds), None))
            ring = next(
                other
                for other, drawn in others
                if drawn.GetNumHeavyAtoms() < molecule.GetNumHeavyAtoms() and not molecule.HasSubstructMatch(drawn)
            )
        text = f"Is the ring system {ring} in {compound.smiles}?"
        return _question("ring_system_scaffold", "ring_system_scaffold", text, "Yes" if present else "No", (compound.smiles,))

    def _murcko(self, _: bool) -> Question:
        compound = self._fresh(self._ringed)
        text = f"What is the Murcko scaffold of {compound.smiles}?"
        return _question("Murcko_scaffold", "Murcko_scaffold", text, compound.scaffold, (compound.smiles,))


def _question(subset: str, kind: str, query: str, answer: int | str, molecules: tuple[str, ...]) -> Question:
    return Question(subset, kind, query, answer, molecules, gt=str(answer))


def _varied(compounds: Sequence[Compound]) -> Iterator[Compound]:
    """Leave compounds out so that no scaffold is that of more than one in ten: a constant answer must not look good."""
    seen: dict[str, int] = {}
    kept = 0
    for compound in compounds:
        if seen.get(compound.scaffold, 0) <= kept // 10:
            seen[compound.scaffold] = seen.get(compound.scaffold, 0) + 1
            kept += 1
            yield compound


def rewritten(smiles: str, rng: random.Random) -> tuple[str, str] | None:
    """The same molecule written from another atom: (canonical SMILES, as written), or ``None`` where there is no other way."""
    chem = load_rdkit()
    molecule = chem.MolFromSmiles(smiles)
    for root in rng.sample(range(molecule.GetNumAtoms()), molecule.GetNumAtoms()):
        text = chem.MolToSmiles(molecule, rootedAtAtom=root)
        if text != smiles:
            return smiles, text
    return None
