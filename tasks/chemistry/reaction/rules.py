"""Textbook reactions as rules on one molecule each, and how to apply them so that only one answer is right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ..shared.compounds import load_rdkit
from ..shared.molecules import canonical, molecule


@dataclass(frozen=True)
class Rule:
    """A reaction of one molecule under fixed conditions.

    Attributes:
        name: as asked.
        forward: reaction SMARTS, from the molecule to its product.
        backward: the other way round.
        conditions: SMILES of what is added, sorted as written in answers.
        mechanism: how it goes.
        step: reaction SMARTS of the first elementary step; empty where the reaction has only one.
    """

    name: str
    forward: str
    backward: str
    conditions: str
    mechanism: str
    step: str = ""


RULES = (
    Rule(
        "methyl ester formation",
        "[#6:4][CX3:1](=[O:2])[OX2H1:3]>>[#6:4][C:1](=[O:2])[O:3]C",
        "[#6:4][CX3:1](=[O:2])[OX2:3][CH3]>>[#6:4][C:1](=[O:2])[O:3]",
        "CO.O=S(=O)(O)O",
        "nucleophilic acyl substitution",
        "[#6:4][CX3:1](=[O:2])[OX2H1:3]>>[#6:4][C:1](=[OH+:2])[O:3]",
    ),
    Rule(
        "bromination of a primary alcohol",
        "[#6:4][CX4;H2:1][OX2H1]>>[#6:4][C:1]Br",
        "[#6:4][CX4;H2:1]Br>>[#6:4][C:1]O",
        "BrP(Br)Br",
        "nucleophilic substitution",
    ),
    Rule(
        "oxidation of a secondary alcohol",
        "[#6:3][CX4;H1:1]([#6:4])[OX2H1:2]>>[#6:3][C:1]([#6:4])=[O:2]",
        "[#6:3][CX3:1]([#6:4])=[O:2]>>[#6:3][C:1]([#6:4])[O:2]",
        "O=[Cr](=O)=O",
        "oxidation",
    ),
    Rule(
        "reduction of a ketone",
        "[#6:3][CX3:1]([#6:4])=[O:2]>>[#6:3][C:1]([#6:4])[O:2]",
        "[#6:3][CX4;H1:1]([#6:4])[OX2H1:2]>>[#6:3][C:1]([#6:4])=[O:2]",
        "[BH4-].[Na+]",
        "nucleophilic addition",
        "[#6:3][CX3:1]([#6:4])=[O:2]>>[#6:3][C:1]([#6:4])[O-:2]",
    ),
    Rule(
        "hydrogenation of an alkene",
        "[CX3:1]=[CX3:2]>>[C:1][C:2]",
        "",
        "[H][H].[Pd]",
        "catalytic addition",
    ),
    Rule(
        "cyanide substitution of a chloride",
        "[#6:4][CX4;H2:1]Cl>>[#6:4][C:1]C#N",
        "[#6:4][CX4;H2:1][CX2]#[NX1]>>[#6:4][C:1]Cl",
        "[C-]#N.[Na+]",
        "nucleophilic substitution",
    ),
    Rule(
        "reduction of a nitrile",
        "[#6:4][CX2:1]#[NX1:2]>>[#6:4][C:1][N:2]",
        "[#6:4][CX4;H2:1][NX3;H2:2]>>[#6:4][C:1]#[N:2]",
        "[AlH4-].[Li+]",
        "nucleophilic addition",
        "[#6:4][CX2:1]#[NX1:2]>>[#6:4][C:1]=[N-:2]",
    ),
    Rule(
        "nitration of a benzene ring",
        "[c;H1:1]1[c;H1:2][c;H1:3][c;H1:4][c;H1:5][c:6]1[CX4:7]>>[c:1]1[c:2][c:3]([N+](=O)[O-])[c:4][c:5][c:6]1[CX4:7]",
        "",
        "O=S(=O)(O)O.O=[N+]([O-])O",
        "electrophilic aromatic substitution",
    ),
)
MECHANISMS = tuple(sorted({rule.mechanism for rule in RULES}))


def apply(smarts: str, smiles: str) -> str:
    """The one product of a rule on a molecule; empty where it does not apply, or in more than one way."""
    source = molecule(smiles)
    products = set()
    for (product,) in _reaction(smarts).RunReactants((source,)):
        if load_rdkit().SanitizeMol(product, catchErrors=True) != load_rdkit().SanitizeFlags.SANITIZE_NONE:
            return ""
        found = molecule(canonical(product))
        if found is None:
            return ""
        products.add(canonical(found))
    return products.pop() if len(products) == 1 else ""


def applicable(smiles: str) -> list[Rule]:
    """All rules that apply to a molecule, in one way or several."""
    source = molecule(smiles)
    if source is None:
        return []
    return [rule for rule in RULES if source.HasSubstructMatch(_reaction(rule.forward).GetReactantTemplate(0))]


@cache
def _reaction(smarts: str) -> Any:
    from rdkit.Chem import rdChemReactions

    reaction = rdChemReactions.ReactionFromSmarts(smarts)
    reaction.Initialize()
    return reaction
