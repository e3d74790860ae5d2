"""Scores answers to biology/ord: the order of a protocol's steps, as positions in the shuffled list."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from harness.taskkit.scoring.extraction import as_object
from harness.taskkit.scoring.kinds import whole_number

from ...shared.answer_tags import find_answer

SUBSET_METRICS = {"ord": "exact_match"}

# More steps than any protocol has; a longer list is no order of them.
MAX_STEPS = 1000
_LIST = re.compile(r"[\[(]\s*+[0-9]{1,4}(?:\s*+,\s*+[0-9]{1,4})*+\s*+,?\s*+[\])]")
_NUMBER = re.compile(r"[0-9]+")


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has shuffled and ordered steps."""
    row["wrong_steps"], row["correct_steps"]
    return str(row.get("subset", "ord"))


def steps_of(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(shuffled steps, steps in order).

    Raises:
        ValueError: they are not the same two or more steps.
    """
    shuffled, ordered = row["wrong_steps"], row["correct_steps"]
    if not isinstance(shuffled, list) or not isinstance(ordered, list):
        raise ValueError("the steps are not two lists")
    if sorted(map(str, shuffled)) != sorted(map(str, ordered)) or not 2 <= len(ordered) <= MAX_STEPS:
        raise ValueError(f"{len(shuffled)} shuffled and {len(ordered)} ordered steps are not the same 2 to {MAX_STEPS} steps")
    return [str(step) for step in shuffled], [str(step) for step in ordered]


def extract(response: str, count: int) -> list[int] | None:
    """Every position from 0 to ``count - 1`` once, in the answered order, or ``None``: then the answer is unparsable."""
    return find_answer(response, "order", lambda value: _permutation(value, count), lambda text: _in_tags(text, count))


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the steps so ordered read exactly like the right order; also Kendall's tau, 0 where nothing was answered."""
    shuffled, ordered = steps_of(row)
    order = extract(response, len(ordered))
    answered = None if order is None else [shuffled[place] for place in order]
    return {
        "parsed": order is not None,
        "value": order,
        "score": float(answered == ordered),
        "metrics": {"kendall_tau": 0.0 if answered is None else kendall_tau(answered, ordered)},
    }


def kendall_tau(answered: Sequence[str], ordered: Sequence[str]) -> float:
    """(Pairs in the right order − pairs in the wrong order) / pairs, over pairs of steps with different texts.

    Of steps with the same text the first answered is the first of the right order, and so on. 1 where all texts are the same.
    """
    waiting: dict[str, list[int]] = defaultdict(list)
    for place in reversed(range(len(ordered))):
        waiting[ordered[place]].append(place)
    ranks = [(waiting[step].pop(), step) for step in answered]
    signs = [1 if a < b else -1 for (a, first), (b, second) in combinations(ranks, 2) if first != second]
    return sum(signs) / len(signs) if signs else 1.0


def right_order(row: Mapping[str, Any]) -> list[int]:
    """The positions of the shuffled steps in the right order."""
    shuffled, ordered = steps_of(row)
    waiting: dict[str, list[int]] = defaultdict(list)
    for place in reversed(range(len(shuffled))):
        waiting[shuffled[place]].append(place)
    return [waiting[step].pop() for step in ordered]


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The order as it is shown, its reverse, and every right order that occurs."""
    orders = []
    for count in sorted({len(steps_of(item["row"])[1]) for item in items}):
        orders += [list(range(count)), list(reversed(range(count)))]
    orders += [right_order(item["row"]) for item in items]
    return list(dict.fromkeys(f'{{"order": {order}}}' for order in orders))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _in_tags(found: str, count: int) -> list[int] | None:
    """The benchmark's own form: a list of positions between its tags."""
    if len(found) > 8 * MAX_STEPS or not _LIST.fullmatch(found):
        return None
    return _permutation(_NUMBER.findall(found), count)


def _permutation(value: Any, count: int) -> list[int] | None:
    """Whole numbers, each position once; a position that is missing or named twice makes it no order."""
    if not isinstance(value, list) or len(value) != count:
        return None
    places = [place for part in value if (place := whole_number(part, MAX_STEPS)) is not None]
    return places if sorted(places) == list(range(count)) else None
