r"""Molecules in answers: parsing, identity, similarity, functional groups. What graders of chemistry tasks share.

RDKit is imported inside functions: graders load without it and fail, instead of scoring, where it is missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.extraction import after_thinking, last_json_value

# Far more than any molecule of the benchmarks; RDKit's time grows with the molecule.
MAX_SMILES = 1000
_RADIUS, _BITS = 2, 1024
_PRINTABLE = re.compile(r"[!-~]+")
_SOURCE = re.compile(r"(?:Input Molecule|Molecule SMILES|Source Molecule):[ \t\r\n]{0,8}([^\s,]+)")

# SMARTS facts of ChemCoTBench's editing sub-sets.
GROUPS = {
    "benzene": "[cR1]1[cR1][cR1][cR1][cR1][cR1]1",
    "benzene_ring": "[cR1]1[cR1][cR1][cR1][cR1][cR1]1",
    "hydroxyl": "[OX2H]",
    "aldehyde": "[CX3H1](=O)[#6]",
    "ketone": "[#6][CX3](=O)[#6]",
    "carboxyl": "[CX3](=O)[OX2H1]",
    "ester": "[#6][CX3](=O)[OX2H0][#6]",
    "anhydride": "[CX3](=[OX1])[OX2][CX3](=[OX1])",
    "amine": "[NX3;H2,H1;!$(NC=O)]",
    "amide": "[NX3][CX3](=[OX1])[#6]",
    "nitro": "[$([NX3](=O)=O),$([NX3+](=O)[O-])][!#8]",
    "halo": "[F,Cl,Br,I]",
    "thiol": "[#16X2H]",
    "thioether": "[SX2][CX4]",
    "disulfide": "[#16X2H0][#16X2H0]",
    "sulfoxide": "[$([#16X3]=[OX1]),$([#16X3+][OX1-])]",
    "sulfone": "[$([#16X4](=[OX1])=[OX1]),$([#16X4+2]([OX1-])[OX1-])]",
    "sulfide": "[#16X2H0]",
    "nitrile": "[NX1]#[CX2]",
    "borane": "[BX3]",
}


def smiles_text(value: Any) -> str | None:
    """A value that can be a SMILES: text that is not blank, stripped. For `last_json_value`."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def extract_smiles(response: str, keys: Sequence[str]) -> str | None:
    """The text under the first of ``keys`` in the last JSON object that has one; `answer_molecule` tells what it is."""
    return after_thinking(response, lambda text: last_json_value(text, keys, smiles_text))


def source_molecule(query: str) -> str:
    """The molecule a question is about: what follows ``Input Molecule:``, ``Molecule SMILES:`` or ``Source Molecule:``.

    It ends at white space or a comma; a closing full stop, semicolon or quote is not part of it.

    Raises:
        ValueError: there is none, or it is no valid SMILES.
    """
    match = _SOURCE.search(query)
    text = match.group(1).strip(".;'\"`") if match else ""
    if parse(text) is None:
        raise ValueError(f"no source molecule in the question {query[:200]!r}")
    return text


def parse(smiles: str) -> Any | None:
    """RDKit's molecule, or ``None`` where the text is no SMILES of at least one atom.

    White space inside is refused: RDKit would read the rest as a name.

    Raises:
        GraderFailure: RDKit is not installed.
    """
    chem = rdkit_module("Chem")
    if len(smiles) > MAX_SMILES or not _PRINTABLE.fullmatch(smiles):
        return None
    found = chem.MolFromSmiles(smiles)
    return found if found is not None and found.GetNumAtoms() else None


def molecule(smiles: str) -> Any | None:
    """Like `parse`, and ``None`` for wildcards (``*``) too: they are no molecule."""
    found = parse(smiles)
    return found if found is not None and not _has_wildcard(found) else None


def answer_molecule(text: str | None, gold: Any = None) -> Any | None:
    """The molecule that an answer is, in every task of this domain: what `parse` takes.

    Wildcards are no molecule, but where the ``gold`` answer's molecule has some they may be in the answer too.
    """
    found = parse(text) if text is not None else None
    return None if found is None or (_has_wildcard(found) and (gold is None or not _has_wildcard(gold))) else found


def gold_molecule(smiles: str) -> Any:
    """A gold answer's molecule, read by the rules that hold for answers.

    Raises:
        ValueError: it is invalid.
    """
    found = parse(smiles.strip())
    if found is None:
        raise ValueError(f"gold SMILES {smiles[:200]!r} is invalid")
    return found


def _has_wildcard(mol: Any) -> bool:
    return any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms())


def canonical(mol: Any) -> str:
    """Canonical SMILES of a molecule, with stereo."""
    return str(rdkit_module("Chem").MolToSmiles(mol))


def same_molecule(one: Any, other: Any) -> bool:
    """Whether both have the same InChI; canonical SMILES decide where InChI has none.

    Molecules of unlike composition are told apart first, so that InChI's time is spent on likely answers only.
    """
    if _composition(one) != _composition(other):
        return False
    inchis = [str(rdkit_module("Chem").MolToInchi(mol)) for mol in (one, other)]
    return inchis[0] == inchis[1] if all(inchis) else canonical(one) == canonical(other)


def similarity(one: Any, other: Any) -> float:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 1,024 bits)."""
    generator = rdkit_module("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    return float(rdkit_module("DataStructs").TanimotoSimilarity(generator.GetFingerprint(one), generator.GetFingerprint(other)))


def scaffold_similarity(one: Any, other: Any) -> float:
    """Similarity of the Murcko scaffolds; two molecules without rings have the same (empty) one, one alone shares nothing."""
    scaffolds = [rdkit_module("Chem.Scaffolds.MurckoScaffold").GetScaffoldForMol(mol) for mol in (one, other)]
    sizes = [scaffold.GetNumAtoms() for scaffold in scaffolds]
    return similarity(*scaffolds) if all(sizes) else float(not any(sizes))


def group_count(mol: Any, group: str) -> int:
    """How many of a functional group a molecule has; sulfides without one for each disulfide, as the benchmark counts.

    Raises:
        ValueError: the group is unknown.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown functional group {group!r}; known: {', '.join(GROUPS)}")
    count = len(mol.GetSubstructMatches(_pattern(group), maxMatches=MAX_SMILES))
    return count - group_count(mol, "disulfide") if group == "sulfide" else count


@cache
def _pattern(group: str) -> Any:
    return rdkit_module("Chem").MolFromSmarts(GROUPS[group])


def _composition(mol: Any) -> Counter[int]:
    return Counter(atom.GetAtomicNum() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1)


@cache
def rdkit_module(name: str) -> Any:
    """A module of RDKit, quiet.

    Raises:
        GraderFailure: RDKit is not installed.
    """
    try:
        import_module("rdkit.RDLogger").DisableLog("rdApp.*")
        return import_module(f"rdkit.{name}")
    except ImportError as exc:
        raise GraderFailure(
            f"RDKit ({name}) is not installed: no chemistry answer can be scored",
            hint="pip install 'dojo-bench[ml]' (in a checkout: make setup)",
        ) from exc
