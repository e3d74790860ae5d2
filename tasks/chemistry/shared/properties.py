"""Properties that molecules are optimised for: QED, penalised logP, solubility, and three targets through TDC's models.

A property that cannot be computed because something is not installed is a grader failure, never a score.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.spec.errors import GraderFailure

from .molecules import canonical, rdkit_module

# Sub-set → name of TDC's oracle.
TARGETS = {"drd": "drd2", "gsk": "gsk3b", "jnk": "jnk3"}

# Mean and standard deviation over 250k ZINC molecules, as in TDC's oracle `logp`.
_LOGP = (2.4570953396190123, 1.434324401111988)
_SYNTHESIS = (-3.0525811293166134, 0.8335207024513095)
_CYCLE = (-0.0485696876403053, 0.2860212110245455)
# Rings up to this size cost nothing.
_FREE_RING = 6


def qed(mol: Any) -> float:
    """Quantitative estimate of drug-likeness, 0–1 (RDKit's default weights)."""
    return float(rdkit_module("Chem.QED").qed(mol))


def penalised_logp(mol: Any) -> float:
    """Crippen logP, synthetic accessibility and the longest ring, each normalised, summed (TDC's oracle ``logp``).

    Raises:
        GraderFailure: networkx or RDKit's contributed synthetic-accessibility score is missing.
    """
    parts = (
        (rdkit_module("Chem.Crippen").MolLogP(mol), _LOGP),
        (-float(_accessibility_scorer().calculateScore(mol)), _SYNTHESIS),
        (-float(max(0, longest_ring(mol) - _FREE_RING)), _CYCLE),
    )
    return math.fsum((value - mean) / deviation for value, (mean, deviation) in parts)


def solubility(mol: Any) -> float:
    """ESOL-like log solubility with the benchmark's coefficients."""
    aromatic = sum(atom.GetIsAromatic() for atom in mol.GetAtoms()) / mol.GetNumAtoms()
    return float(
        0.2612
        - 0.74167 * rdkit_module("Chem.Crippen").MolLogP(mol)
        - 0.00661 * rdkit_module("Chem.Descriptors").MolWt(mol)
        + 0.00345 * rdkit_module("Chem.Lipinski").NumRotatableBonds(mol)
        - 0.42625 * aromatic
    )


def property_of(subset: str) -> Callable[[Any], float]:
    """The function that measures what a sub-set of chemistry/mol_opt is about.

    Raises:
        GraderFailure: the sub-set needs one of TDC's models and it cannot be loaded; names the remedy.
        ValueError: there is no such sub-set.
    """
    own = {"qed": qed, "logp": penalised_logp, "solubility": solubility}
    if subset in own:
        return own[subset]
    if subset not in TARGETS:
        raise ValueError(f"no property is known for sub-set {subset!r}")
    oracle = _target_oracle(TARGETS[subset])
    return lambda mol: float(oracle(canonical(mol)))


def longest_ring(mol: Any) -> int:
    """Length of the longest ring in networkx' cycle basis of the molecular graph; 0 without rings.

    Raises:
        GraderFailure: networkx is not installed.
    """
    try:
        networkx = import_module("networkx")
    except ImportError as exc:
        raise GraderFailure(
            "networkx is not installed: penalised logP cannot be computed", hint="pip install 'dojo-bench[ml]' (torch brings it)"
        ) from exc
    graph = networkx.Graph()
    graph.add_nodes_from(range(mol.GetNumAtoms()))
    # In the order of the adjacency matrix, as the benchmark builds its graph: the basis depends on it.
    bonds = sorted(tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in mol.GetBonds())
    graph.add_edges_from(bonds)
    return max((len(cycle) for cycle in networkx.cycle_basis(graph)), default=0)


@cache
def _accessibility_scorer() -> Any:
    path = Path(rdkit_module("RDConfig").RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("rdkit_contrib_sascorer", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise GraderFailure(f"RDKit's synthetic-accessibility score is missing: {path}", hint="install rdkit from PyPI")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _target_oracle(name: str) -> Any:
    remedy = (
        f"install PyTDC in the grader's environment and put its model of {name} into ./oracle "
        f"(`python -c \"from tdc import Oracle; Oracle('{name}')\"` fetches it), or leave the sub-sets drd, gsk and jnk out"
    )
    try:
        oracle = import_module("tdc").Oracle
    except ImportError as exc:
        raise GraderFailure(f"TDC's oracle {name} is not installed: {remedy}", hint=remedy) from exc
    try:
        return oracle(name=name)
    except Exception as exc:
        raise GraderFailure(f"TDC's oracle {name} does not load ({exc!r}): {remedy}", hint=remedy) from exc
