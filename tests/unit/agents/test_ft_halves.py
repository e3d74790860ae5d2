"""The experiment of learning from one's own answers: two halves that differ in one operation."""

from dataclasses import replace

import pytest
from ft_agent.changes import differences
from ft_agent.halves import ASKED, Halves
from ft_cases import a_view, an_iteration

VIEW = a_view(speed=4.0)


@pytest.mark.parametrize("self_taught", [False, True])
def test_two_halves_fill_the_time_and_then_nothing_more_is_asked(self_taught: bool) -> None:
    planner = Halves(self_taught)
    (first,) = planner.propose(VIEW)
    assert (first.phase, first.parent, first.author) == ("exploit", None, planner.name)
    assert 0.4 * VIEW.usable < first.seconds < 0.5 * VIEW.usable
    done = an_iteration(1, 0.4, plan=first)
    later = replace(VIEW, iterations=(done,), usable=140.0)
    (second,) = planner.propose(later)
    assert second.parent == 1 and second.seconds > 100
    assert planner.propose(replace(later, iterations=(done, an_iteration(2, 0.5, plan=second)))) == ()


def test_the_second_halves_differ_in_one_operation() -> None:
    plans = []
    for self_taught in (False, True):
        planner = Halves(self_taught)
        (first,) = planner.propose(VIEW)
        plans += planner.propose(replace(VIEW, iterations=(an_iteration(1, 0.4, plan=first),), usable=140.0))
    assert [change.knob for change in differences(*plans)] == ["data.self_generate"]
    names = [o.name for o in plans[1].data]
    assert names.index("dedupe") < names.index("self_generate") < names.index("rebalance")
    assert next(o for o in plans[1].data if o.name == "self_generate").args == ASKED


def test_what_validation_stops_is_mended_like_any_plan() -> None:
    planner = Halves(True)
    (first,) = planner.propose(VIEW)
    stopped = ({"rung": "steps", "problem": "nan: the loss is not finite", "seconds": 1.0},)
    caught = an_iteration(1, None, "caught", plan=first, caught=stopped)
    (mended,) = planner.propose(replace(VIEW, iterations=(caught,)))
    assert mended.trainer["learning_rate"] < first.trainer["learning_rate"]
