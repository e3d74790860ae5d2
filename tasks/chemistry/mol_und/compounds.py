"""Real compounds for the mini profile: the compound table of the package ``chemicals``, as canonical SMILES."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.assets.package import PackageFile
from harness.spec.errors import MissingError

TABLE = "chemicals/Identifiers/chemical identifiers pubchem large.tsv"
CHEMICALS = PackageFile(
    "chemicals",
    "1.5.2",
    "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e",
    ("*/chemical identifiers pubchem large.tsv", "*LICENSE*"),
    "MIT",
)

# Short enough for a 135M model on one CPU core; no charges, isotopes, stereo or mixtures in the mini profile.
MAX_CHARS = 16
_NOT_MINI = frozenset(".[]@/\\+-%")
_SMILES_COLUMN = 4

# SMARTS facts of the benchmark (the groups that short compounds have in all numbers).
GROUPS = {"halo": "[F,Cl,Br,I]", "hydroxyl": "[OX2H]"}

# Which sixteenths of all molecules belong to which split: no molecule of one is ever asked about in another.
_SHARES = {"hidden": range(0, 4), "dev": range(4, 6), "few_shot": range(6, 7), "sources": range(7, 16)}


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


def split_of(smiles: str) -> str:
    """The one split that may ask about a molecule (given by its canonical SMILES)."""
    share = hashlib.sha256(smiles.encode()).digest()[0] % 16
    return next(split for split, shares in _SHARES.items() if share in shares)


def read_compounds(folder: Path) -> list[Compound]:
    """Read the package's table; sorted by SMILES, each molecule once.

    Raises:
        MissingError: RDKit is not installed; without it no answer can be computed.
    """
    chem, scaffolds = load_rdkit()
    patterns = {name: chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}
    found: dict[str, Compound] = {}
    for line in (folder / TABLE).read_text(encoding="utf-8").splitlines():
        text = line.split("\t")[_SMILES_COLUMN]
        if len(text) > MAX_CHARS + 4 or _NOT_MINI & set(text):
            continue
        molecule = chem.MolFromSmiles(text)
        if molecule is None:
            continue
        smiles = chem.MolToSmiles(molecule)
        if len(smiles) <= MAX_CHARS and not _NOT_MINI & set(smiles) and smiles not in found:
            counts = {name: len(molecule.GetSubstructMatches(pattern)) for name, pattern in patterns.items()}
            counts["rings"] = molecule.GetRingInfo().NumRings()
            # In cages the number of rings depends on the definition; nobody should be asked for it.
            if counts["rings"] != molecule.GetNumBonds() - molecule.GetNumAtoms() + 1:
                continue
            scaffold = scaffolds.MurckoScaffoldSmiles(mol=molecule) if counts["rings"] else ""
            found[smiles] = Compound(smiles, counts, scaffold)
    return [found[smiles] for smiles in sorted(found)]


def load_rdkit() -> tuple[Any, Any]:
    """Return RDKit's ``Chem`` and ``MurckoScaffold``, quiet.

    Raises:
        MissingError: RDKit is not installed.
    """
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem.Scaffolds import MurckoScaffold
    except ImportError as exc:
        raise MissingError("RDKit is not installed", hint="install the extra `ml` (`make setup` does)") from exc
    RDLogger.DisableLog("rdApp.*")
    return Chem, MurckoScaffold
