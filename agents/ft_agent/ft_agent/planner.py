"""The planner's protocol: the agent's thinking, apart from its doing.

`ft_agent.offline.Offline` implements it with rules. A language model's planner implements the same two calls: it gets
`View.render` as text, returns plain JSON that `Plan.from_json` checks, and on any failure `Fallback` asks the rules instead.
"""

from __future__ import annotations

from typing import Protocol

from ft_agent.plan import Diagnosis, Iteration, Plan
from ft_agent.view import View


class Planner(Protocol):
    """Decides what to try next and says what an outcome means. Pure: everything it may know is in the view."""

    name: str

    def propose(self, view: View) -> Plan | None:
        """Return the next plan, or None when nothing worth its time is left."""
        ...

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Say what the iteration's outcome means; ``view`` is as it was before the iteration."""
        ...


class Fallback:
    """Asks ``first``; where it fails or proposes what the code refused, asks ``second``. ``failures`` says why."""

    def __init__(self, first: Planner, second: Planner) -> None:
        self.first, self.second = first, second
        self.name = f"{first.name}, else {second.name}"
        self.failures: list[str] = []

    def propose(self, view: View) -> Plan | None:
        """Return the first planner's plan, or the second's."""
        # twice in a row caught by validation: the first planner does not see what is wrong
        stuck = len(view.iterations) >= 2 and all(i.status == "caught" for i in view.iterations[-2:])
        if not stuck:
            try:
                return self.first.propose(view)
            except Exception as exc:
                self.failures.append(f"propose: {type(exc).__name__}: {exc}")
        return self.second.propose(view)

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Return the first planner's diagnosis, or the second's."""
        try:
            return self.first.diagnose(view, iteration)
        except Exception as exc:
            self.failures.append(f"diagnose: {type(exc).__name__}: {exc}")
            return self.second.diagnose(view, iteration)
