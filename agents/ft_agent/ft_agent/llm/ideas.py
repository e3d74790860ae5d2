"""From an idea to a full plan: what it names is looked up, checked and sized by code; what does not fit is said in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ft_agent.changes import FULL_RATE, Change, differences
from ft_agent.choose import MARGIN_SE
from ft_agent.data import OPERATIONS
from ft_agent.effects import Effect, named
from ft_agent.llm.calls import DataChange, Idea
from ft_agent.llm.desk import Desk
from ft_agent.offline import WORTH_S, best_of, first_plan, fit_batch, full_seconds, probe_seconds, sized
from ft_agent.plan import Iteration, Operation, Plan
from ft_agent.view import View

# Where an operation comes that the recipe does not have yet: before the first of these that it has. What makes or changes rows
# comes before what drops repeats and leaks; what answers questions anew, after it, when there are fewest.
PLACES: dict[str, tuple[str, ...]] = {
    "program": ("kind", "verify", "dedupe", "drop_leaks", "rebalance"),
    "synthesise": ("dedupe", "drop_leaks", "rebalance"),
    "rewrite": ("rebalance", "template", "curriculum", "cap"),
    "self_generate": ("rebalance", "template", "curriculum", "cap"),
    "distrust": ("dedupe", "drop_leaks", "rebalance"),
    "select": ("clean", "repair"),
}
OTHERWISE = ("template", "curriculum", "cap")
# Knobs that come with another one: rank with alpha, worked solutions with how they are written.
TOGETHER = (
    frozenset({"lora.r", "lora.lora_alpha"}),
    frozenset({"data.self_generate", "data.template.style"}),
    frozenset({"data.rewrite", "data.template.style"}),
    frozenset({"data.program", "data.template.style"}),
    frozenset({"data.synthesise", "data.template.style"}),
)
# A long training that gets less than this share of what is worth having leaves a second one no room either.
LONG_SHARE = 0.4
# Operations that need more than rows, and rows that the others are tried on.
MADE, TRIED = frozenset({"program", "synthesise", "rewrite", "self_generate"}), 40
# Arguments that plans always state.
NEEDED = frozenset({"learning_rate", "per_device_train_batch_size", "r", "lora_alpha"})
_NO_KNOBS = frozenset({"phase", "parent", "seconds"})


@dataclass(frozen=True)
class Stage:
    """What may be proposed now: probes while there is time for finding out, then only what is known to work."""

    probes: bool

    @property
    def words(self) -> str:
        """The same for the backbone."""
        if self.probes:
            return (
                "Test by probes what you do not know; exploit what the effects have measured and the START PLAN does not have. "
                "An exploit without evidence is probed first."
            )
        return (
            "The time for probes is used up: propose exploits (or polishes) only, each with evidence for everything it changes "
            "against the START PLAN; there you may join several knobs that have each been shown to help."
        )


def start_of(view: View) -> tuple[Plan, str]:
    """Return the plan that ideas change, with its name: the champion's after a long training, else the best probe's."""
    trained = view.trained()
    champion = next((i for i in trained if i.number == view.champion), None)
    best = champion if champion and champion.plan.phase != "probe" else best_of(trained) or champion
    if best is None or best.plan.method == "average":
        best = best_of([i for i in trained if i.plan.method != "average"])
    return (best.plan, f"iteration {best.number}") if best else (first_plan(view), "the program's starting point")


def planned(idea: Idea, view: View, desk: Desk, stage: Stage) -> tuple[Plan | None, list[str]]:
    """Return the idea as a plan that fits the time left, or what is wrong with it in the words of a repair."""
    start, name = start_of(view)
    if idea.changes.average:
        return _average(idea, start, view)
    problems: list[str] = []
    data = _recipe(start.data, idea, view, desk, problems)
    plan = replace(
        start,
        phase=idea.phase,
        hypothesis=idea.hypothesis,
        reason=idea.evidence or "a guess",
        data=data,
        trainer=_merged(start.trainer, idea.changes.trainer, problems, "trainer"),
        lora={} if idea.changes.full_weights else _merged(start.lora, idea.changes.lora, problems, "lora"),
        seconds=1.0,
        parent=_parent(idea, start, view, problems),
        measure="own",
        expected_gain=idea.expected_gain,
        knob=idea.knob,
        method=idea.changes.method or start.method,
        average=(),
        author="llm",
        evidence="",
    )
    plan = _at_its_rate(plan, start, idea, view)
    knobs = [c for c in differences(start, plan) if c.knob not in _NO_KNOBS]
    problems += desk.problems(plan)
    # to go on with what was the best so far is no guess
    evidence = supporting(knobs, idea.evidence, view.effects) if knobs else f"{name} is the best so far"
    problems = problems or _phase_problems(plan, knobs, evidence, view, stage)
    if problems:
        return None, problems
    ready = replace(plan, evidence=evidence, reason=f"measured: {evidence}" if evidence else "a guess, of the language model's")
    timed = _timed(ready, idea, view)
    if timed is None:
        return None, [f"{view.usable:.0f} s are left: too little for a {plan.phase}"]
    return fit_batch(timed, view), []


def supporting(knobs: Sequence[Change], claimed: str, effects: Sequence[Effect]) -> str:
    """Return the rows of the table that speak for every one of the changes, in words; empty: at least one is a guess.

    A row speaks for a change where it measured the same value and found that it helps, or found that the way back harms. That a
    higher rate helped says nothing of one that is higher still. Without a row that the claim names, nothing counts.
    """
    if not claimed or named(effects, claimed) is None:
        return ""
    rows = [_speaks(effects, knob) for knob in knobs]
    found = [row for row in rows if row is not None]
    return "; ".join(f"{r.name} {r.knob} {r.effect:+.3f} ± {r.error:.3f}" for r in found) if len(found) == len(rows) else ""


def _speaks(effects: Sequence[Effect], change: Change) -> Effect | None:
    fit = [e for e in effects if e.knob == change.knob and _better_value(e) == change.after]
    return max(fit, key=lambda e: e.certainty, default=None)


def _better_value(effect: Effect) -> str | None:
    """Return which of the two values was found better, in words; None: they could not be told apart."""
    if effect.certainty < MARGIN_SE:
        return None
    return effect.after if effect.effect > 0 else effect.before


def untaken(view: View) -> list[Effect]:
    """Return the effects whose better value the start of ideas does not have: what may be exploited without a probe."""
    start, _ = start_of(view)
    plans = {i.number: i.plan for i in view.iterations}
    found = []
    for effect in view.effects:
        better = plans.get(effect.with_ if effect.effect > 0 else effect.against)
        changes = differences(start, better) if better else ()
        if any(c.knob == effect.knob and c.after == _better_value(effect) for c in changes):
            found.append(effect)
    return found


def _phase_problems(plan: Plan, knobs: Sequence[Change], evidence: str, view: View, stage: Stage) -> list[str]:
    names = [c.knob for c in knobs]
    if stopped := _stopped(plan, view):
        return [stopped]
    if plan.phase == "probe":
        if not stage.probes:
            return ["the time for probes is used up; propose an exploit of what has been shown to help"]
        if not names:
            return ["it changes nothing against the START PLAN; change one knob"]
        if not _one_knob(names, plan):
            return [
                f"it changes several knobs at once ({', '.join(names)}); keep one of them and put the others into further ideas"
            ]
        same = [i.number for i in view.iterations if i.status == "trained" and not _apart(i.plan, plan)]
        return [f"iteration {same[-1]} has tried exactly this; try another value or another knob"] if same else []
    if not stage.probes and names and not evidence:
        return [f"no row of the effects table has measured {_values(knobs)} and found it better; change only what has been shown"]
    return []


def _values(knobs: Sequence[Change]) -> str:
    return " and ".join(f"{c.knob} {c.after}" for c in knobs)


def _one_knob(names: Sequence[str], plan: Plan) -> bool:
    return len(names) == 1 or "method" in names or any(set(names) <= group for group in TOGETHER)


def _stopped(plan: Plan, view: View) -> str:
    """Say what stopped exactly this plan before, unless it was the time, of which there is another amount now."""
    for iteration in view.iterations:
        faults = [c for c in iteration.caught if c["rung"] != "time" and "interrupted" not in str(c["problem"])]
        if iteration.status != "trained" and faults and not _apart(replace(iteration.plan, phase=plan.phase), plan):
            return f"iteration {iteration.number} was stopped for exactly this: {str(faults[-1]['problem'])[:200]}"
    return ""


def _apart(one: Plan, other: Plan) -> list[Change]:
    # the batch is fitted to the machine's speed by code
    free = _NO_KNOBS | {"trainer.per_device_train_batch_size"}
    return [c for c in differences(one, other) if c.knob not in free] if one.phase == other.phase else [Change("phase", "", "")]


def _timed(plan: Plan, idea: Idea, view: View) -> Plan | None:
    if plan.phase == "probe":
        seconds = probe_seconds(view)
        fits = view.usable >= seconds + view.costs["overhead_own"] + 1.0
        return replace(plan, seconds=round(seconds, 1), measure="own") if fits else None
    worth = min(view.usable, full_seconds(view))
    return sized(plan, view, max(min(idea.seconds, worth), LONG_SHARE * worth, min(WORTH_S, worth)))


def _average(idea: Idea, start: Plan, view: View) -> tuple[Plan | None, list[str]]:
    there = {i.number: i for i in view.trained() if i.adapter}
    numbers = tuple(dict.fromkeys(idea.changes.average))
    if len(numbers) < 2 or any(n not in there for n in numbers):
        known = ", ".join(map(str, sorted(there))) or "none"
        return None, [f"average = {list(numbers)}: name at least two trained iterations with an adapter; there are {known}"]
    if len({repr(sorted(there[n].plan.lora.items(), key=str)) for n in numbers}) > 1:
        return None, [f"average = {list(numbers)}: their adapters are not of one shape"]
    plan = replace(
        start,
        phase="polish",
        hypothesis=idea.hypothesis,
        reason="averaging costs no training",
        parent=None,
        expected_gain=idea.expected_gain,
        knob=idea.knob,
        method="average",
        average=numbers,
        author="llm",
        evidence="",
    )
    given = sized(plan, view, 1.0)
    return (given, []) if given else (None, ["there is no time left to measure an average"])


def _wished(idea: Idea) -> list[DataChange]:
    """Return the idea's data changes, with the program that it wishes for."""
    changes = list(idea.changes.data)
    if idea.program and not any(c.do == "put" and c.operation == "program" for c in changes):
        changes.append(DataChange(do="put", operation="program", args={"name": idea.program.name}))
    return changes


