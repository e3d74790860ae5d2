"""What the agent reports about itself in numbers: a pure function of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ft_agent.changes import differences
from ft_agent.effects import Effect, named, table
from ft_agent.history import History
from ft_agent.plan import Iteration, Plan, Score
from ft_agent.thinking import Thought, summed

# In what a choice may differ from the rules' and still be the same choice: how long it trains follows from the time left.
NO_CHOICE = frozenset({"seconds", "phase"})


@dataclass(frozen=True)
class ReportFacts:
    """Everything a report is written from.

    Attributes:
        iterations: oldest first.
        champion: number of the iteration handed in (0: the base model).
        base: the base model on the own split, where measured.
        at: number of an iteration → seconds of the budget used when it ended.
        first_submission: the same for the first submission, None: there was none.
        seconds: used when the report is written.
        effects: what single knobs did.
        thoughts: every call to a backbone, with its cost.
        counterfactuals: number of an iteration → what the rules would have planned in its place.
        dollars: spent on thinking, None: the budget does not tell.
    """

    iterations: tuple[Iteration, ...] = ()
    champion: int = 0
    base: Score | None = None
    at: Mapping[int, float] = field(default_factory=dict)
    first_submission: float | None = None
    seconds: float = 0.0
    effects: tuple[Effect, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    counterfactuals: Mapping[int, Plan] = field(default_factory=dict)
    dollars: float | None = None

    @property
    def effective(self) -> list[Iteration]:
        """The iterations that were trained and measured."""
        return [i for i in self.iterations if i.status == "trained" and (i.own or i.dev)]


def facts_of(history: History, seconds: float, budget: Mapping[str, Any], slices: Mapping[str, str] | None = None) -> ReportFacts:
    """Gather a report's facts from the history.

    Args:
        history: of the run.
        seconds: of the budget used by now.
        budget: each dimension as the API gives it.
        slices: item of the own split → its slice.
    """
    used = (budget.get("dollars") or {}).get("used")
    return ReportFacts(
        iterations=history.iterations,
        champion=history.champion,
        base=history.base_own,
        at=history.at,
        first_submission=history.first_submission,
        seconds=round(seconds, 1),
        effects=table(history.iterations, history.base_own, slices),
        thoughts=history.thoughts,
        counterfactuals=history.counterfactuals,
        dollars=None if used is None else float(used),
    )


def figures(facts: ReportFacts) -> dict[str, Any]:
    """Work out the figures, in plain JSON. Seconds are those of the budget."""
    effective = facts.effective
    lost = [i for i in facts.iterations if i.status != "caught" and i not in effective]
    return {
        "iterations": len(facts.iterations),
        "effective": len(effective),
        "improving_share": _share(sum(i.replaces for i in effective), len(effective)),
        "seconds": facts.seconds,
        "seconds_to_first_submission": facts.first_submission,
        "seconds_to_best": facts.at.get(facts.champion),
        "seconds_training": round(sum(i.train_seconds for i in effective), 1),
        "seconds_lost_to_what_no_rung_caught": round(sum((i.train_seconds for i in lost), 0.0), 1),
        "caught_by_rung": dict(sorted(Counter(str(c["rung"]) for i in facts.iterations for c in i.caught).items())),
        "seconds_by_rung": seconds_by_rung(facts.iterations),
        "made_rows_share": made_share(facts.iterations),
        "effects_measured": len(facts.effects),
        "hypotheses": hypotheses(facts.iterations, facts.effects),
        "thinking": thinking(facts),
        "counterfactual": counterfactual(facts),
    }


def seconds_by_rung(iterations: Sequence[Iteration]) -> dict[str, float]:
    """What the catches of each rung cost, from the ladder's foot on; all that one rung finds in a plan it finds at once."""
    found: dict[str, float] = {}
    for iteration in iterations:
        if iteration.status != "caught":
            continue
        for rung in {str(c["rung"]) for c in iteration.caught}:
            cost = max(float(c["seconds"]) for c in iteration.caught if c["rung"] == rung)
            found[rung] = round(found.get(rung, 0.0) + cost, 3)
    return dict(sorted(found.items()))


