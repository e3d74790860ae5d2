"""The counter: where models are handed in and evaluated, and where the time left is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ft_agent.evaluate import dev_score
from ft_agent.plan import Score
from ft_agent.refusals import Harness, Refused
from ft_agent.timebook import TimeBook


class Counter:
    """Talks to the harness for the loop and keeps the book of time true.

    Attributes:
        timebook: the time left, and what steps have cost.
        budget: every dimension as the API gave it last.
    """

    def __init__(
        self,
        harness: Harness,
        folder: Path,
        record: Callable[..., Any],
        say: Callable[[str], None],
        *,
        cores: float,
        feedback: bool,
    ) -> None:
        self.harness, self.folder, self._record, self._say, self._feedback = harness, folder, record, say, feedback
        self.budget: dict[str, Any] = harness.budget()
        self.timebook = TimeBook(self.budget, cores=cores)

    def sync(self) -> None:
        """Take over the harness's own count; where it does not answer, the last one goes on running down."""
        try:
            self.budget = self.harness.budget()
        except Refused as exc:
            self._say(f"    the budget could not be read: {exc}")
            return
        self.timebook.sync(self.budget)

    def used(self) -> float:
        """Seconds of the budget used by now, by the harness's count."""
        self.sync()
        return self.timebook.used()

    @property
    def evaluations_left(self) -> int | None:
        """Metered evaluations left (None: unlimited)."""
        if not self._feedback:
            return 0
        left = (self.budget.get("evaluations") or {}).get("left")
        return None if left is None else int(left)

    def hand_in_base(self) -> bool:
        """Hand in the base model, so that a valid submission exists."""
        base = self.path_of_base()
        base.mkdir(parents=True, exist_ok=True)
        (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
        return self.submit(base, 0, "the base model, so that a valid submission exists")

    def path_of_base(self) -> Path:
        """The folder that says that the base model is handed in."""
        return self.folder / "base"

    def submit(self, path: Path, number: int, note: str) -> bool:
        """Hand in; False where it was refused: what was handed in before stays."""
        begun = self.timebook.used()
        try:
            self.harness.submit(str(path), note=note)
        except Refused as exc:
            self._say(f"    submission of {path.name} failed: {exc}")
            return False
        at = self.used()
        self.timebook.record("submit", at - begun)
        self._record("submitted", number=number, at=round(at, 1), note=note)
        return True

    def may_evaluate(self, times: int = 1) -> bool:
        """Whether so many evaluations are left, and time for them."""
        self.sync()
        left = self.evaluations_left
        # what is to be measured has been handed in already; afterwards at most the former champion is handed in again
        afterwards = max(3.0, 2 * self.timebook.cost("submit"))
        return (left is None or left >= times) and self.timebook.left() > times * self.timebook.cost("evaluate") + afterwards

    def evaluate(self, path: Path, note: str) -> tuple[Score, dict[str, Any]]:
        """Spend one metered evaluation.

        Raises:
            Refused: the meter is used up, or the harness said no.
        """
        begun = self.timebook.used()
        score, feedback = dev_score(self.harness, path, note)
        self.timebook.record("evaluate", self.used() - begun)
        return score, feedback

    def note(self, text: str) -> None:
        """Write into the trajectory; a note that is not taken is not worth a run."""
        try:
            self.harness.note(text)
        except Refused as exc:
            self._say(f"    note not taken: {exc}")