def _recipe(recipe: tuple[Operation, ...], idea: Idea, view: View, desk: Desk, problems: list[str]) -> tuple[Operation, ...]:
    wished = idea.program.name if idea.program else None
    known = set(re.findall(r"^- (\w+)\(", view.operations, re.MULTILINE))
    steps = list(recipe)
    for change in _wished(idea):
        name = change.operation
        held = next((k for k, o in enumerate(steps) if o.name == name), None)
        if change.do == "take_out":
            if held is None:
                problems.append(f"the recipe has no {name} to take out; it has {', '.join(o.name for o in steps)}")
            elif name in ("drop_leaks", "kind"):
                problems.append(f"{name} stays: without it the plan would be refused")
            else:
                del steps[held]
            continue
        if name not in known or name not in OPERATIONS:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
            problems.append(f"there is no data operation {name!r}; {hint}")
            continue
        unknown = sorted(set(change.args) - OPERATIONS[name][1])
        if unknown:
            problems.append(f"{name} takes {', '.join(sorted(OPERATIONS[name][1])) or 'no arguments'}, not {', '.join(unknown)}")
            continue
        if name == "program" and change.args.get("name") not in {*desk.programs.names(), wished}:
            there = ", ".join(desk.programs.names()) or "none"
            problems.append(f'there is no program {change.args.get("name")!r} (there are: {there}); ask for it in "program"')
            continue
        put = Operation(name, {k: v for k, v in change.args.items() if v is not None})
        if fault := _fault(put, desk):
            problems.append(f"{name} with {put.args}: {fault}")
            continue
        if held is not None:
            steps[held] = put
        else:
            steps.insert(_place(name, steps), put)
    return tuple(steps)


