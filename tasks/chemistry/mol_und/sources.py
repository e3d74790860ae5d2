"""Training sources of the mini profile, in the layout of ChemCoT's training set: raw, uneven and partly wrong.

- ``curated``: right, but hardly any scaffolds and mostly comparisons.
- ``crowd``: all sub-sets; three in ten answers are wrong, many rows are repeated.
- ``extracted``: scaffolds and ring systems, right, among questions that nobody asks here and molecules that do not parse; answers
  stand under several names.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from harness.taskkit.building.data import Source, SourceRow

from ..shared.chemcot import Question
from .compounds import Compound
from .questions import COUNTED, KINDS, Questions

_LICENCE = "MIT (compounds of chemicals 1.5.2, answers by RDKit)"
_CURATED = {"halo": 3, "rings": 2, "equivalence": 6, "Murcko_scaffold": 1}
_EXTRACTED = {"hydroxyl": 2, "rings": 2, "ring_system_scaffold": 3, "Murcko_scaffold": 4}
NATIVE_KEYS = {**dict.fromkeys(KINDS, "output"), "fg_count": "count", "ring_count": "count", "Murcko_scaffold": "Output Scaffold"}
"""Sub-set → the benchmark's own key of an answer."""
_KINDS = [kind for kinds in KINDS.values() for kind in kinds]


class _Draw:
    """Draws questions for one source, each type counted by itself; a type whose compounds are used up starts anew."""

    def __init__(self, compounds: Sequence[Compound], rng: random.Random) -> None:
        self._compounds, self._rng = compounds, rng
        self._questions = Questions(compounds, "sources", rng)
        self._numbers: dict[str, int] = {}

    def __call__(self, kind: str) -> Question:
        self._numbers[kind] = number = self._numbers.get(kind, -1) + 1
        try:
            return self._questions.draw(kind, number)
        except StopIteration:
            self._questions = Questions(self._compounds, "sources", self._rng)
            return self._questions.draw(kind, number)


def curated(compounds: Sequence[Compound], rng: random.Random, count: int = 700) -> Source:
    """Right answers, very unevenly spread."""
    draw = _Draw(compounds, rng)
    kinds = rng.choices(list(_CURATED), weights=list(_CURATED.values()), k=count)
    rows = [_row("curated", n, draw(kind), rng) for n, kind in enumerate(kinds)]
    return Source("curated", "Questions with answers checked by a chemist.", _LICENCE, rows)


def crowd(
    compounds: Sequence[Compound], rng: random.Random, count: int = 1400, wrong: float = 0.3, repeated: float = 0.2
) -> Source:
    """All sub-sets; a share ``wrong`` of wrong answers, a share ``repeated`` of repeated questions."""
    draw = _Draw(compounds, rng)
    asked: list[Question] = []
    rows = []
    for number in range(count):
        question = rng.choice(asked) if asked and rng.random() < repeated else draw(rng.choice(_KINDS))
        asked.append(question)
        answer = _slip(question, rng) if rng.random() < wrong else question.answer
        rows.append(_row("crowd", number, question, rng, answer))
    return Source("crowd", "Answers by volunteers; nobody checked them.", _LICENCE, rows)


def extracted(compounds: Sequence[Compound], rng: random.Random, count: int = 900, noise: float = 0.3) -> Source:
    """Scaffold questions, right, among a share ``noise`` of things that help nobody."""
    draw = _Draw(compounds, rng)
    rows = []
    for number in range(count):
        if rng.random() < noise:
            rows.append(_noise(number, draw, rng))
            continue
        question = draw(rng.choices(list(_EXTRACTED), weights=list(_EXTRACTED.values()))[0])
        rows.append(
            _row(
                "extracted",
                number,
                question,
                rng,
                key=rng.choice(["output", "answer", NATIVE_KEYS[question.subset]]),
            )
        )
    return Source("extracted", "Question-and-answer pairs extracted from documents by a program.", _LICENCE, rows)


def _row(
    source: str, number: int, question: Question, rng: random.Random, answer: int | str | None = None, key: str = "output"
) -> SourceRow:
    answer = question.answer if answer is None else answer
    row: dict[str, Any] = {
        "id": f"{source}-{number:04d}",
        "query": question.query,
        "task": "mol_und",
        "subtask": question.subset,
        "struct_cot": json.dumps({key: answer}) if rng.random() < 0.8 else "",
        "gt": str(answer),
        "meta": json.dumps({"molecule": question.molecules[0]}),
    }
    return SourceRow(row, keys=question.molecules)


def _slip(question: Question, rng: random.Random) -> int | str:
    """A wrong answer of the right kind."""
    if question.kind in COUNTED:
        return rng.choice([n for n in range(0, 6) if n != question.answer])
    if question.answer in ("Yes", "No"):
        return "No" if question.answer == "Yes" else "Yes"
    return question.molecules[0]


def _noise(number: int, draw: _Draw, rng: random.Random) -> SourceRow:
    smiles = draw("halo").molecules[0]
    query, answer = rng.choice(
        [
            (f"Is {smiles} dangerous to goldfish?", "consult the data sheet"),
            (f"How many rings are in {smiles[:-1]}(?", "2"),
            (f"Name a use of {smiles}.", "solvent"),
            ("What is the boiling point of water in kelvin?", "373.15"),
        ]
    )
    row = {
        "id": f"extracted-{number:04d}",
        "query": query,
        "task": "mol_und",
        "subtask": rng.choice(["fg_count", "ring_count", "other"]),
        "struct_cot": "",
        "gt": answer,
        "meta": "{}",
    }
    return SourceRow(row, keys=(smiles,))
