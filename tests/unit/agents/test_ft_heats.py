"""Several plans, or a guess: short probes first, and only the best goes on."""

from dataclasses import replace
from typing import Any

import pytest
from ft_agent.heats import entered, needs_heat, next_in_heat
from ft_agent.history import History
from ft_agent.plan import Iteration, Plan
from ft_cases import a_plan, a_view, an_iteration

VIEW = a_view(speed=4.0, usable=250.0)


def idea(knob: str, **changes: Any) -> Plan:
    return a_plan(phase="exploit", knob=knob, author="llm", seconds=100.0, measure="dev", expected_gain=0.1, **changes)


def after(history: History, *iterations: Iteration) -> History:
    return replace(history, iterations=(*history.iterations, *iterations))


def heat(*plans: Plan, before: tuple[Iteration, ...] = ()) -> History:
    history = History(iterations=before)
    return history.after({"kind": "heat", "plans": [p.to_json() for p in plans]})


def test_rules_alone_and_plans_with_evidence_need_no_heat() -> None:
    assert not needs_heat((a_plan(phase="exploit"),), VIEW)
    assert not needs_heat((idea("rate", evidence="rate 0.001 → 0.0025"),), VIEW)
    assert not needs_heat((), VIEW)


def test_several_plans_compete_and_a_guess_must_prove_itself() -> None:
    assert needs_heat((idea("a"), idea("b")), VIEW)
    assert needs_heat((idea("a"),), VIEW)
    assert not needs_heat((replace(idea("a"), phase="probe"),), VIEW), "it is a probe already"


def test_where_probes_would_leave_no_time_for_the_winner_the_best_plan_goes_at_once() -> None:
    assert not needs_heat((idea("a"), idea("b")), a_view(speed=4.0, usable=60.0))


def test_the_plan_that_promises_more_a_second_comes_first() -> None:
    slow, fast = idea("slow"), replace(idea("fast"), expected_gain=0.3)
    assert [p.knob for p in entered((slow, fast), VIEW)] == ["fast", "slow"]


def test_each_is_probed_alone_then_the_best_goes_on_from_its_probe() -> None:
    history = heat(idea("a"), idea("b"))
    first = next_in_heat(history, VIEW)
    assert first is not None
    assert (first.phase, first.knob, first.measure, first.parent) == ("probe", "probe of a", "own", None)
    history = after(history, an_iteration(1, 0.3, plan=first))
    second = next_in_heat(history, VIEW)
    assert second is not None and second.knob == "probe of b"
    history = after(history, an_iteration(2, 0.6, plan=second))
    final = next_in_heat(history, VIEW)
    assert final is not None
    assert (final.phase, final.knob, final.parent) == ("exploit", "b", 2)
    assert final.evidence == "probe 2 was the best of 2"
    assert next_in_heat(after(history, an_iteration(3, 0.7, plan=final)), VIEW) is None


def test_a_guess_that_an_earlier_probe_beats_beyond_the_noise_costs_its_probe_and_no_more() -> None:
    history = heat(idea("guess"), before=(an_iteration(1, 0.8),))
    probe = next_in_heat(history, VIEW)
    assert probe is not None and probe.phase == "probe"
    assert next_in_heat(after(history, an_iteration(2, 0.2, plan=probe)), VIEW) is None


@pytest.mark.parametrize("status", ["caught", "failed"])
def test_plans_that_validation_or_training_stops_are_out(status: str) -> None:
    history = after(heat(idea("a"), idea("b")), an_iteration(1, None, status), an_iteration(2, 0.4))
    final = next_in_heat(history, VIEW)
    assert final is not None and final.knob == "b"
    assert next_in_heat(after(heat(idea("a")), an_iteration(1, None, status)), VIEW) is None


def test_without_a_heat_there_is_nothing_to_go_on_with() -> None:
    assert next_in_heat(History(), VIEW) is None
