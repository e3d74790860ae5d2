"""Attacks that put the dev split together out of what `evaluate` tells (row 42)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.session.feedback import make_feedback
from harness.spec.verdict import ItemScore, Metric, Scores, Verdict

# Far more than any task allows: what is shown of dev must not add up, however often it is asked for.
_EVALUATIONS = 200


def _dev(sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    names = [(subset, n) for subset, size in sizes.items() for n in range(size)]
    return {f"dev-{s}-{n:03d}": {"subset": s, "prompt": f"the {n}th question of {s}", "gold": f"gold {s} {n}"} for s, n in names}


def _told(items: Mapping[str, Mapping[str, Any]], number: int, wrong: float) -> str:
    """Return all that one evaluation says of a model that gets a share of the items wrong."""
    scored = tuple(
        ItemScore(id=name, subset=item["subset"], parsed=True, score=float(place % 10 >= 10 * wrong))
        for place, (name, item) in enumerate(items.items(), number)
    )
    scores = Scores(primary=Metric(name="accuracy", value=0.5), subsets={}, parse_rate=1.0, items=len(scored))
    told = make_feedback(
        number=number,
        left=0,
        verdict=Verdict(split="dev", scores=scores, items=scored),
        responses={name: "an answer" for name in items},
        items=items,
        earlier=[],
        show_answers=True,
        max_new_tokens=16,
    )
    return json.dumps(told.model_dump(mode="json"))


def _gathered(sizes: Mapping[str, int], renamed: bool) -> dict[str, int]:
    """Return how many questions of each sub-set were told in all evaluations, whatever the models got wrong."""
    items = _dev(sizes)
    told = ""
    for n in range(1, _EVALUATIONS + 1):
        asked = {f"{name}-{n}": item for name, item in items.items()} if renamed else items
        told += "".join(_told(asked, n, wrong) for wrong in (1.0, 0.5, 0.1))
    found = [item["subset"] for item in items.values() if f'"{item["prompt"]}"' in told or f'"{item["gold"]}"' in told]
    return {subset: found.count(subset) for subset in sizes}


def _rebuilds_dev(ground: Ground, renamed: bool = False) -> str:
    seen = []
    for sizes in ({"all": 60}, {"many": 40, "some": 11, "few": 3}, {"one": 1, "two": 2}, {f"s{n}": 6 for n in range(10)}):
        found = _gathered(sizes, renamed)
        most = {subset: -(-size // 4) for subset, size in sizes.items()}
        over = {subset: f"{found[subset]} of {size}" for subset, size in sizes.items() if found[subset] > most[subset]}
        stopped(not over, f"questions of dev that were told in {_EVALUATIONS} evaluations: {over}")
        seen.append(f"{sum(found.values())} of {sum(sizes.values())}")
    return f"told in {_EVALUATIONS} evaluations of three models each: {', '.join(seen)} questions"


def _another_quarter(ground: Ground) -> str:
    """The quarter is another one in every evaluation, as where items are named anew each time."""
    return _rebuilds_dev(ground, renamed=True)


ATTACKS = (
    Attack(
        42, "puts-dev-together-from-errors", Where.ARTEFACT,
        "evaluate hundreds of models that fail on other items each time, and gather the questions and answers that are told",
        "errors are drawn from a fixed quarter of each sub-set",
        _rebuilds_dev, _another_quarter,
    ),
)  # fmt: skip
