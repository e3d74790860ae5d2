"""Scores answers to chemistry/mol_und: ``{"output": …}`` (or the sub-set's native key) against ``gt``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_json_value
from harness.taskkit.scoring.kinds import one_word, whole_number

from ...shared.molecules import answer_molecule, gold_molecule, similarity, smiles_text

SUBSET_METRICS = {
    "fg_count": "count_score",
    "ring_count": "count_score",
    "equivalence": "accuracy",
    "ring_system_scaffold": "accuracy",
    "Murcko_scaffold": "tanimoto",
}
LOWER_IS_BETTER = frozenset({"mae"})

_COUNTS = ("fg_count", "ring_count")
_KEYS = {
    "fg_count": ("output", "count"),
    "ring_count": ("output", "count"),
    "equivalence": ("output",),
    "ring_system_scaffold": ("output",),
    "Murcko_scaffold": ("output", "Output Scaffold"),
}
# Far more than any molecule has of anything; errors of counts stay numbers that a verdict can hold.
_MAX_COUNT = 999_999


def subset_of(row: Mapping[str, Any]) -> str:
    """A row names its sub-set as ``subtask``."""
    return str(row["subtask"] if row.get("subtask") else row["subset"])


def extract(response: str, subset: str) -> int | str | None:
    """The answer of the asked form, or ``None``: a whole number, ``yes``/``no``, or a text for a SMILES."""
    accept: Callable[[Any], Any] = _count if subset in _COUNTS else smiles_text if subset == "Murcko_scaffold" else _yes_no
    answer: int | str | None = after_thinking(response, lambda text: last_json_value(text, _KEYS[subset], accept))
    return answer


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """Score one answer on 0–1; counts also give ``mae`` (parsed answers only), scaffolds ``valid`` and ``exact_match``."""
    answer = extract(response, subset)
    if subset in _COUNTS:
        gold = _count(row["gt"])
        if gold is None:
            raise ValueError(f"gold count {row['gt']!r} is no whole number")
        error = None if answer is None else abs(int(answer) - gold)
        value = 0.0 if error is None else max(0.0, 1.0 - error / max(1, gold))
        return _result(answer, value, {} if error is None else {"mae": float(error), "exact_match": float(error == 0)})
    if subset == "Murcko_scaffold":
        wanted = gold_molecule(str(row["gt"]))
        found = answer_molecule(None if answer is None else str(answer), wanted)
        alike = similarity(found, wanted) if found is not None else 0.0
        return _result(answer, alike, {"valid": float(found is not None), "exact_match": float(alike == 1.0)})
    gold_word = _yes_no(row["gt"])
    if gold_word is None:
        raise ValueError(f"gold answer {row['gt']!r} is neither yes nor no")
    return _result(answer, float(answer == gold_word), {})


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold answer that occurs, in the asked form."""
    answers = []
    for item in items:
        gold = item["row"]["gt"]
        shown = _count(gold) if item["subset"] in _COUNTS else f'"{gold}"'
        answers.append(f'{{"output": {shown}}}')
    return list(dict.fromkeys(answers))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _result(answer: Any, value: float, metrics: dict[str, float]) -> dict[str, Any]:
    return {"parsed": answer is not None, "value": answer, "score": value, "metrics": metrics}


def _count(value: Any) -> int | None:
    return whole_number(value, _MAX_COUNT)


def _yes_no(value: Any) -> str | None:
    return one_word(value, ("yes", "no"))