def _fault(step: Operation, desk: Desk) -> str:
    """Say what an operation does not like of its arguments, by trying it on a few rows; what needs a maker is not tried."""
    if step.name in MADE:
        return ""
    try:
        OPERATIONS[step.name][0](list(desk.rows[:TRIED]), step.args, desk.context)
    except (TypeError, ValueError, ArithmeticError) as exc:
        return str(exc)
    return ""


def _place(name: str, steps: Sequence[Operation]) -> int:
    before = PLACES.get(name, OTHERWISE)
    return next((k for k, o in enumerate(steps) if o.name in before), len(steps))


def _merged(held: dict[str, Any], changes: dict[str, Any], problems: list[str], group: str) -> dict[str, Any]:
    """Set and unset arguments; those that sizes and later plans are worked out from keep a value."""
    merged = {**held, **changes}
    for name, value in changes.items():
        if value is None and name in NEEDED:
            problems.append(f"{group}.{name} must keep a value; give a number")
        elif value is None:
            del merged[name]
    return merged


def _at_its_rate(plan: Plan, start: Plan, idea: Idea, view: View) -> Plan:
    """On a GPU, give all weights in an adapter's place their share of its rate, or the other way round, where none is named."""
    if not view.machine["gpu"] or bool(plan.lora) == bool(start.lora) or "learning_rate" in idea.changes.trainer:
        return plan
    rate = float(start.trainer["learning_rate"]) * (1 / FULL_RATE if plan.lora else FULL_RATE)
    return replace(plan, trainer={**plan.trainer, "learning_rate": float(f"{rate:.2g}")})


def _parent(idea: Idea, start: Plan, view: View, problems: list[str]) -> int | None:
    if not idea.go_on:
        return None
    champion: Iteration | None = next((i for i in view.trained() if i.number == view.champion and i.adapter), None)
    if champion is None:
        problems.append('"go_on": there is no champion to go on from yet; set it to false')
        return None
    shape = {} if idea.changes.full_weights else {**start.lora, **idea.changes.lora}
    if not champion.plan.lora or champion.plan.lora != shape:
        problems.append('"go_on": the champion\'s adapter has another shape; leave "lora" as it is, or set "go_on" to false')
    return champion.number
