from dataclasses import replace

import pytest
from ft_agent.offline import MAX_PROBES, Offline, first_plan, probe_seconds, read_outcome
from ft_agent.plan import Diagnosis, Iteration, Plan
from ft_agent.planner import Fallback
from ft_agent.view import View
from ft_cases import a_plan, a_score, a_view, an_iteration, operation

PLANNER = Offline()


def proposed(view: View) -> Plan:
    (plan,) = PLANNER.propose(view)
    assert plan is not None
    return plan


def caught(rung: str, problem: str, plan: Plan | None = None) -> Iteration:
    return an_iteration(1, None, "caught", plan=plan or a_plan(), caught=({"rung": rung, "problem": problem, "seconds": 0.1},))


def test_it_begins_with_a_short_probe_of_believable_data() -> None:
    plan = proposed(a_view())
    assert plan.phase == "probe"
    assert plan.measure == "own"
    assert 15 <= plan.seconds <= 30
    assert [o.name for o in plan.data][:6] == ["clean", "repair", "kind", "on_topic", "verify", "trust"]


def test_each_probe_turns_one_knob_against_the_best_and_says_why() -> None:
    first = an_iteration(1, 0.2, plan=proposed(a_view()))
    second = proposed(a_view(iterations=(first,), speed=5.0, usable=240.0))
    assert second.phase == "probe"
    assert second.trainer["learning_rate"] == 2.5 * first.plan.trainer["learning_rate"]
    assert {k: v for k, v in second.trainer.items() if k != "learning_rate"} == {
        k: v for k, v in first.plan.trainer.items() if k != "learning_rate"
    }
    assert second.data == first.plan.data
    assert second.reason


def test_probes_are_as_long_as_the_first_that_was_trained_or_nothing_could_be_compared() -> None:
    first = an_iteration(1, 0.2, plan=replace(proposed(a_view()), seconds=17.0))
    assert probe_seconds(a_view(iterations=(first,), speed=0.5)) == 17.0
    caught = an_iteration(1, None, "caught", plan=first.plan)
    assert probe_seconds(a_view(iterations=(caught,), speed=0.5)) == 96.0, "what was not trained sets no measure"


def test_a_rate_that_helped_is_followed_by_another_step_the_same_way_and_one_that_hurt_by_the_other() -> None:
    hours = {"wall_limit": 36000.0, "usable": 35000.0, "speed": 5.0}
    first = an_iteration(1, 0.2, plan=proposed(a_view()))
    second = an_iteration(2, 0.4, plan=proposed(a_view(iterations=(first,), **hours)))
    assert proposed(a_view(iterations=(first, second), **hours)).trainer["learning_rate"] == pytest.approx(6.2e-3, rel=0.02)
    worse = replace(second, own=a_score(0.1))
    assert proposed(a_view(iterations=(first, worse), **hours)).trainer["learning_rate"] == pytest.approx(4e-4)


def test_after_the_probes_it_exploits_the_best_one_from_its_adapter_with_most_of_the_time() -> None:
    first, second = an_iteration(1, 0.2, plan=proposed(a_view())), an_iteration(2, 0.4, plan=a_plan(knob="rate 0.0025"))
    plan = proposed(a_view(iterations=(first, second), speed=4.5, usable=190.0))
    assert (plan.phase, plan.parent, plan.measure) == ("exploit", 2, "dev")
    assert plan.seconds == pytest.approx(190 - 20 - 1)
    assert plan.lora == second.plan.lora


def test_without_time_for_probes_it_exploits_at_once() -> None:
    plan = proposed(a_view(wall_limit=80.0, usable=60.0))
    assert (plan.phase, plan.parent) == ("exploit", None)


def test_one_training_without_probes_leaves_room_for_a_second_look_where_that_costs_little() -> None:
    slow = {"wall_limit": 240.0, "usable": 213.0, "speed": 0.35, "costs": {"overhead_own": 13.0, "overhead_dev": 15.0}}
    first = proposed(a_view(**slow))
    assert (first.phase, first.parent, first.measure) == ("exploit", None, "dev")
    tried, second_look = 3 * 2 / 0.35, 18 + 15 + 1
    assert first.seconds == pytest.approx(213 - 15 - 1 - tried - second_look, abs=0.1)
    done = an_iteration(1, 0.5, plan=first)
    second = proposed(a_view(**{**slow, "usable": 34.0}, iterations=(done,), champion=1))
    assert (second.phase, second.parent, second.measure, second.seconds) == ("polish", 1, "dev", pytest.approx(18.0))
    dear = proposed(a_view(**{**slow, "usable": 190.0}))
    assert dear.seconds == pytest.approx(190 - 15 - 1), "more than a quarter of the time is too much"


def errors(said: str, right: object, n: int = 5) -> dict[str, object]:
    return {"errors": [{"response": said, "answer": right, "parsed": True, "prompt": f"p{k}"} for k in range(n)]}


