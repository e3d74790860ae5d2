"""The planner's protocol: the agent's thinking, apart from its doing.

`ft_agent.offline.Offline` implements it with rules, `ft_agent.llm.planner.LlmPlanner` with a language model over the same view.
"""

from __future__ import annotations

from typing import Protocol

from ft_agent.plan import Diagnosis, Iteration, Plan
from ft_agent.view import View


class Planner(Protocol):
    """Decides what to try next and says what an outcome means. What it may know of the run is in the view."""

    name: str

    def propose(self, view: View) -> tuple[Plan, ...]:
        """Return up to three plans, one hypothesis each, for the loop to choose among; none: nothing is worth its time."""
        ...

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Say what the iteration's outcome means; ``view`` is as it was before the iteration."""
        ...

    def meanwhile(self, view: View, plan: Plan) -> None:
        """Think ahead while ``plan`` is trained, in a thread of its own; what comes of it helps the next `propose`."""
        ...
