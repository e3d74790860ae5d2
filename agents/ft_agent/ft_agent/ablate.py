"""The champion minus each of its parts, where time is left at the end: short trainings of one length.

They change nothing that is handed in unless one leads the champion; they say which parts it owes its score to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ft_agent.changes import Change, differences, full_instead
from ft_agent.offline import SLACK_S, fit_batch, probe_seconds
from ft_agent.plan import Iteration, Operation, Plan
from ft_agent.view import View

# how the plans of ablations are known, by author and reason
REASON = "ablation"

# What no ablation takes out: without it rows of the own split are trained on, and what they score means nothing.
NEVER_OUT = frozenset({"drop_leaks"})
# What follows from the time there is (`offline.fit_batch`) and is no choice of the champion's.
NO_PART = frozenset({"trainer.per_device_train_batch_size"})


def next_ablation(view: View) -> Plan | None:
    """Return the next ablation that is worth the time left over; None: all are done, or nothing is there to take apart.

    What is measured is told from the history, so that a run that was cut off goes on.
    """
    champion = next((i for i in view.iterations if i.number == view.champion), None)
    start = next((i.plan for i in view.trained() if i.plan.parent is None and i.plan.method != "average"), None)
    if champion is None or start is None:
        return None
    # never longer than the champion itself was trained: an ablation is to tell of it, not to outdo it
    seconds = min(probe_seconds(view), champion.plan.seconds)
    if view.usable < seconds + view.costs["overhead_own"] + SLACK_S:
        return None
    reason = f"{REASON} of iteration {champion.number}"
    done = [i for i in view.iterations if i.plan.reason == reason]
    if not done:
        return fit_batch(replace(whole(champion, start, seconds), reason=reason), view)
    # one that was stopped is not tried again, and the parts of a whole that was stopped are not tried at all
    if done[0].status != "trained":
        return None
    measured = [i.plan for i in view.iterations]
    return next((replace(p, reason=reason) for p in parts(done[0].plan, start, champion.data_log, measured)), None)


def under_way(view: View) -> bool:
    """Whether the planner had nothing more to try and the time left over goes to ablations: it is not asked again."""
    return bool(view.iterations) and view.iterations[-1].plan.reason.startswith(REASON)


def whole(champion: Iteration, start: Plan, seconds: float) -> Plan:
    """Return the champion's settings as a short training of their own: what its parts are held against."""
    return replace(
        champion.plan,
        phase="probe",
        parent=None,
        seconds=seconds,
        measure="own",
        method=start.method if champion.plan.method == "average" else champion.plan.method,
        average=(),
        evidence="",
        expected_gain=0.0,
        author=REASON,
        knob="the champion's settings again",
        hypothesis="a fresh short training of the champion's settings is what its parts are held against",
        reason=REASON,
    )


def parts(
    settings: Plan, start: Plan, data_log: Sequence[Mapping[str, Any]] = (), known: Sequence[Plan] = ()
) -> tuple[Plan, ...]:
    """Return the settings minus one part each, of the same length.

    The parts are what they differ in from the starting plan, each put back; then the data operations they share with that plan,
    each taken out, those that moved most rows first.

    Args:
        settings: of `whole`.
        start: the plan that the run began with.
        data_log: of the champion's training set.
        known: plans tried already: they are not repeated.
    """
    there = replace(start, phase=settings.phase, parent=settings.parent, seconds=settings.seconds, average=())
    found = [
        _minus(settings, _put_back(settings, there, c), c.knob, c.before)
        for c in differences(there, settings)
        if c.knob not in NO_PART
    ]
    moved = {
        o.name: sum(abs(int(d["rows_out"]) - int(d["rows_in"])) for d in data_log if d["operation"] == o.name)
        for o in settings.data
        if o in start.data and o.name not in NEVER_OUT
    }
    for name in sorted((n for n, rows in moved.items() if rows), key=lambda n: -moved[n]):
        less = replace(settings, data=tuple(o for o in settings.data if o.name != name))
        found.append(_minus(settings, less, f"data.{name}", "out"))
    return tuple(p for p in found if all(differences(p, other) for other in known))


def _minus(settings: Plan, plan: Plan, knob: str, value: str) -> Plan:
    return replace(
        plan,
        reason=settings.reason,
        knob=f"without {knob}",
        hypothesis=f"with {knob} back to {value} it scores higher: where this is refuted, the champion owes it score",
    )


def _put_back(settings: Plan, start: Plan, change: Change) -> Plan:
    """Return the plan with one knob set as the starting plan has it."""
    group, _, name = change.knob.partition(".")
    if change.knob == "method":
        return replace(settings, method=start.method, trainer={k: v for k, v in settings.trainer.items() if k in start.trainer})
    if change.knob == "lora":
        rate = _with(settings.trainer, start.trainer, ("learning_rate",)) if full_instead(settings, start) else settings.trainer
        return replace(settings, lora=start.lora, trainer=rate)
    if group == "trainer":
        return replace(settings, trainer=_with(settings.trainer, start.trainer, (name,)))
    if change.knob == "lora.r" and settings.lora.get("lora_alpha") != start.lora.get("lora_alpha"):
        # rank and alpha of one ratio are one knob
        return replace(settings, lora=_with(settings.lora, start.lora, ("r", "lora_alpha")))
    if group == "lora":
        return replace(settings, lora=_with(settings.lora, start.lora, (name,)))
    if change.knob == "data order":
        places = [o.name for o in start.data]
        common = sorted((o for o in settings.data if o.name in places), key=lambda o: places.index(o.name))
        back = iter(common)
        return replace(settings, data=tuple(next(back) if o.name in places else o for o in settings.data))
    return replace(settings, data=_recipe(settings.data, start.data, name.partition(".")[0]))


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
