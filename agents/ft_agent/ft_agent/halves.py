"""Two planners for one question: what is it worth that a model learns from its own answers? Nothing else differs between them.

Both train the starting plan for the first half of the time and go on from there in the second. `plain` goes on with the same
rows, `self_taught` first lets the half-trained model answer training questions and keeps the rows that it does not get right each
time. What sampling takes is taken from its own second half.
"""

from __future__ import annotations

from dataclasses import replace

from ft_agent.offline import Offline, first_plan, fit_batch, mend, sized
from ft_agent.plan import Operation, Plan
from ft_agent.view import View

# Of the usable time; what follows pays for measuring and handing in twice.
FIRST_SHARE = 0.45
# Questions that are answered, and how often: enough to tell a question that is known from a lucky one.
ASKED = {"rows": 400, "samples": 2, "temperature": 0.8, "keep": "wrong"}


class Halves(Offline):
    """Starting plan, then more of it; with ``self_taught`` on rows that the model did not get right."""

    def __init__(self, self_taught: bool) -> None:
        self.name = "self_taught" if self_taught else "plain"
        self._self_taught = self_taught

    def propose(self, view: View) -> tuple[Plan, ...]:
        """Return the first half, the second, then nothing."""
        done = view.trained()
        if view.iterations and view.iterations[-1].status != "trained":
            mended = mend(view.iterations[-1], view)
            return (fit_batch(replace(mended, author=self.name), view),) if mended else ()
        if len(done) >= 2:
            return ()
        first = replace(first_plan(view), phase="exploit", author=self.name, knob="the first half")
        if not done:
            plan = sized(first, view, FIRST_SHARE * view.usable)
        else:
            plan = sized(self._second(done[0].plan, done[0].number), view, view.usable)
        return (fit_batch(plan, view),) if plan else ()

    def _second(self, first: Plan, number: int) -> Plan:
        rows = "rows the model gets wrong" if self._self_taught else "the same rows"
        plan = replace(
            first,
            parent=number,
            knob=rows,
            hypothesis=f"a second half on {rows} raises the score",
            reason="the experiment",
        )
        if not self._self_taught:
            return plan
        at = next((n for n, o in enumerate(plan.data) if o.name == "rebalance"), len(plan.data))
        return replace(plan, data=(*plan.data[:at], Operation("self_generate", dict(ASKED)), *plan.data[at:]))
