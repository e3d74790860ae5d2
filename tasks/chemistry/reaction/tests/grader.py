"""Scores answers to chemistry/reaction: products, reactants, conditions, elementary steps, mechanisms."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_json_value
from harness.taskkit.scoring.kinds import one_letter

from ...shared.molecules import answer_molecule, canonical, gold_molecule, parse, same_molecule, similarity, smiles_text

SUBSET_METRICS = dict.fromkeys(("fs", "retro", "rcr", "nepp", "mechsel"), "exact_match")

_KEYS = {
    "fs": ("output", "Major Product"),
    "retro": ("output", "Reactants"),
    "rcr": ("output", "condition"),
    "nepp": ("output",),
    "mechsel": ("output", "choice"),
}
# More molecules than any reaction's conditions have.
_MAX_PARTS = 50


def subset_of(row: Mapping[str, Any]) -> str:
    """A row names its sub-set as ``subtask``."""
    return str(row["subtask"] if row.get("subtask") else row["subset"])


def extract(response: str, subset: str) -> str | None:
    """The answer of the asked form, or ``None``: a capital letter for mechsel, else text, several molecules joined by dots."""
    accept = _letter if subset == "mechsel" else _joined
    return after_thinking(response, lambda text: last_json_value(text, _KEYS[subset], accept))


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """Score one answer: 1 or 0.

    ``fs``, ``retro`` and ``nepp`` compare by InChI, and give ``valid_rate`` over all items and ``similarity`` (Tanimoto) over
    valid answers; ``rcr`` compares sets of molecules, ``mechsel`` letters.
    """
    gold = gold_answer(row, subset)
    answer = extract(response, subset)
    if subset == "mechsel":
        return _result(answer, answer == gold, {})
    if subset == "rcr":
        return _result(answer, answer is not None and same_conditions(answer, gold), {})
    right = gold_molecule(gold)
    found = answer_molecule(answer, right)
    if found is None:
        return _result(answer, False, {"valid_rate": 0.0})
    return _result(answer, same_molecule(found, right), {"valid_rate": 1.0, "similarity": similarity(found, right)})


def gold_answer(row: Mapping[str, Any], subset: str) -> str:
    """The right answer of a row: ``gt``, of which ``fs`` asks for the major product, or a list joined by dots.

    Raises:
        ValueError: there is none of the right kind.
    """
    gold = row["gt"]
    if isinstance(gold, str) and gold.lstrip().startswith(("{", '["')):
        try:
            gold = json.loads(gold)
        except ValueError as exc:
            raise ValueError(f"gold answer {gold[:200]!r} is no JSON") from exc
    if isinstance(gold, Mapping):
        gold = next((gold[key] for key in _KEYS[subset] if key in gold), None)
    found = _letter(gold) if subset == "mechsel" else _joined(gold)
    if found is None:
        raise ValueError(f"row {row.get('id', '')!r} has no gold answer of {subset}")
    return found


def same_conditions(answer: str, gold: str) -> bool:
    """Equal sets of canonical SMILES; where neither parses, equal texts (case and white space folded)."""
    sets = [_molecules(answer), _molecules(gold)]
    if sets[0] is None and sets[1] is None:
        return " ".join(answer.casefold().split()) == " ".join(gold.casefold().split())
    return sets[0] == sets[1]


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold answer that occurs, in the asked form."""
    golds = [gold_answer(item["row"], item["subset"]) for item in items]
    return list(dict.fromkeys(json.dumps({"output": gold}) for gold in golds))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _molecules(text: str) -> frozenset[str] | None:
    """Canonical SMILES of all parts, or ``None`` where one does not parse."""
    parts = text.split(".", _MAX_PARTS)
    mols = [parse(part.strip()) for part in parts]
    return frozenset(canonical(mol) for mol in mols) if all(mol is not None for mol in mols) else None


def _joined(value: Any) -> str | None:
    """A text, or a list of texts joined by dots."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [smiles_text(part) for part in value]
        return ".".join(str(part) for part in parts) if parts and all(parts) else None
    return smiles_text(value)


def _letter(value: Any) -> str | None:
    return one_letter(value, string.ascii_uppercase)


def _result(answer: str | None, right: bool, metrics: dict[str, float]) -> dict[str, Any]:
    return {"parsed": answer is not None, "value": answer, "score": float(right), "metrics": metrics}
