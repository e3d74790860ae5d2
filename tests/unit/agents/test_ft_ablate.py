from dataclasses import replace
from typing import Any

import pytest
from ft_agent.ablate import ablations
from ft_agent.changes import differences
from ft_agent.effects import table
from ft_agent.plan import Iteration, Operation, Plan
from ft_cases import a_plan, an_iteration
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


KNOBS = ["rate", "new argument", "rank", "dropout", "program", "verify out", "rebalance"]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(KNOBS), min_size=1))
def test_each_part_is_put_back_alone_whatever_the_champion_is_made_of(parts: set[str]) -> None:
    plan = START
    for knob in KNOBS:
        plan = changed(plan, knob) if knob in parts else plan
    whole, *minus = ablations(champion(trainer=plan.trainer, lora=plan.lora, data=plan.data), START, 25.0)
    assert len(minus) == len(parts)
    put_back = [differences(whole, m) for m in minus]
    assert all(len(changes) == 1 for changes in put_back)
    assert {c.knob for changes in put_back for c in changes} == {c.knob for c in differences(replace(START, seconds=25.0), whole)}
    # all parts put back are the starting plan
    assert all(m.seconds == 25.0 and m.parent is None and m.phase == "probe" for m in minus)


def test_operations_shared_with_the_start_are_taken_out_by_how_many_rows_they_moved_but_never_the_guard_against_leaks() -> None:
    log = tuple(
        {"operation": name, "args": {}, "rows_in": 100, "rows_out": out}
        for name, out in (("clean", 90), ("verify", 40), ("dedupe", 100), ("drop_leaks", 10))
    )
    names = [p.knob for p in ablations(champion(log), START, 25.0)]
    assert names == ["the champion's settings again", "without data.verify", "without data.clean"]


def test_what_was_measured_already_is_not_repeated() -> None:
    best = champion(trainer={**START.trainer, "learning_rate": 0.004})
    everything = ablations(best, START, 25.0)
    assert ablations(best, START, 25.0, known=everything[:1]) == everything[1:]
    # the starting plan itself is the champion without its rate
    assert ablations(best, START, 25.0, known=[START]) == everything[:1]


def test_the_parts_effects_are_booked_by_the_table() -> None:
    best = champion(trainer={**START.trainer, "learning_rate": 0.004}, data=tuple(o for o in START.data if o.name != "verify"))
    done = [an_iteration(10 + n, 0.7 - 0.2 * n, plan=p) for n, p in enumerate(ablations(best, START, 25.0))]
    rows = {e.knob: e for e in table(done, None)}
    assert set(rows) == {"trainer.learning_rate", "data.verify"}
    assert rows["trainer.learning_rate"].effect == pytest.approx(-0.2)
    assert all(e.against == 10 and e.confirmed is False for e in rows.values())


def test_a_champion_that_is_an_average_is_taken_apart_by_its_settings() -> None:
    averaged = champion(method="average", average=(3, 4), trainer={**START.trainer, "learning_rate": 0.004})
    whole, *minus = ablations(averaged, START, 25.0)
    assert (whole.method, whole.average) == ("sft", ())
    assert [m.knob for m in minus] == ["without trainer.learning_rate"]
