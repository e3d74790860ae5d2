"""Questions about reactions of real compounds by the rules, each with one right answer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..shared.chemcot import Question
from ..shared.compounds import split_of
from .rules import MECHANISMS, RULES, Rule, applicable, apply

MAX_CHARS = 18
_MAX_PRODUCT = 30
_LETTERS = "ABCD"
KINDS = {name: (name,) for name in ("fs", "retro", "rcr", "nepp", "mechsel")}
# Rules that some sub-sets cannot ask about: several molecules lead to one product, or there is only one step.
_RULES = {
    "fs": RULES,
    "retro": tuple(rule for rule in RULES if rule.backward),
    "rcr": RULES,
    "nepp": tuple(rule for rule in RULES if rule.step),
    "mechsel": RULES,
}


@dataclass(frozen=True)
class Reaction:
    """A compound reacting by a rule; both molecules belong to one split."""

    rule: Rule
    smiles: str
    product: str
    split: str


def reactions(compounds: Sequence[str]) -> list[Reaction]:
    """All reactions of compounds to which exactly one rule applies, in one way.

    Of a molecule that could react in two ways nobody should have to guess which is meant. A compound's split is given by its
    SMILES; a product that is no compound of the table belongs to the split of the first molecule that leads to it.
    """
    owners = {smiles: split_of(smiles) for smiles in compounds}
    found = []
    for smiles in compounds:
        rules = applicable(smiles)
        product = apply(rules[0].forward, smiles) if len(rules) == 1 else ""
        if product and len(product) <= _MAX_PRODUCT and owners.setdefault(product, owners[smiles]) == owners[smiles]:
            found.append(Reaction(rules[0], smiles, product, owners[smiles]))
    return found


class Drawn:
    """Draws questions about the reactions of one split; each molecule is used once, and the rules take turns."""

    def __init__(self, known: Sequence[Reaction], split: str, rng: random.Random) -> None:
        self._rng = rng
        self._left: dict[str, list[Reaction]] = {rule.name: [] for rule in RULES}
        for reaction in rng.sample(list(known), len(known)):
            if reaction.split == split:
                self._left[reaction.rule.name].append(reaction)
        self._used: set[str] = set()

    def draw(self, kind: str, number: int) -> Question:
        """Draw the ``number``-th question of a sub-set; where a rule has no molecule left, the next one takes its turn.

        Raises:
            StopIteration: no molecule is left.
        """
        rules = _RULES[kind]
        for turn in range(len(rules)):
            rule = rules[(number + turn) % len(rules)]
            for reaction in self._left[rule.name]:
                molecules = {reaction.smiles, reaction.product}
                unique = kind != "retro" or apply(rule.backward, reaction.product) == reaction.smiles
                question = self._question(kind, number, reaction) if unique and not molecules & self._used else None
                if question is not None:
                    self._used |= molecules
                    return question
        raise StopIteration(kind)

    def _question(self, kind: str, number: int, reaction: Reaction) -> Question | None:
        rule, smiles, product = reaction.rule, reaction.smiles, reaction.product
        if kind == "fs":
            text, answer = f"What is the product of the {rule.name}? Reactants: {smiles}.{rule.conditions}", product
        elif kind == "retro":
            text, answer = f"What was the starting molecule of the {rule.name}? Product: {product}", smiles
        elif kind == "rcr":
            text, answer = f"Which reagents does this reaction need? Reaction: {smiles}>>{product}", rule.conditions
        elif kind == "nepp":
            text, answer = f"What is formed in the first step of the {rule.name}? Reactants: {smiles}", apply(rule.step, smiles)
        else:
            others = self._rng.sample([m for m in MECHANISMS if m != rule.mechanism], len(_LETTERS) - 1)
            answer = _LETTERS[number % len(_LETTERS)]
            others.insert(_LETTERS.index(answer), rule.mechanism)
            choices = "; ".join(f"{letter}: {name}" for letter, name in zip(_LETTERS, others, strict=True))
            text = f"Which mechanism has the {rule.name}? Reaction: {smiles}>>{product}. Choices: {choices}"
        if not answer:
            return None
        gt = json.dumps({"Major Product": answer, "By Product": ""}) if kind == "fs" else answer
        return Question(kind, kind, text, answer, (smiles, product), gt=gt)
