"""What a comparison of two agents says, and the words of its verdicts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.analysis.measurement import LeftOut
from harness.spec.base import Spec
from harness.spec.measured import Measured
from harness.store.base import Damage

Judgement = Literal["better", "worse", "not_distinguishable"]

ONE_RUN = "one run says nothing about run-to-run variance"
OVER_TASKS = "all tasks"


class Models(Spec):
    """What a row says of the models at hand where it can say nothing of the agents: one of them has a single run."""

    p: float = Field(description="two-sided t, over items alone; not adjusted")
    ci_low: float
    ci_high: float
    verdict: Judgement = Field(description="about agent A's model")


class ComparisonRow(Measured):
    """A minus B on one task, or the mean over tasks. Intervals, p and verdict are about the agents."""

    task: str
    difference: float
    ci_low: float | None = Field(description="of this row alone; None: one of the agents has a single run, see `models`")
    ci_high: float | None
    p: float | None = Field(description="two-sided t")
    p_adjusted: float | None = Field(description="Holm over the rows shown together that can be decided")
    ci_adjusted_low: float | None = Field(description="the interval that the verdict looks at")
    ci_adjusted_high: float | None
    verdict: Judgement = Field(description="about agent A")
    reason: str = Field(description="the verdict in a sentence")
    models: Models | None = Field(None, description="where one of the agents has a single run: what is known of these models")
    label: str = Field("", description="what the difference describes, where it is not the agents")
    win: float = Field(
        description="items on which a run of A scores more than a run of B, mean over pairs of runs; over tasks: those A leads on"
    )
    tie: float
    loss: float
    runs_a: int
    runs_b: int
    flagged: int = Field(0, description="runs of either in which cheating was found; they count as the base model")
    left_out: str = Field("", description="runs that count for neither, and why")
    difference_if_zero: float | None = Field(None, description="had the runs left out scored 0; None: none was")
    smallest_difference: float | None = Field(
        description="smallest difference that these runs could have shown; None: not even the largest there is"
    )
    runs_needed: int | None = Field(description="runs per agent that would show the difference observed; None: no number would")
    variance: dict[str, float] = Field(description="of the difference, by source: agent_a and agent_b (run to run), items")
    setting: str = ""

    def named(self, adjusted: int) -> str:
        """Say the task; of the row over tasks also that it is not adjusted, where the others are."""
        return f"{self.task} (not adjusted)" if self.task == OVER_TASKS and adjusted > 1 and not self.models else self.task

    def counts(self) -> str:
        """Say win/tie/loss in whole numbers that add up."""
        total = round(self.win + self.tie + self.loss)
        win, loss = round(self.win), round(self.loss)
        return f"{win}/{max(0, total - win - loss)}/{loss}" + (" tasks" if self.task == OVER_TASKS else "")

    def interval(self) -> str:
        """Say the interval that the verdict looks at; a dash where there is none."""
        if self.ci_adjusted_low is None:
            return "–"
        return f"{self.ci_adjusted_low:+.3f} to {self.ci_adjusted_high:+.3f}"

    def chance(self) -> str:
        """Say the adjusted p; a dash where there is none."""
        return "–" if self.p_adjusted is None else f"{self.p_adjusted:.3g}"

    def judged(self) -> str:
        """Say the verdict about the agents in words; it is open where one run cannot give one."""
        return "open: one run" if self.models else self.verdict.replace("_", " ")


class Comparison(Spec):
    """Agent ``a`` against agent ``b``."""

    a: str
    b: str
    rows: tuple[ComparisonRow, ...]
    overall: ComparisonRow
    adjusted: int = Field(description="rows whose p and intervals are adjusted together (Holm), on all pages of this comparison")
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    damaged: tuple[Damage, ...] = Field((), description="runs whose folders do not bear out what the index knows, and why")

    @property
    def shown(self) -> tuple[ComparisonRow, ...]:
        """The rows by task, and the one over tasks where there are several."""
        return self.rows if self.overall in self.rows else (*self.rows, self.overall)


def headings(adjusted: int) -> tuple[str, str]:
    """Return the headings of interval and p: they say whether, and over how many rows, both are adjusted."""
    return ("95 %", "p") if adjusted < 2 else ("adjusted 95 %", f"p (Holm, {adjusted} rows)")


def verdict_of(difference: float, low: float, high: float) -> Judgement:
    """Return the verdict of an interval of a difference."""
    return "not_distinguishable" if low <= 0 <= high else "better" if difference > 0 else "worse"


def reason_of(verdict: Judgement, difference: float, smallest: float | None, needed: int | None) -> str:
    """Return why a row has its verdict.

    Args:
        verdict: the verdict.
        difference: A's score minus B's.
        smallest: smallest difference these runs could have shown; None: none.
        needed: runs per agent that would show the difference observed, or None.
    """
    could = f"these runs could have shown {smallest:.3f}" if smallest is not None else "these runs could have shown no difference"
    if verdict != "not_distinguishable":
        return f"the interval excludes 0; {could}"
    if needed is None:
        return f"{could}; no number of runs would show {difference:+.3f} on these items"
    return f"{could}; {needed} runs per agent would show {difference:+.3f}"


def reason_of_models(models: Models, difference: float, to_settle: str) -> str:
    """Say what is known of two models, that it is not known of their agents, and what settles it."""
    differ = "do not surely differ" if models.verdict == "not_distinguishable" else "differ"
    return (
        f"these two models {differ}: {difference:+.3f} ({models.ci_low:+.3f} to {models.ci_high:+.3f}); "
        f"the agents are open: {ONE_RUN}; to settle it: {to_settle}"
    )
