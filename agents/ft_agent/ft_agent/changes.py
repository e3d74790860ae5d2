"""In which knobs two plans differ, worked out from the plans themselves: what a planner says it changed does not count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ft_agent.plan import Operation, Plan

# Trainings whose lengths differ by less than this factor had the same time: measured set-up and speed vary by about as much.
SAME_SECONDS = 1.25
# All weights want this share of an adapter's learning rate (about a tenth, Schulman and Thinking Machines Lab 2025, "LoRA Without
# Regret"): the change of both is one knob.
FULL_RATE = 0.1
# Values longer than this are told by their beginning.
VALUE_LENGTH = 60


@dataclass(frozen=True)
class Change:
    """One knob that two plans set differently, with both values in words."""

    knob: str
    before: str
    after: str


def differences(before: Plan, after: Plan) -> tuple[Change, ...]:
    """Return every knob the two plans set differently; none: the one repeats the other.

    A knob is one argument of trainer or adapter, one data operation (put in, taken out, or with other arguments), the order of
    the operations, the method, the iterations averaged, the phase (it decides the schedule), what it goes on from, the seconds.
    Rank and alpha that keep their ratio are one knob: it is the ratio that sets how hard the adapter pulls. So are all weights in
    an adapter's place at `FULL_RATE` of its rate.
    """
    plain = [
        _change("phase", before.phase, after.phase),
        _change("parent", before.parent, after.parent),
        _change("method", before.method, after.method),
        _change("average", list(before.average), list(after.average)),
        None if same_seconds(before, after) else Change("seconds", f"{before.seconds:.0f}", f"{after.seconds:.0f}"),
    ]
    found = [c for c in plain if c is not None]
    # another method has other arguments: those that only one of the two knows belong to the change of method
    shared = None if before.method == after.method else set(before.trainer) & set(after.trainer)
    if before.trainer != after.trainer:
        found += _settings("trainer", before.trainer, after.trainer, shared)
    if before.lora != after.lora:
        if full_instead(before, after):
            found = [c for c in found if c.knob != "trainer.learning_rate"]
        found += _adapter(before.lora, after.lora)
    if before.data != after.data:
        found += _recipe(before.data, after.data)
    return tuple(found)


def full_instead(before: Plan, after: Plan) -> bool:
    """Whether one plan trains all weights where the other has an adapter, each at the rate that follows from the other's."""
    if bool(before.lora) == bool(after.lora):
        return False
    adapter, full = (before, after) if before.lora else (after, before)
    named, its = (p.trainer.get("learning_rate") for p in (adapter, full))
    return named is not None and its is not None and math.isclose(float(its), FULL_RATE * float(named), rel_tol=0.01)


def differing_parts(before: Plan, after: Plan) -> int:
    """Count the parts that two plans do not share: at most as many as there are `differences`, and told in no time."""
    return (
        (before.phase != after.phase)
        + (before.parent != after.parent)
        + (before.method != after.method)
        + (before.average != after.average)
        + (not same_seconds(before, after))
        + (before.trainer != after.trainer)
        + (before.lora != after.lora)
        + (before.data != after.data)
    )


def same_seconds(before: Plan, after: Plan) -> bool:
    """Whether the two were given about the same training time."""
    low, high = sorted((before.seconds, after.seconds))
    return high <= SAME_SECONDS * low or high == low


def _settings(group: str, before: Mapping[str, Any], after: Mapping[str, Any], only: set[str] | None = None) -> list[Change]:
    names = sorted((set(before) | set(after)) if only is None else only)
    return [c for n in names if (c := _change(f"{group}.{n}", before.get(n, "default"), after.get(n, "default")))]


def _adapter(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    if not before or not after:
        change = _change("lora", "adapter" if before else "full weights", "adapter" if after else "full weights")
        return [change] if change else []
    found = _settings("lora", _sorted_modules(before), _sorted_modules(after))
    ratios = [_ratio(x) for x in (before, after)]
    if {"lora.r", "lora.lora_alpha"} <= {c.knob for c in found} and None not in ratios and ratios[0] == ratios[1]:
        return [c for c in found if c.knob != "lora.lora_alpha"]
    return found


def _ratio(lora: Mapping[str, Any]) -> float | None:
    try:
        return round(float(lora["lora_alpha"]) / float(lora["r"]), 9)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _sorted_modules(lora: Mapping[str, Any]) -> dict[str, Any]:
    modules = lora.get("target_modules")
    return {**lora, "target_modules": sorted(modules)} if isinstance(modules, list | tuple) else dict(lora)


def _recipe(before: Sequence[Operation], after: Sequence[Operation]) -> list[Change]:
    found: list[Change] = []
    names = list(dict.fromkeys([o.name for o in before] + [o.name for o in after]))
    common = set()
    for name in names:
        had, has = ([o for o in recipe if o.name == name] for recipe in (before, after))
        if len(had) == len(has):
            common.add(name)
            for old, new in zip(had, has, strict=True):
                found += _operation(old, new)
            continue
        # one more or one less of it is one knob, two more are two
        found += [Change(f"data.{name}", _told(o.args), "out") for o in _less(had, has)]
        found += [Change(f"data.{name}", "out", _told(o.args)) for o in _less(has, had)]
    order = [[o.name for o in recipe if o.name in common] for recipe in (before, after)]
    if order[0] != order[1]:
        found.append(Change("data order", " ".join(order[0])[:VALUE_LENGTH], " ".join(order[1])[:VALUE_LENGTH]))
    return found


def _less(some: Sequence[Operation], others: Sequence[Operation]) -> list[Operation]:
    left = list(some)
    for other in others:
        if other in left:
            left.remove(other)
    return left


def _operation(before: Operation, after: Operation) -> list[Change]:
    """One operation is one knob; where a single argument differs it is named."""
    arguments = _settings(f"data.{before.name}", before.args, after.args)
    return arguments if len(arguments) < 2 else [Change(f"data.{before.name}", _told(before.args), _told(after.args))]


def _change(knob: str, before: Any, after: Any) -> Change | None:
    return None if before == after else Change(knob, _told(before), _told(after))


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"
