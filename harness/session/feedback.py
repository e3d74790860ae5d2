"""Structured feedback of one dev evaluation: a pure function of verdict, responses and earlier evaluations."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.spec.feedback import Change, Feedback, Interval, SampledError
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import TaskGrader
from harness.taskkit.scoring.scores import by_subset, interval, pseudo_values

# Enough to see a pattern in each sub-set, few enough to read.
_SAMPLED_ERRORS = 12
_RESPONSE_CHARS = 600
# One in so many items of a sub-set may ever be shown as an error, always the same ones: what evaluations tell never adds up to
# the split, however many there are.
_SHOWN_ONE_IN = 4


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
    grader: TaskGrader | None = None,
) -> Feedback:
    """Build what `evaluate` returns. Intervals and changes are of the task's own metric, be it a mean of item scores or not.

    Args:
        number: this evaluation's number, from 1.
        left: evaluations left after this one.
        verdict: the grader's verdict on the dev split.
        responses: item id → the model's text.
        items: item id → the dev item (``prompt``, ``gold``, ``subset``, and ``row`` where there is a grader).
        earlier: earlier feedback documents (JSON form), oldest first.
        show_answers: whether sampled errors carry the gold answer.
        max_new_tokens: the grader's cap, to say how many responses were cut off.
        grader: the task's grader, which says what each sub-set's metric is; None: the mean of item scores in each.
    """
    rows = {name: item["row"] for name, item in items.items()} if grader else {}
    values = pseudo_values(verdict.items, grader, rows) if grader else {}
    primary = verdict.scores.primary
    best = max(earlier, key=lambda f: (f["scores"]["primary"]["value"], -f["evaluation"]), default=None)
    return Feedback(
        evaluation=number,
        scores=verdict.scores,
        primary=_interval(primary.value, verdict.items, values),
        subsets={
            name: _interval(_subset_value(name, group, verdict, grader), group, values)
            for name, group in by_subset(verdict.items).items()
        },
        errors=_sample_errors(verdict.items, responses, items, show_answers, seed=number),
        response_tokens=_distribution([i.response_tokens for i in verdict.items], cap=max_new_tokens),
        response_chars=_distribution([i.response_chars for i in verdict.items]),
        since_last=_change(earlier[-1], verdict, values) if earlier else None,
        since_best=_change(best, verdict, values) if best else None,
        item_scores={i.id: i.score for i in verdict.items},
        pseudo_values=values,
        seconds=verdict.seconds,
        evaluations_left=left,
    )


def _interval(value: float, group: Sequence[ItemScore], values: Mapping[str, float]) -> Interval:
    """Put a figure and its interval together; the mean of pseudo-values lies a hair beside the figure that they are of."""
    low, high = interval(group, values)
    return Interval(value=value, low=min(low, value), high=max(high, value), n=len(group))


def _subset_value(name: str, group: Sequence[ItemScore], verdict: Verdict, grader: TaskGrader | None) -> float:
    if grader is not None:
        return verdict.scores.subsets[name][grader.subset_metrics[name]]
    return sum(i.score for i in group) / len(group)


def _sample_errors(
    scored: Sequence[ItemScore],
    responses: Mapping[str, str],
    items: Mapping[str, Mapping[str, Any]],
    show_answers: bool,
    seed: int,
) -> tuple[SampledError, ...]:
    """Take wrong items that may be shown, each sub-set in turn, so that a small failing sub-set is seen beside a large one."""
    rng = random.Random(seed)
    wrong: dict[str, list[ItemScore]] = {}
    shown = may_be_shown({item.id: item.subset for item in scored})
    for item in scored:
        if item.score < 1.0 and item.id in shown:
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


def may_be_shown(subsets: Mapping[str, str]) -> frozenset[str]:
    """Return the items of a dev split that an agent may ever be shown: a quarter of each sub-set, rounded up, by their ids alone.

    Args:
        subsets: item id → its sub-set.
    """
    groups: dict[str, list[str]] = {}
    for item in sorted(subsets, key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest()):
        groups.setdefault(subsets[item], []).append(item)
    return frozenset(name for names in groups.values() for name in names[: -(-len(names) // _SHOWN_ONE_IN)])


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


def _change(earlier: Mapping[str, Any], verdict: Verdict, values: Mapping[str, float]) -> Change:
    """Compare with an earlier evaluation on the same items, sub-set by sub-set as the primary score is made of them."""
    before: Mapping[str, float] = earlier["item_scores"]
    shares: Mapping[str, float] = {**before, **earlier.get("pseudo_values", {})}
    groups = [[i for i in group if i.id in before] for group in by_subset(verdict.items).values()]
    groups = [group for group in groups if group]
    variance = sum(_variance_of_mean([values.get(i.id, i.score) - shares[i.id] for i in group]) for group in groups)
    gaps = [i.score - before[i.id] for group in groups for i in group]
    return Change(
        against=earlier["evaluation"],
        difference=verdict.scores.primary.value - earlier["scores"]["primary"]["value"],
        standard_error=math.sqrt(variance) / len(groups) if groups else 0.0,
        wins=sum(gap > 0 for gap in gaps),
        losses=sum(gap < 0 for gap in gaps),
        ties=sum(gap == 0 for gap in gaps),
    )


def _variance_of_mean(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)
