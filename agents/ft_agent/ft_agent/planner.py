"""The planner's protocol: the agent's thinking, apart from its doing.

`ft_agent.offline.Offline` implements it with rules, `ft_agent.llm.planner.LlmPlanner` with a language model over the same view.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def finish(self, view: View) -> None:
        """Write down what outlives the run; what is handed in stands already."""
        ...


class Fallback:
    """Asks ``first``; where it fails, or what it proposes keeps being refused, asks ``second``. ``failures`` says why."""

    def __init__(self, first: Planner, second: Planner, say: Callable[[str], None] = print) -> None:
        self.first, self.second, self._say = first, second, say
        self.name = f"{first.name}, else {second.name}"
        self.failures: list[str] = []

    def propose(self, view: View) -> tuple[Plan, ...]:
        """Return the first planner's plans, or the second's."""
        # twice in a row caught by validation: the first planner does not see what is wrong
        stuck = len(view.iterations) >= 2 and all(i.status == "caught" for i in view.iterations[-2:])
        if not stuck:
            try:
                return self.first.propose(view)
            except Exception as exc:
                self._failed("propose", exc)
        return self.second.propose(view)

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        """Return the first planner's diagnosis, or the second's."""
        try:
            return self.first.diagnose(view, iteration)
        except Exception as exc:
            self._failed("diagnose", exc)
            return self.second.diagnose(view, iteration)

    def meanwhile(self, view: View, plan: Plan) -> None:
        """Let the first planner think ahead."""
        try:
            self.first.meanwhile(view, plan)
        except Exception as exc:
            self._failed("meanwhile", exc)

    def finish(self, view: View) -> None:
        """Let the first planner write down what outlives the run."""
        try:
            self.first.finish(view)
        except Exception as exc:
            self._failed("finish", exc)

    def _failed(self, call: str, exc: Exception) -> None:
        self.failures.append(f"{call}: {type(exc).__name__}: {exc}")
        self._say(f"    planner {self.first.name} failed, {self.second.name} decides: {self.failures[-1]}")
