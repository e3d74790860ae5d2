"""Real compounds for the mini profile, with the answers to what is asked about them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..shared import molecules
from ..shared.compounds import load_rdkit, short_compounds

# Short enough for a 135M model on one CPU core.
MAX_CHARS = 16

# The groups of the benchmark (those that short compounds have in all numbers).
GROUPS = {name: molecules.GROUPS[name] for name in ("halo", "hydroxyl")}


@dataclass(frozen=True)
class Compound:
    """A molecule with everything the questions ask about.

    Attributes:
        smiles: canonical.
        counts: functional group → number; ``rings`` → number of rings.
        scaffold: Murcko scaffold, canonical; empty where there is no ring.
    """

    smiles: str
    counts: dict[str, int]
    scaffold: str


def read_compounds(folder: Path) -> list[Compound]:
    """Read the package's table; sorted by SMILES, each molecule once.

    Raises:
        MissingError: RDKit is not installed; without it no answer can be computed.
    """
    chem, scaffolds = load_rdkit(), import_module("rdkit.Chem.Scaffolds.MurckoScaffold")
    patterns = {name: chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}
    found = []
    for smiles in short_compounds(folder, MAX_CHARS):
        molecule = chem.MolFromSmiles(smiles)
        counts = {name: len(molecule.GetSubstructMatches(pattern)) for name, pattern in patterns.items()}
        counts["rings"] = molecule.GetRingInfo().NumRings()
        # In cages the number of rings depends on the definition; nobody should be asked for it.
        if counts["rings"] != molecule.GetNumBonds() - molecule.GetNumAtoms() + 1:
            continue
        scaffold = scaffolds.MurckoScaffoldSmiles(mol=molecule) if counts["rings"] else ""
        found.append(Compound(smiles, counts, scaffold))
    return found
