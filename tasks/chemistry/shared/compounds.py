"""Real compounds for the mini profiles of chemistry tasks: the table of the package ``chemicals``, as canonical SMILES."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.spec.errors import MissingError
from harness.taskkit.building.package import PackageFile

TABLE = "chemicals/Identifiers/chemical identifiers pubchem large.tsv"
CHEMICALS = PackageFile(
    "chemicals",
    "1.5.2",
    "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e",
    ("*/chemical identifiers pubchem large.tsv", "*LICENSE*"),
    "MIT",
    size=22_288_884,
)
_SMILES_COLUMN = 4
# No charges, isotopes, stereo or mixtures in the mini profiles.
_NOT_MINI = frozenset(".[]@/\\+-%")

# Which sixteenths of all molecules belong to which split: no molecule of one is ever asked about in another.
_SHARES = {"hidden": range(0, 4), "dev": range(4, 6), "few_shot": range(6, 7), "sources": range(7, 16)}


def split_of(smiles: str) -> str:
    """The one split that may ask about a molecule (given by its canonical SMILES)."""
    share = hashlib.sha256(smiles.encode()).digest()[0] % 16
    return next(split for split, shares in _SHARES.items() if share in shares)


def short_compounds(folder: Path, max_chars: int) -> list[str]:
    """Canonical SMILES of at most ``max_chars`` characters from the unpacked package; sorted, each molecule once.

    Raises:
        MissingError: RDKit is not installed.
    """
    chem = load_rdkit()
    found = set()
    for line in (folder / TABLE).read_text(encoding="utf-8").splitlines():
        text = line.split("\t")[_SMILES_COLUMN]
        if len(text) > max_chars + 4 or _NOT_MINI & set(text):
            continue
        molecule = chem.MolFromSmiles(text)
        smiles = chem.MolToSmiles(molecule) if molecule is not None else ""
        if smiles and len(smiles) <= max_chars and not _NOT_MINI & set(smiles):
            found.add(smiles)
    return sorted(found)


@cache
def load_rdkit() -> Any:
    """Return RDKit's ``Chem``, quiet.

    Raises:
        MissingError: RDKit is not installed.
    """
    try:
        import_module("rdkit.RDLogger").DisableLog("rdApp.*")
        return import_module("rdkit.Chem")
    except ImportError as exc:
        raise MissingError("RDKit is not installed", hint="pip install 'dojo-bench[ml]' (in a checkout: make setup)") from exc
