from dataclasses import replace
from typing import Any

import pytest
from ft_agent.ablate import next_ablation, parts, whole
from ft_agent.changes import differences
from ft_agent.effects import table
from ft_agent.figures import hypotheses
from ft_agent.plan import Iteration, Operation, Plan
from ft_cases import a_plan, a_view, an_iteration
from hypothesis import given, settings
from hypothesis import strategies as st

START = a_plan(seconds=30.0)


def champion(log: tuple[dict[str, Any], ...] = (), **changes: Any) -> Iteration:
    return an_iteration(9, 0.7, plan=replace(START, phase="exploit", parent=4, seconds=200.0, **changes), data_log=log)


def changed(plan: Plan, knob: str) -> Plan:
    data = plan.data
    if knob == "rate":
        return replace(plan, trainer={**plan.trainer, "learning_rate": 0.004})
    if knob == "new argument":
        return replace(plan, trainer={**plan.trainer, "warmup_steps": 3})
    if knob == "rank":
        return replace(plan, lora={**plan.lora, "r": 64, "lora_alpha": 128})
    if knob == "dropout":
        return replace(plan, lora={**plan.lora, "lora_dropout": 0.1})
    if knob == "program":
        return replace(plan, data=(*data[:4], Operation("program", {"name": "shorter"}), *data[4:]))
    if knob == "verify out":
        return replace(plan, data=tuple(o for o in data if o.name != "verify"))
    return replace(plan, data=tuple(Operation("rebalance", {"power": 1.0}) if o.name == "rebalance" else o for o in data))


def taken_apart(best: Iteration, known: tuple[Plan, ...] = ()) -> tuple[Plan, ...]:
    settings = whole(best, START, 25.0)
    return (settings, *parts(settings, START, best.data_log, known))


KNOBS = ["rate", "new argument", "rank", "dropout", "program", "verify out", "rebalance"]


@settings(max_examples=60)
@given(st.sets(st.sampled_from(KNOBS), min_size=1))
def test_each_part_is_put_back_alone_whatever_the_champion_is_made_of(changed_knobs: set[str]) -> None:
    plan = START
    for knob in KNOBS:
        plan = changed(plan, knob) if knob in changed_knobs else plan
    settings_, *minus = taken_apart(champion(trainer=plan.trainer, lora=plan.lora, data=plan.data))
    assert len(minus) == len(changed_knobs)
    put_back = [differences(settings_, m) for m in minus]
    assert all(len(changes) == 1 for changes in put_back)
    assert {c.knob for changes in put_back for c in changes} == {
        c.knob for c in differences(replace(START, seconds=25.0), settings_)
    }
    assert all(m.seconds == 25.0 and m.parent is None and m.phase == "probe" for m in minus)


def test_operations_shared_with_the_start_are_taken_out_by_how_many_rows_they_moved_but_never_the_guard_against_leaks() -> None:
    log = tuple(
        {"operation": name, "args": {}, "rows_in": 100, "rows_out": out}
        for name, out in (("clean", 90), ("verify", 40), ("dedupe", 100), ("drop_leaks", 10))
    )
    names = [p.knob for p in taken_apart(champion(log))]
    assert names == ["the champion's settings again", "without data.verify", "without data.clean"]


def test_what_was_tried_already_is_not_repeated() -> None:
    best = champion(trainer={**START.trainer, "learning_rate": 0.004})
    assert len(taken_apart(best)) == 2
    # the starting plan itself is the champion without its rate
    assert len(taken_apart(best, known=(START,))) == 1


def test_the_parts_effects_are_booked_by_the_table() -> None:
    best = champion(trainer={**START.trainer, "learning_rate": 0.004}, data=tuple(o for o in START.data if o.name != "verify"))
    done = [an_iteration(10 + n, 0.7 - 0.2 * n, plan=p) for n, p in enumerate(taken_apart(best))]
    rows = {e.knob: e for e in table(done, None)}
    assert set(rows) == {"trainer.learning_rate", "data.verify"}
    assert rows["trainer.learning_rate"].effect == pytest.approx(-0.2)
    assert all(e.against == 10 and e.confirmed is False for e in rows.values())
    # they are no planner's hypotheses, and where both are refuted the champion owes both score
    assert hypotheses(done, tuple(rows.values())).keys() == {"ablation"}
    assert hypotheses(done, tuple(rows.values()))["ablation"]["refuted"] == 2


def test_a_champion_that_is_an_average_is_taken_apart_by_its_settings() -> None:
    averaged = champion(method="average", average=(3, 4), trainer={**START.trainer, "learning_rate": 0.004})
    settings_, *minus = taken_apart(averaged)
    assert (settings_.method, settings_.average) == ("sft", ())
    assert [m.knob for m in minus] == ["without trainer.learning_rate"]


def ablated(view: Any, *statuses: str) -> list[str]:
    """What is done with the time left over, where the ablations end as told, then all well."""
    told, knobs = list(statuses), []
    while (plan := next_ablation(view)) is not None:
        status = told.pop(0) if told else "trained"
        knobs.append(plan.knob)
        number = len(view.iterations) + 1
        done = an_iteration(number, 0.4 if status == "trained" else None, status, plan=plan)
        view = replace(view, iterations=(*view.iterations, done), usable=view.usable - plan.seconds - 6.0)
    return knobs


def ended(**changes: Any) -> Any:
    """The end of a run whose champion has a rate and a mix of its own."""
    best = champion(
        trainer={**START.trainer, "learning_rate": 0.004},
        data=tuple(Operation("rebalance", {"power": 1.0}) if o.name == "rebalance" else o for o in START.data),
    )
    log = ({"operation": "clean", "args": {}, "rows_in": 10, "rows_out": 9},)
    first, best = an_iteration(1, 0.3, plan=START), replace(best, data_log=log)
    return a_view(iterations=(first, replace(best, number=2)), champion=2, speed=4.0, **changes)


def test_the_time_left_over_takes_the_champion_apart_once() -> None:
    assert ablated(ended()) == [
        "the champion's settings again",
        "without trainer.learning_rate",
        "without data.rebalance.power",
        "without data.clean",
    ]
    assert ablated(ended(usable=80.0)) == ["the champion's settings again", "without trainer.learning_rate"]
    assert ablated(ended(usable=10.0)) == []


def test_an_ablation_that_was_stopped_is_not_tried_again() -> None:
    assert ablated(ended(), "caught") == ["the champion's settings again"]
    assert ablated(ended(), "trained", "failed")[1:3] == ["without trainer.learning_rate", "without data.rebalance.power"]


def test_the_base_model_has_no_parts() -> None:
    assert next_ablation(a_view(iterations=(an_iteration(1, 0.0),), champion=0)) is None
