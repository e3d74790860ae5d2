"""What a planner with a language model has at hand beside the view: rows to read, programs to try, the clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reading.rows import Row, normal

from ft_agent.data import Context
from ft_agent.plan import Plan
from ft_agent.programs import Trial


class Programs(Protocol):
    """What is needed of the place where data programs are tried and kept (`ft_agent.programs.Workshop`)."""

    def try_out(self, code: str, rows: Sequence[Row], context: Context) -> Trial:
        """Run a program on some rows, then on all, and check what it made."""
        ...

    def save(self, name: str, code: str) -> Path:
        """Keep it under a name."""
        ...

    def names(self) -> list[str]:
        """Return the names of those kept."""
        ...


@dataclass(frozen=True)
class Desk:
    """One run's rows, context, programs and clock.

    Attributes:
        rows: all source rows, as they were read.
        context: what data operations may look at.
        folder: the workspace; ``lessons.jsonl`` is written there.
        programs: where programs are tried and kept.
        time_left: seconds of the run that are left.
        problems: what static validation says of a plan's configuration (`validate.static_problems`); empty: fit.
    """

    rows: Sequence[Row]
    context: Context
    folder: Path
    programs: Programs
    time_left: Callable[[], float]
    problems: Callable[[Plan], Sequence[str]]

    def samples(self, source: str, n: int, seed: int) -> list[Row]:
        """Return random rows of a source, none that is held out: what is shown to a backbone may come back in a made row."""
        barred = self.context.held_out | self.context.forms.leaks
        free = [r for r in self.rows if r.source == source and normal(r.prompt) not in barred]
        return random.Random(f"{seed} {source}").sample(free, min(n, len(free)))