def test_a_model_with_one_answer_for_everything_gets_more_rows_of_the_other_once() -> None:
    done = replace(an_iteration(1, 0.5, plan=a_plan(phase="exploit")), dev=a_score(0.5, "dev"))
    view = a_view(iterations=(done,), champion=1, usable=80.0, speed=4.0, feedback=errors('{"correct": true}', False))
    plan = proposed(view)
    assert (plan.phase, plan.parent, plan.knob) == ("polish", 1, "more of False")
    assert operation(plan.data, "favour").args == {"answer": False}
    assert plan.data[-1].name == "favour"
    again = proposed(replace(view, iterations=(done, an_iteration(2, 0.4, "caught", plan=plan, caught=()))))
    assert again.knob != plan.knob


@pytest.mark.parametrize(
    "feedback",
    [
        None,
        {},
        errors('{"correct": true}', False, n=3),
        {"errors": [*errors("yes", "no")["errors"], *errors("no", "yes")["errors"]]},
        {"errors": [{**e, "parsed": False} for e in errors("x", "no")["errors"]]},
        errors("5", 7),
        errors("yes", None),
    ],
    ids=["no feedback", "no errors", "few errors", "both ways", "no answer", "a number", "answers not shown"],
)  # fmt: skip
def test_errors_that_do_not_all_say_the_same_or_are_few_are_no_one_sided_model(feedback: dict[str, object] | None) -> None:
    done = replace(an_iteration(1, 0.5, plan=a_plan(phase="exploit")), dev=a_score(0.5, "dev"))
    plan = proposed(a_view(iterations=(done,), champion=1, usable=80.0, speed=4.0, feedback=feedback))
    assert plan.knob.startswith("weak slices first")


def test_what_another_model_than_the_champion_answered_is_not_held_against_the_champion() -> None:
    champion = replace(an_iteration(1, 0.5, plan=a_plan(phase="exploit")), dev=a_score(0.5, "dev"))
    loser = replace(an_iteration(2, 0.4, plan=a_plan(phase="polish")), dev=a_score(0.4, "dev"))
    view = a_view(iterations=(champion, loser), champion=1, usable=80.0, speed=4.0, feedback=errors("yes", "no"))
    assert proposed(view).knob.startswith("weak slices first")


def test_without_time_for_an_evaluation_it_trains_on_and_measures_on_its_own_split() -> None:
    plan = proposed(a_view(wall_limit=60.0, usable=30.0))
    assert plan.measure == "own"
    assert plan.seconds == pytest.approx(23.0)


def test_a_full_run_that_takes_a_second_is_still_a_run_and_is_measured() -> None:
    plan = proposed(a_view(wall_limit=60.0, usable=45.0, speed=6400.0))
    assert (plan.phase, plan.measure, plan.seconds) == ("exploit", "dev", 1.0)


def test_without_evaluations_left_it_never_plans_one() -> None:
    assert proposed(a_view(wall_limit=80.0, usable=60.0, evaluations_left=0)).measure == "own"


def test_when_nothing_worth_its_time_is_left_it_stops() -> None:
    assert PLANNER.propose(a_view(usable=15.0)) == ()


def test_no_plan_ever_asks_for_more_than_is_left() -> None:
    for usable in range(5, 400, 7):
        for history in ((), (an_iteration(1),), (an_iteration(1), an_iteration(2, plan=a_plan(phase="exploit")))):
            plans = PLANNER.propose(a_view(usable=float(usable), iterations=history, speed=4.0, champion=len(history)))
            for plan in plans:
                overhead = 20.0 if plan.measure == "dev" else 6.0
                assert plan.seconds + overhead <= usable - 0.5


def test_with_hours_the_number_of_probes_is_bounded_and_a_run_stops_at_the_epochs_worth_training() -> None:
    history: list[Iteration] = []
    view = a_view(wall_limit=43200.0, usable=41000.0, speed=20.0)
    while (plan := proposed(replace(view, iterations=tuple(history)))).phase == "probe":
        history.append(an_iteration(len(history) + 1, 0.3, plan=plan))
    assert 5 <= len(history) <= MAX_PROBES
    assert plan.seconds == pytest.approx(4 * 1600 / 20)
    assert len({i.plan.knob for i in history}) == len(history)


def test_with_time_for_more_full_runs_it_turns_knobs_at_full_length_each_once() -> None:
    view = a_view(wall_limit=43200.0, usable=30000.0, speed=20.0, champion=1)
    history = [an_iteration(1, 0.5, plan=a_plan(phase="exploit", knob="more time"))]
    for _ in range(5):
        plan = proposed(replace(view, iterations=tuple(history)))
        assert plan.phase == "exploit"
        assert plan.knob not in {i.plan.knob for i in history}
        history.append(an_iteration(len(history) + 1, 0.4, plan=plan))


def test_what_is_left_after_exploiting_goes_to_the_slices_that_fail() -> None:
    done = an_iteration(1, 0.5, plan=a_plan(phase="exploit"))
    plan = proposed(a_view(iterations=(done,), champion=1, usable=80.0, speed=4.0))
    assert (plan.phase, plan.parent) == ("polish", 1)
    assert operation(plan.data, "curriculum").args["boost"] > 0
    assert "rounding" in plan.reason
    assert plan.trainer["learning_rate"] < done.plan.trainer["learning_rate"]


