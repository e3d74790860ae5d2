"""Scores answers to biology/gen: the steps of a protocol against the reference steps, by the words they share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.answer_tags import find_answer
from ...shared.step_overlap import bleu_2, matched_steps, rouge_l, rouge_n, words

SUBSET_METRICS = {"gen": "rouge_l"}

# No protocol of the benchmark has as many steps; a longer list is no answer.
MAX_STEPS = 200
# Every reference of a profile is tried on every item of its type: enough to find a good one, few enough to end soon.
_CANDIDATES = 24
_NUMBERING = re.compile(r"\s{0,20}\d{1,3}\s{0,4}[.)](?!\d)")


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has an input and the steps as output."""
    row["input"], row["output"]
    return str(row.get("subset", "gen"))


def gold_of(row: Mapping[str, Any]) -> list[str]:
    """The reference steps, without their numbers.

    Raises:
        ValueError: there is no step with a word.
    """
    output = row["output"]
    if not isinstance(output, list | str):
        raise ValueError(f"the reference is a {type(output).__name__}, no text and no list of steps")
    steps = [plain(str(step)) for step in (output if isinstance(output, list) else str(output).splitlines())]
    if not words(" ".join(steps)):
        raise ValueError("the reference has no step")
    return [step for step in steps if words(step)]


def plain(step: str) -> str:
    """A step without the number in front."""
    match = _NUMBERING.match(step)
    return (step[match.end() :] if match else step).strip()


def extract(response: str) -> list[str] | None:
    """The answered steps, without their numbers, or ``None``: then the answer is unparsable."""
    return find_answer(response, "steps", _steps, _in_tags)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """ROUGE-L F1 of the steps one after the other; beside it ROUGE-1, ROUGE-2, BLEU-2 and the share of steps that match."""
    gold, steps = gold_of(row), extract(response)
    wanted, given = words(" ".join(gold)), words(" ".join(steps or ()))
    matched = matched_steps(gold, steps or ())
    return {
        "parsed": steps is not None,
        "value": steps,
        "score": rouge_l(given, wanted),
        "metrics": {
            "rouge_1": rouge_n(given, wanted, 1),
            "rouge_2": rouge_n(given, wanted, 2),
            "bleu_2": bleu_2(given, wanted),
            "step_recall": matched / len(gold),
            "step_precision": matched / len(steps) if steps else 0.0,
        },
    }


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reference protocols, spread evenly over the items."""
    every = max(1, len(items) // _CANDIDATES)
    return list(dict.fromkeys(answer_of(item["row"]) for item in items[::every]))


def answer_of(row: Mapping[str, Any]) -> str:
    """The reference steps in the asked form."""
    import json

    return json.dumps({"steps": gold_of(row)}, ensure_ascii=False)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _steps(value: Any) -> list[str] | None:
    """A list of at least one step, each a text with a word in it."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_STEPS or not all(isinstance(step, str) for step in value):
        return None
    steps = [plain(step) for step in value]
    return steps if all(words(step) for step in steps) else None


def _in_tags(found: str) -> list[str] | None:
    """The benchmark's own form: one step a line between its tags."""
    return _steps([line for line in found.splitlines() if line.strip()]) if found.count("\n") <= 4 * MAX_STEPS else None
