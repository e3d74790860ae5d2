"""What a run has done so far: a frozen value folded from the journal, record by record, live and after a restart alike."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ft_agent.journal import Journal
from ft_agent.plan import Heat, Iteration, Plan, Score
from ft_agent.thinking import Thought


@dataclass(frozen=True)
class History:
    """Everything that later decisions need of what came before.

    Attributes:
        iterations: oldest first.
        champion: number of the iteration whose model is to be handed in (0: the base model).
        handed_in: number of what was handed in last; None: nothing yet.
        base_own: the base model on the agent's own validation split, where measured.
        feedback: the last dev evaluation, whole.
        shown: the dev prompts that any evaluation has shown; no row may ask them.
        speed: training examples a second, measured, or None before anything was trained.
        costs: step → measured seconds.
        at: number of an iteration → seconds of the budget that were used when it ended.
        first_submission: the same when the first submission was accepted.
        open: a plan with its number whose outcome is not known: it is at work, or was cut off.
        heat: the newest heat, over or not; None: there was none.
        thoughts: every call for thinking, with its cost.
        counterfactuals: number of an iteration → what the rules would have planned in its place.
        lessons: what the run has taught, as the planner wrote it last.
    """

    iterations: tuple[Iteration, ...] = ()
    champion: int = 0
    handed_in: int | None = None
    base_own: Score | None = None
    feedback: dict[str, Any] | None = None
    shown: frozenset[str] = frozenset()
    speed: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    at: dict[int, float] = field(default_factory=dict)
    first_submission: float | None = None
    open: tuple[int, Plan] | None = None
    heat: Heat | None = None
    thoughts: tuple[Thought, ...] = ()
    counterfactuals: dict[int, Plan] = field(default_factory=dict)
    lessons: str = ""

    @property
    def next_number(self) -> int:
        """The number that the next iteration will have."""
        return len(self.iterations) + 1

    def iteration(self, number: int | None) -> Iteration | None:
        """Return the iteration of that number, or None: for the base model, or where there is none."""
        return next((i for i in self.iterations if i.number == number), None)

    def after(self, record: Mapping[str, Any]) -> History:
        """Return the history with one more record of the journal; kinds that say nothing here change nothing."""
        kind = record["kind"]
        if kind == "plan":
            return replace(self, open=(int(record["number"]), Plan.from_json(record["plan"])))
        if kind == "iteration":
            return self._with_iteration(record)
        if kind == "submitted":
            first = float(record["at"]) if self.first_submission is None else self.first_submission
            return replace(self, handed_in=int(record["number"]), first_submission=first)
        if kind == "base":
            return replace(self, base_own=Score(**record["score"]), speed=self.speed or record.get("speed"))
        if kind == "speed":
            return replace(self, speed=float(record["per_second"]))
        if kind == "feedback":
            shown = {str(error["prompt"]) for error in record["feedback"].get("errors", ())}
            return replace(self, feedback=dict(record["feedback"]), shown=self.shown | shown)
        if kind == "dev":
            number, score = int(record["number"]), Score(**record["score"])
            return replace(self, iterations=tuple(replace(i, dev=score) if i.number == number else i for i in self.iterations))
        if kind == "heat":
            return replace(self, heat=Heat.from_json(record["heat"]))
        if kind == "thought":
            thought = Thought(**{k: v for k, v in record.items() if k not in ("n", "kind")})
            return replace(self, thoughts=(*self.thoughts, thought))
        if kind == "counterfactual":
            known = {**self.counterfactuals, int(record["number"]): Plan.from_json(record["plan"])}
            return replace(self, counterfactuals=known)
        if kind == "lessons":
            return replace(self, lessons=str(record["text"]))
        return self

    def _with_iteration(self, record: Mapping[str, Any]) -> History:
        iteration = Iteration.from_json(record["iteration"])
        return replace(
            self,
            iterations=(*self.iterations, iteration),
            champion=int(record["champion"]),
            costs=dict(record["costs"]),
            at={**self.at, iteration.number: float(record["at"])},
            open=None,
        )


def fold(records: Iterable[Mapping[str, Any]]) -> History:
    """Return the history that a journal tells."""
    history = History()
    for record in records:
        history = history.after(record)
    return history


class Chronicle:
    """A journal and the history it tells, kept together: what is appended is history at once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._one = threading.Lock()
        self.history = fold(journal.records)

    def append(self, kind: str, **data: Any) -> dict[str, Any]:
        """Write one record (`Journal.append`); threads may do so at once."""
        with self._one:
            record = self._journal.append(kind, **data)
            self.history = self.history.after(record)
        return record

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of one kind, oldest first."""
        return self._journal.of(kind)
