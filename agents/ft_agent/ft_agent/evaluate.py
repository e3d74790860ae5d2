"""Measuring a model: on the agent's own validation split (free) and on the task's dev split (metered)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reading.pace import Stint

from ft_agent.data import Example
from ft_agent.plan import Score
from ft_agent.refusals import Harness
from ft_agent.train import Trainer


def own_score(trainer: Trainer, split: Sequence[Example], adapter: Path | None, stint: Stint) -> Score:
    """Score on the own split by forced decoding; stops when the stint is over, with the items done by then.

    Raises:
        TrainingFailed: the training process crashed or hung.
    """
    done = trainer.score(split, adapter, **stint)
    slices = {e.id: e.slice for e in split}
    return Score(
        split="own",
        value=macro_mean(done["items"], slices),
        slices=by_slice(done["items"], slices),
        items=done["items"],
        credit=done["credit"],
        loss=done["loss"],
        seconds=done["seconds"],
    )


def dev_score(harness: Harness, path: Path, note: str) -> tuple[Score, dict[str, Any]]:
    """Spend one metered evaluation; return the score and the whole feedback.

    Raises:
        Refused: the meter is used up, or the harness said no.
    """
    begun = time.monotonic()
    feedback = harness.evaluate(str(path), note=note)
    scores = feedback["scores"]
    return (
        Score(
            split="dev",
            value=float(scores["primary"]["value"]),
            slices={name: float(interval["value"]) for name, interval in feedback["subsets"].items()},
            items={k: float(v) for k, v in feedback["item_scores"].items()},
            shares=_shares(feedback),
            parse_rate=float(scores["parse_rate"]),
            seconds=time.monotonic() - begun,
        ),
        feedback,
    )


def _shares(feedback: Mapping[str, Any]) -> dict[str, float]:
    """What each item contributes to the task's metric; empty where that is its score."""
    shares = feedback.get("pseudo_values") or {}
    return {k: float(shares.get(k, v)) for k, v in feedback["item_scores"].items()} if shares else {}


def by_slice(items: Mapping[str, float], slices: Mapping[str, str]) -> dict[str, float]:
    """Mean score by slice."""
    groups: dict[str, list[float]] = defaultdict(list)
    for item, score in items.items():
        groups[slices.get(item, "all")].append(score)
    return {name: sum(v) / len(v) for name, v in sorted(groups.items())}


def macro_mean(items: Mapping[str, float], slices: Mapping[str, str]) -> float:
    """Mean over slices of their means; 0 without items."""
    means = by_slice(items, slices).values()
    return sum(means) / len(means) if means else 0.0
