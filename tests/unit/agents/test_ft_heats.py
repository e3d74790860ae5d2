"""Several plans, or a guess: short trainings first, and only the best goes on."""

from dataclasses import replace
from typing import Any

import pytest
from ft_agent.heats import next_in_heat, open_heat
from ft_agent.history import History
from ft_agent.plan import Heat, Iteration, Plan
from ft_agent.view import View
from ft_cases import a_plan, a_score, a_view, an_iteration

VIEW = a_view(speed=4.0, usable=250.0)


def idea(knob: str, **changes: Any) -> Plan:
    plan = a_plan(phase="exploit", knob=knob, author="llm", seconds=100.0, measure="dev", expected_gain=0.1)
    return replace(plan, **changes)


def noisy(value: float) -> Any:
    """A score whose items agree in nothing but the mean."""
    score = a_score(value)
    return replace(score, credit={k: value + (0.02 if n % 2 else -0.02) for n, k in enumerate(score.credit)})


def after(history: History, *outcomes: Iteration) -> History:
    return replace(history, iterations=(*history.iterations, *outcomes))


def opened(*plans: Plan, view: View = VIEW, before: tuple[Iteration, ...] = ()) -> History:
    heat = open_heat(plans, replace(view, iterations=before, next_number=len(before) + 1))
    assert heat is not None
    return replace(History(iterations=before), heat=heat)


def probed(history: History, number: int, value: float | None, **changes: Any) -> History:
    plan = next_in_heat(history, VIEW)
    assert plan is not None and plan.phase == "probe"
    done = an_iteration(number, value, **{"plan": plan, **changes})
    return after(history, replace(done, own=noisy(value)) if value is not None else done)


def test_rules_alone_and_a_plan_with_evidence_need_no_heat() -> None:
    assert open_heat((a_plan(phase="exploit"),), VIEW) is None
    assert open_heat((idea("rate", evidence="2v1"),), VIEW) is None
    assert open_heat((replace(idea("a"), phase="probe"),), VIEW) is None, "it is a probe already"
    assert open_heat((), VIEW) is None


def test_where_short_trainings_would_leave_nothing_for_the_winner_the_best_plan_goes_at_once() -> None:
    assert open_heat((idea("a"), idea("b")), a_view(speed=4.0, usable=50.0)) is None


def test_the_plan_that_promises_more_a_second_comes_first() -> None:
    heat = open_heat((idea("slow"), idea("fast", expected_gain=0.3)), VIEW)
    assert heat is not None and [p.knob for p in heat.plans] == ["fast", "slow"]
    assert Heat.from_json(heat.to_json()) == heat


def test_each_is_trained_shortly_and_alone_then_the_best_goes_on_from_there() -> None:
    history = opened(idea("a"), idea("b"))
    first = next_in_heat(history, VIEW)
    assert first is not None
    assert (first.phase, first.knob, first.measure, first.parent) == ("probe", "probe of a", "own", None)
    history = probed(probed(history, 1, 0.3), 2, 0.6)
    final = next_in_heat(history, VIEW)
    assert final is not None
    assert (final.phase, final.knob, final.parent, final.evidence) == ("exploit", "b", 2, "iteration 2 led its heat")
    assert next_in_heat(after(history, an_iteration(3, 0.7, plan=final)), VIEW) is None


def test_several_probes_are_all_run_in_full_and_nothing_after_them() -> None:
    history = opened(*(idea(name, phase="probe", seconds=30.0, measure="own") for name in "abc"))
    for number in (1, 2, 3):
        plan = next_in_heat(history, VIEW)
        assert plan is not None and (plan.seconds, plan.parent) == (30.0, None)
        history = probed(history, number, 0.3 * number)
    assert next_in_heat(history, VIEW) is None


def test_a_guess_must_prove_itself_first() -> None:
    history = probed(opened(idea("guess")), 1, 0.4)
    final = next_in_heat(history, VIEW)
    assert final is not None and (final.phase, final.parent) == ("exploit", 1)


def test_a_guess_that_an_earlier_probe_beats_beyond_the_noise_costs_its_probe_and_no_more() -> None:
    earlier = replace(an_iteration(1, 0.8), own=noisy(0.8))
    history = probed(opened(idea("guess"), before=(earlier,)), 2, 0.2)
    assert next_in_heat(history, VIEW) is None


@pytest.mark.parametrize("status", ["caught", "failed"])
def test_plans_that_validation_or_training_stops_are_out(status: Any) -> None:
    history = probed(probed(opened(idea("a"), idea("b")), 1, None, status=status), 2, 0.4)
    final = next_in_heat(history, VIEW)
    assert final is not None and final.knob == "b"
    assert next_in_heat(probed(opened(idea("a")), 1, None, status=status), VIEW) is None


def test_without_a_heat_there_is_nothing_to_go_on_with() -> None:
    assert next_in_heat(History(), VIEW) is None