@pytest.mark.parametrize(
    ("rung", "problem", "check"),
    [
        ("train", "diverged: the loss diverged after 9 steps", lambda p: p.trainer["learning_rate"] < 1e-3),
        ("static", "trainer.learning_rate = nan: is not finite", lambda p: p.trainer["learning_rate"] == 2.5e-4),
        ("static", "about 9000 MB are needed, 6000 MB are there", lambda p: p.trainer["per_device_train_batch_size"] == 2),
        ("batch", "error: OutOfMemoryError: CUDA out of memory", lambda p: p.trainer["per_device_train_batch_size"] == 2),
        ("data", "after trust no row is left of 3", lambda p: operation(p.data, "template").args == {"style": "direct"}),
        ("time", "a probe of 900 s needs 906 s", lambda p: p.seconds < 270),
    ],
)  # fmt: skip
def test_what_stopped_a_plan_is_mended_in_the_next(rung: str, problem: str, check: object) -> None:
    plan = proposed(a_view(iterations=(caught(rung, problem),)))
    assert check(plan)  # type: ignore[operator]


def test_what_cannot_be_mended_is_not_tried_for_ever() -> None:
    bad = [replace(caught("batch", "error: no such kernel"), number=n) for n in (1, 2, 3)]
    assert PLANNER.propose(a_view(iterations=tuple(bad))) == ()


def test_a_larger_model_gets_a_smaller_rate() -> None:
    small, large = first_plan(a_view()), first_plan(a_view(machine={**a_view().machine, "hidden": 3584, "gpu": True}))
    assert 1e-4 < large.trainer["learning_rate"] < small.trainer["learning_rate"]


def test_the_diagnosis_names_the_trend_and_the_slices_that_fail() -> None:
    outcome = replace(an_iteration(2, 0.5), dev=replace(a_score(0.3, "dev"), parse_rate=0.7))
    found = read_outcome(a_view(base_own=a_score(0.1)), outcome)
    assert found.signals["still_falling"] is True
    assert found.signals["weak_slices"] == {"rounding": pytest.approx(0.3)}
    assert found.signals["parse_rate"] == 0.7
    assert found.signals["own_too_easy"] is True
    assert any("70%" in f for f in found.findings)


class Broken:
    name = "broken"

    def propose(self, view: View) -> tuple[Plan, ...]:
        raise ValueError("no JSON in the answer")

    def diagnose(self, view: View, iteration: Iteration) -> Diagnosis:
        raise TimeoutError("the gateway does not answer")

    def meanwhile(self, view: View, plan: Plan) -> None:
        raise OSError("no thread")


def test_where_a_planner_fails_the_rules_go_on_and_the_reason_is_kept() -> None:
    planner = Fallback(Broken(), PLANNER)
    assert planner.propose(a_view()) == PLANNER.propose(a_view())
    assert planner.diagnose(a_view(), an_iteration(1)) == PLANNER.diagnose(a_view(), an_iteration(1))
    planner.meanwhile(a_view(), a_plan())
    assert planner.failures == [
        "propose: ValueError: no JSON in the answer",
        "diagnose: TimeoutError: the gateway does not answer",
        "meanwhile: OSError: no thread",
    ]


def test_a_plan_survives_json_and_a_malformed_one_is_refused_with_the_reason() -> None:
    plan = a_plan()
    assert Plan.from_json(plan.to_json()) == plan
    for change, message in (
        ({"phase": "dream"}, "phase 'dream'"),
        ({"data": [{"args": {}}]}, "asked form"),
        ({"surprise": 1}, "asked form"),
        ({"trainer": "fast"}, "must be objects"),
    ):
        with pytest.raises(ValueError, match=message):
            Plan.from_json({**plan.to_json(), **change})


def test_an_iteration_survives_json() -> None:
    iteration = replace(an_iteration(3), dev=a_score(0.2, "dev"), caught=({"rung": "data", "problem": "p", "seconds": 1.0},))
    assert Iteration.from_json(iteration.to_json()) == iteration


def test_on_a_slow_machine_batches_shrink_until_enough_steps_fit() -> None:
    slow = proposed(a_view(speed=1.0))
    assert slow.phase == "exploit"
    assert slow.trainer["per_device_train_batch_size"] == 4
    assert proposed(a_view(speed=0.2)).trainer["per_device_train_batch_size"] == 2
    assert proposed(a_view(speed=8.0, evaluations_left=0)).trainer["per_device_train_batch_size"] == 8


def test_a_champion_that_is_a_mean_is_polished_by_its_best_member() -> None:
    members = [an_iteration(1, 0.4, plan=a_plan(phase="exploit")), an_iteration(2, 0.5, plan=a_plan(phase="exploit"))]
    mean = an_iteration(3, 0.6, plan=a_plan(phase="exploit", method="average", average=(1, 2)))
    plan = proposed(a_view(iterations=(*members, mean), champion=3, usable=80.0, speed=4.0))
    assert (plan.phase, plan.method, plan.average, plan.parent) == ("polish", "sft", (), 2)
