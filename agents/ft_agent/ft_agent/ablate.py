"""The champion minus each of its parts: short trainings of one length, so that each part's effect can be booked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ft_agent.changes import Change, differences
from ft_agent.plan import Iteration, Operation, Plan

# What no ablation takes out: without it rows of the own split are trained on, and what they score means nothing.
NEVER_OUT = frozenset({"drop_leaks"})


def ablations(champion: Iteration, start: Plan, seconds: float, known: Sequence[Plan] = ()) -> tuple[Plan, ...]:
    """Return the champion's settings as a short fresh training, then the same minus one part each.

    The parts are what it differs in from the starting plan, each put back; then the data operations it shares with that plan,
    each taken out, those that moved most rows first.

    Args:
        champion: the best iteration.
        start: the plan that the run began with.
        seconds: how long each trains.
        known: plans measured already: they are not repeated.
    """
    whole = replace(
        champion.plan, phase="probe", parent=None, seconds=seconds, measure="own", average=(), evidence="", expected_gain=0.0
    )
    if whole.method == "average":
        whole = replace(whole, method=start.method)
    whole = replace(
        whole,
        knob="the champion's settings again",
        hypothesis="a fresh short training of the champion's settings is what its parts are held against",
        reason="ablation",
    )
    there = replace(start, phase=whole.phase, parent=None, seconds=seconds, average=())
    parts = [_minus(whole, _put_back(whole, there, c), c.knob, c.before) for c in differences(there, whole)]
    shared = [o for o in whole.data if o in there.data and o.name not in NEVER_OUT]
    for operation in sorted(shared, key=lambda o: -_moved(champion, o)):
        if _moved(champion, operation):
            less = replace(whole, data=tuple(o for o in whole.data if o != operation))
            parts.append(_minus(whole, less, f"data.{operation.name}", "out"))
    found: list[Plan] = []
    for plan in (whole, *parts):
        if not any(_same(plan, other) for other in (*known, *found)):
            found.append(plan)
    return tuple(found)


def _minus(whole: Plan, plan: Plan, knob: str, value: str) -> Plan:
    return replace(
        plan,
        knob=f"without {knob}",
        hypothesis=f"{knob} back to {value} costs score: it is a part the champion needs",
        reason=f"ablation of {whole.knob}",
    )


def _put_back(whole: Plan, start: Plan, change: Change) -> Plan:
    """Return the plan with one knob set as the starting plan has it."""
    group, _, name = change.knob.partition(".")
    if change.knob == "method":
        return replace(whole, method=start.method, trainer={k: v for k, v in whole.trainer.items() if k in start.trainer})
    if change.knob == "lora":
        return replace(whole, lora=start.lora)
    if group == "trainer":
        return replace(whole, trainer=_with(whole.trainer, start.trainer, (name,)))
    if change.knob == "lora.r" and whole.lora.get("lora_alpha") != start.lora.get("lora_alpha"):
        # rank and alpha of one ratio are one knob
        return replace(whole, lora=_with(whole.lora, start.lora, ("r", "lora_alpha")))
    if group == "lora":
        return replace(whole, lora=_with(whole.lora, start.lora, (name,)))
    if change.knob == "data order":
        places = [o.name for o in start.data]
        return replace(whole, data=tuple(sorted(whole.data, key=lambda o: places.index(o.name) if o.name in places else -1)))
    return replace(whole, data=_recipe(whole.data, start.data, name.partition(".")[0]))


def _with(values: dict[str, object], start: dict[str, object], names: Sequence[str]) -> dict[str, object]:
    kept = {k: v for k, v in values.items() if k not in names}
    return {**kept, **{n: start[n] for n in names if n in start}}


def _recipe(data: Sequence[Operation], start: Sequence[Operation], name: str) -> tuple[Operation, ...]:
    """Return the recipe with the operations of one name as the starting plan has them, each behind what it followed there."""
    had = [o for o in start if o.name == name]
    if sum(o.name == name for o in data) == len(had):
        back = iter(had)
        return tuple(next(back) if o.name == name else o for o in data)
    recipe = [o for o in data if o.name != name]
    for place, operation in enumerate(start):
        if operation.name == name:
            followed = {o.name for o in start[:place]}
            behind = max((n + 1 for n, o in enumerate(recipe) if o.name in followed), default=0)
            recipe.insert(behind, operation)
    return tuple(recipe)


def _moved(champion: Iteration, operation: Operation) -> int:
    """Rows that an operation of the champion's recipe took out or put in."""
    return sum(abs(int(d["rows_out"]) - int(d["rows_in"])) for d in champion.data_log if d["operation"] == operation.name)


def _same(plan: Plan, other: Plan) -> bool:
    return not differences(plan, other)
