"""Structured feedback of one dev evaluation: a pure function of verdict, responses and earlier evaluations."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.spec.feedback import Change, Feedback, Interval, SampledError
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.scores import interval

# Enough to see a pattern in each sub-set, few enough to read.
_SAMPLED_ERRORS = 12
_RESPONSE_CHARS = 600


def make_feedback(
    *,
    number: int,
    left: int,
    verdict: Verdict,
    responses: Mapping[str, str],
    items: Mapping[str, Mapping[str, Any]],
    earlier: Sequence[Mapping[str, Any]],
    show_answers: bool,
    max_new_tokens: int,
) -> Feedback:
    """Build what `evaluate` returns.

    Args:
        number: this evaluation's number, from 1.
        left: evaluations left after this one.
        verdict: the grader's verdict on the dev split.
        responses: item id → the model's text.
        items: item id → the dev item (``prompt``, ``gold``, ``subset``).
        earlier: earlier feedback documents (JSON form), oldest first.
        show_answers: whether sampled errors carry the gold answer.
        max_new_tokens: the grader's cap, to say how many responses were cut off.
    """
    by_subset: dict[str, list[ItemScore]] = {}
    for item in verdict.items:
        by_subset.setdefault(item.subset, []).append(item)
    primary = verdict.scores.primary
    low, high = interval(verdict.items)
    best = max(earlier, key=lambda f: (f["scores"]["primary"]["value"], -f["evaluation"]), default=None)
    return Feedback(
        evaluation=number,
        scores=verdict.scores,
        primary=Interval(value=primary.value, low=low, high=high, n=len(verdict.items)),
        subsets={name: _subset_interval(group) for name, group in by_subset.items()},
        errors=_sample_errors(verdict.items, responses, items, show_answers, seed=number),
        response_tokens=_distribution([i.response_tokens for i in verdict.items], cap=max_new_tokens),
        response_chars=_distribution([i.response_chars for i in verdict.items]),
        since_last=_change(earlier[-1], verdict.items) if earlier else None,
        since_best=_change(best, verdict.items) if best else None,
        item_scores={i.id: i.score for i in verdict.items},
        seconds=verdict.seconds,
        evaluations_left=left,
    )


def _subset_interval(group: Sequence[ItemScore]) -> Interval:
    low, high = interval(group)
    return Interval(value=sum(i.score for i in group) / len(group), low=low, high=high, n=len(group))


def _sample_errors(
    scored: Sequence[ItemScore],
    responses: Mapping[str, str],
    items: Mapping[str, Mapping[str, Any]],
    show_answers: bool,
    seed: int,
) -> tuple[SampledError, ...]:
    """Take wrong items, each sub-set in turn, so that a small failing sub-set is seen beside a large one."""
    rng = random.Random(seed)
    wrong: dict[str, list[ItemScore]] = {}
    for item in scored:
        if item.score < 1.0:
            wrong.setdefault(item.subset, []).append(item)
    for group in wrong.values():
        rng.shuffle(group)
    chosen: list[ItemScore] = []
    while len(chosen) < _SAMPLED_ERRORS and any(wrong.values()):
        for group in wrong.values():
            if group and len(chosen) < _SAMPLED_ERRORS:
                chosen.append(group.pop())
    return tuple(
        SampledError(
            item=item.id,
            subset=item.subset,
            prompt=str(items[item.id]["prompt"]),
            response=responses.get(item.id, "")[:_RESPONSE_CHARS],
            answer=items[item.id]["gold"] if show_answers else None,
            parsed=item.parsed,
            score=item.score,
        )
        for item in chosen
    )


def _distribution(values: Sequence[int], cap: int | None = None) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    figures = {
        "mean": sum(ordered) / len(ordered),
        "p50": float(ordered[round(0.5 * last)]),
        "p95": float(ordered[round(0.95 * last)]),
        "max": float(ordered[-1]),
    }
    if cap is not None:
        figures["at_cap"] = sum(v >= cap for v in ordered) / len(ordered)
    return {name: round(value, 4) for name, value in figures.items()}


def _change(earlier: Mapping[str, Any], scored: Sequence[ItemScore]) -> Change:
    """Compare with an earlier evaluation, item by item."""
    before: Mapping[str, float] = earlier["item_scores"]
    differences = [item.score - before[item.id] for item in scored if item.id in before]
    n = len(differences)
    mean = sum(differences) / n if n else 0.0
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1) if n > 1 else 0.0
    return Change(
        against=earlier["evaluation"],
        difference=mean,
        standard_error=math.sqrt(variance / n) if n else 0.0,
        wins=sum(d > 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        ties=sum(d == 0 for d in differences),
    )