def made_share(iterations: Sequence[Iteration]) -> dict[str, float]:
    """The shares of training rows that were made or changed in the run, by what did it (`Row.made`); empty: none were."""
    last = [i.data_log[-1] for i in iterations if i.status == "trained" and i.data_log]
    rows = sum(int(d["rows_out"]) for d in last)
    made: Counter[str] = Counter()
    for line in last:
        made.update(line.get("made", {}))
    return {name: round(count / rows, 3) for name, count in sorted(made.items())}


def hypotheses(iterations: Sequence[Iteration], effects: Sequence[Effect]) -> dict[str, dict[str, Any]]:
    """Count, by planner, what became of the hypotheses.

    ``confirmed_share`` is that of those whose effect was measured: one knob changed, against a comparable iteration. With
    ``evidence`` are those that named an effect which had been measured by then; the others are guesses.
    """
    found: dict[str, dict[str, Any]] = {}
    for iteration in iterations:
        plan = iteration.plan
        line = found.setdefault(
            plan.author,
            {"planned": 0, "evidence": 0, "trained": 0, "confirmed": 0, "refuted": 0, "open": 0, "confirmed_share": None},
        )
        line["planned"] += 1
        line["evidence"] += named([e for e in effects if e.with_ < iteration.number], plan.evidence) is not None
        line["trained"] += iteration.status == "trained"
        effect = effect_of(iteration.number, effects)
        if effect is not None:
            line[verdict(effect)] += 1
    for line in found.values():
        line["confirmed_share"] = _share(line["confirmed"], line["confirmed"] + line["refuted"] + line["open"])
    return dict(sorted(found.items()))


def effect_of(number: int, effects: Sequence[Effect]) -> Effect | None:
    """Return the effect that decides an iteration's hypothesis: against the newest it can be compared with."""
    return max((e for e in effects if e.with_ == number), key=lambda e: e.against, default=None)


def verdict(effect: Effect) -> str:
    """Say what an effect makes of its hypothesis: confirmed, refuted or open."""
    return {True: "confirmed", False: "refuted", None: "open"}[effect.confirmed]


def thinking(facts: ReportFacts) -> dict[str, Any]:
    """What thinking cost, in all, by call and by iteration."""
    calls = summed(facts.thoughts)
    into, out = (sum(line[k] for line in calls.values()) for k in ("input_tokens", "output_tokens"))
    by_iteration: Counter[int] = Counter()
    for thought in facts.thoughts:
        by_iteration[thought.iteration] += thought.input_tokens + thought.output_tokens
    turns = len(facts.iterations)
    return {
        "calls": calls,
        "fell_back": {name: line["fell_back"] for name, line in calls.items() if line["fell_back"]},
        "input_tokens": into,
        "output_tokens": out,
        "tokens_by_iteration": {str(n): tokens for n, tokens in sorted(by_iteration.items())},
        "tokens_per_iteration": round((into + out) / turns, 1) if turns else None,
        "seconds": round(sum(line["seconds"] for line in calls.values()), 1),
        "dollars": facts.dollars,
        "dollars_per_iteration": round(facts.dollars / turns, 5) if turns and facts.dollars is not None else None,
    }


def counterfactual(facts: ReportFacts) -> dict[str, int]:
    """How often the rules' choice stands beside a planner's, and how often it was the same."""
    pairs = [(i.plan, facts.counterfactuals[i.number]) for i in facts.iterations if i.number in facts.counterfactuals]
    return {"beside": len(pairs), "same": sum(not choices_apart(*pair) for pair in pairs)}


def choices_apart(one: Plan, other: Plan) -> tuple[str, ...]:
    """Return the knobs in which two choices differ."""
    return tuple(c.knob for c in differences(one, other) if c.knob not in NO_CHOICE)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None
