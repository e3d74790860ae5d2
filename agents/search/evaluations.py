"""Dev scores that are waited for only so long: a grader that is slow or broken costs a search its patience, not its result."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dojo_tool
from reading.run import Run


@dataclass
class _Asked:
    """One evaluation under way in a thread of its own."""

    done: threading.Event = field(default_factory=threading.Event)
    value: float | None = None
    trouble: str = ""


@dataclass
class Evaluations:
    """The metered dev evaluations of a run.

    Attributes:
        run: whose API is asked.
        wait: for an event, so many seconds; tests give their own.
        seconds: what the last one cost, in seconds of the run's clock; a guess before there was one. Where CPU-seconds end the
            run first that is next to nothing: this process waits.
        trouble: why the last one has no score.
    """

    run: Run
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    seconds: float = 0.0
    trouble: str = ""
    _late: _Asked | None = None

    def __post_init__(self) -> None:
        # one pass over a small dev split by a small model on one core
        self.seconds = 25.0 if self.run.clock.dimension != "cpu" else 0.0

    def left(self) -> float:
        """Metered evaluations left; infinite where they are not limited."""
        left = self.run.api.budget()["evaluations"]["left"]
        return math.inf if left is None else float(left)

    def late(self) -> bool:
        """Whether one that was given up on is still under way: no other would be answered before it."""
        return self._late is not None and not self._late.done.is_set()

    def score(self, folder: Path, note: str, at_most_s: float) -> float | None:
        """Return the dev score of a submission, or None: where none came within ``at_most_s`` of wall time, `trouble` says so."""
        asked, begun = _Asked(), self.run.clock.used()
        # a daemon, so that a grader that never answers does not keep the agent from ending
        threading.Thread(target=self._ask, args=(asked, folder, note), daemon=True).start()
        if not self.wait(asked.done, at_most_s):
            self._late, self.trouble = asked, f"no score within {at_most_s:.0f} s"
            return None
        self.seconds = self.run.clock.used() - begun
        self.trouble = asked.trouble
        return asked.value

    def _ask(self, asked: _Asked, folder: Path, note: str) -> None:
        try:
            feedback: Any = self.run.api.evaluate(str(folder), note=note)
            value = float(feedback["scores"]["primary"]["value"])
            if math.isfinite(value):
                asked.value = value
            else:
                asked.trouble = f"the score is {value}"
        except (dojo_tool.ApiError, KeyError, TypeError, ValueError) as exc:
            asked.trouble = f"{type(exc).__name__}: {exc}"
        finally:
            asked.done.set()
