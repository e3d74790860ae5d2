"""Measuring a model: on the agent's own validation split (free) and on the task's dev split (metered)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from reading.pace import Stint

from ft_agent.data import Example
from ft_agent.plan import Score
from ft_agent.train import Trainer


class Api(Protocol):
    """What this agent needs of the agent API (`dojo_tool.Client`)."""

    def task(self) -> dict[str, Any]:
        """Return the task."""
        ...

    def budget(self) -> dict[str, dict[str, float | None]]:
        """Return each budget dimension with limit, used and left."""
        ...

    def evaluate(self, path: str, note: str = "") -> dict[str, Any]:
        """Score on the dev split (metered)."""
        ...

    def submit(self, path: str, note: str = "") -> dict[str, Any]:
        """Hand in."""
        ...

    def note(self, text: str, data: Any = None) -> None:
        """Write into the trajectory."""
        ...


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


def dev_score(api: Api, path: Path, note: str) -> tuple[Score, dict[str, Any]]:
    """Spend one metered evaluation; return the score and the whole feedback.

    Raises:
        dojo_tool.ApiError: the meter is used up, or the harness said no.
    """
    begun = time.monotonic()
    feedback = api.evaluate(str(path), note=note)
    scores = feedback["scores"]
    return (
        Score(
            split="dev",
            value=float(scores["primary"]["value"]),
            slices={name: float(interval["value"]) for name, interval in feedback["subsets"].items()},
            items={k: float(v) for k, v in feedback["item_scores"].items()},
            parse_rate=float(scores["parse_rate"]),
            seconds=time.monotonic() - begun,
        ),
        feedback,
    )


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
