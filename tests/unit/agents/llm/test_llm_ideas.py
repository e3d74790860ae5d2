"""Ideas become plans by code: looked up, checked, sized; what does not fit is said in words that can be acted on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ft_agent.llm.calls import Idea
from ft_agent.llm.ideas import Stage, planned, start_of
from ft_agent.offline import first_plan, probe_seconds
from ft_agent.plan import Operation, Plan
from ft_agent.view import View
from ft_cases import a_view
from llm_cases import a_desk, a_run, an_idea, probes, scored

PROBING, EXPLOITING = Stage(True), Stage(False)
HISTORY = probes((1e-3, 0.3), (2e-3, 0.5))


def made(folder: Path, stage: Stage = PROBING, view: View | None = None, **changes: Any) -> tuple[Plan | None, list[str]]:
    return planned(Idea.model_validate(an_idea(**changes)), view or a_run(*HISTORY), a_desk(folder), stage)


def good(folder: Path, stage: Stage = PROBING, view: View | None = None, **changes: Any) -> Plan:
    plan, problems = made(folder, stage, view, **changes)
    assert plan is not None, problems
    return plan


def put(operation: str, **args: Any) -> dict[str, Any]:
    return {"data": [{"do": "put", "operation": operation, "args": args}]}


def test_ideas_start_from_the_best_probe_and_after_a_long_training_from_the_champion() -> None:
    assert start_of(a_view()) == (first_plan(a_view()), "the program's starting point")
    assert start_of(a_run(*HISTORY, champion=1))[1] == "iteration 2"
    long = scored(3, 0.6, replace(HISTORY[0].plan, phase="exploit"))
    assert start_of(a_run(*HISTORY, long, champion=3))[1] == "iteration 3"
    averaged = scored(4, 0.7, replace(long.plan, method="average", average=(1, 2)))
    assert start_of(a_run(*HISTORY, long, averaged, champion=4))[1] == "iteration 3"


def test_a_probe_changes_one_thing_and_trains_as_long_as_the_others(tmp_path: Path) -> None:
    plan = good(tmp_path, seconds=99999)
    start = HISTORY[1].plan
    assert plan.trainer == {**start.trainer, "learning_rate": 0.0005}
    assert (plan.data, plan.lora, plan.parent, plan.measure) == (start.data, start.lora, None, "own")
    assert plan.seconds == round(probe_seconds(a_run(*HISTORY)), 1)
    assert (plan.author, plan.evidence, plan.expected_gain) == ("llm", "", 0.03)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"trainer": {"learning_rat": 0.1}}, "trainer.learning_rat is no argument"),
        ({"trainer": {"learning_rate": 7}}, "is outside"),
        ({"trainer": {"learning_rate": "fast"}}, "is str, expected float"),
        ({"trainer": {"learning_rate": [1]}}, "is list, expected float"),
        ({"trainer": {"learning_rate": None}}, "learning_rate must keep a value"),
        ({"lora": {"r": None}}, "lora.r must keep a value"),
        ({}, "changes nothing"),
        ({"trainer": {"learning_rate": 0.002}}, "changes nothing"),
        ({"trainer": {"learning_rate": 0.001}}, "iteration 1 has tried exactly this"),
        ({"trainer": {"learning_rate": 0.004, "weight_decay": 0.1}}, r"several knobs at once \(trainer.learning_rate, "),
        (put("rebalanc", power=1), "no data operation 'rebalanc'; did you mean rebalance"),
        (put("zzz"), "there are cap, clean"),
        (put("rebalance", strength=1), "rebalance takes boost, by, power, rows, not strength"),
        (put("rebalance", power="much"), "rebalance with {'power': 'much'}"),
        (put("rebalance", power=-1e6), "rebalance with"),
        (put("template", style="poem"), "style 'poem' is unknown"),
        (put("program", name="nothing"), "there is no program 'nothing'"),
        ({"data": [{"do": "take_out", "operation": "program"}]}, "the recipe has no program to take out"),
        ({"data": [{"do": "take_out", "operation": "drop_leaks"}]}, "drop_leaks stays"),
        ({"average": [1]}, "at least two trained iterations"),
        ({"average": [1, 77]}, "at least two trained iterations"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_words(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    plan, problems = made(tmp_path, changes=changes)
    assert plan is None
    assert re.search(problem, "\n".join(problems)), problems


def test_rank_comes_with_alpha_and_null_sets_an_argument_back(tmp_path: Path) -> None:
    plan = good(tmp_path, changes={"lora": {"r": 32, "lora_alpha": 64}})
    assert (plan.lora["r"], plan.lora["lora_alpha"]) == (32, 64)
    assert "weight_decay" not in good(tmp_path, changes={"trainer": {"weight_decay": None}}).trainer


def test_operations_are_replaced_in_place_and_new_ones_put_where_they_belong(tmp_path: Path) -> None:
    replaced = good(tmp_path, changes=put("rebalance", power=1.0)).data
    assert [o.name for o in replaced] == [o.name for o in HISTORY[1].plan.data]
    assert Operation("rebalance", {"power": 1.0}) in replaced
    names = [o.name for o in good(tmp_path, changes=put("synthesise", rows=50)).data]
    assert names.index("synthesise") < names.index("dedupe") < names.index("drop_leaks")
    names = [o.name for o in good(tmp_path, changes=put("self_generate", rows=50, samples=4)).data]
    assert names.index("drop_leaks") < names.index("self_generate") < names.index("rebalance")


def test_a_program_that_is_wished_for_or_kept_may_be_put_in(tmp_path: Path) -> None:
    wish = {"name": "digits", "purpose": "Write numbers in digits."}
    plan = good(tmp_path, changes={}, program=wish)
    names = [o.name for o in plan.data]
    assert Operation("program", {"name": "digits"}) in plan.data and names.index("repair") < names.index("program") < names.index(
        "kind"
    )
    a_desk(tmp_path).programs.save("digits", "def transform(rows):\n    return rows\n")
    assert good(tmp_path, changes=put("program", name="digits"))


def test_an_operation_that_this_run_does_not_have_is_not_offered(tmp_path: Path) -> None:
    view = a_run(*HISTORY, operations="- rebalance(power): even out\n- clean(): tidy")
    plan, problems = made(tmp_path, view=view, changes=put("synthesise", rows=5))
    assert plan is None and "no data operation 'synthesise'" in problems[0]


def test_evidence_counts_where_the_table_has_measured_the_very_value(tmp_path: Path) -> None:
    # the mix was measured beside the rate; the best probe has the better rate and the old mix
    start = HISTORY[0].plan
    mixed = replace(start, data=good(tmp_path, changes=put("rebalance", power=1.0)).data, knob="mix")
    view = a_run(*HISTORY, scored(3, 0.4, mixed), champion=2)
    (row,) = [e for e in view.effects if e.with_ == 3]
    assert (row.knob, row.name) == ("data.rebalance.power", "3v1") and row.effect > 0

    def exploit(claim: str, **args: Any) -> Plan:
        return good(tmp_path, view=view, phase="exploit", changes=put("rebalance", **args), evidence=claim, seconds=400)

    plan = exploit("3v1 data.rebalance.power", power=1.0)
    assert plan.evidence.startswith("3v1 data.rebalance.power +0.100 ±")
    assert (plan.trainer["learning_rate"], plan.measure) == (0.002, "dev") and plan.seconds >= 400
    for claim in ("9v8 data.rebalance.power", "it is well known", ""):
        assert exploit(claim, power=1.0).evidence == ""
    assert exploit("3v1 data.rebalance.power", power=2.0).evidence == "", "another value than the one measured is a guess"


def test_that_the_way_back_harmed_is_evidence_too(tmp_path: Path) -> None:
    start = HISTORY[0].plan
    view = a_run(*HISTORY, scored(3, 0.2, replace(start, trainer={**start.trainer, "weight_decay": 0.1})), champion=2)
    worse = replace(view, iterations=(replace(HISTORY[0], own=None), HISTORY[1], scored(3, 0.9, view.iterations[2].plan)))
    plan = good(
        tmp_path, view=worse, phase="exploit", changes={"trainer": {"weight_decay": 0.0, "learning_rate": 5e-4}}, evidence="3v1"
    )
    assert plan.evidence == "", "the rate is a guess, so the whole is one"
    plan = good(tmp_path, view=worse, phase="exploit", changes={"trainer": {"weight_decay": 0.0}}, evidence="3v1")
    assert plan.evidence.startswith("3v1 trainer.weight_decay -0.100")


def test_more_of_the_best_is_no_guess(tmp_path: Path) -> None:
    assert good(tmp_path, phase="exploit", changes={}).evidence == "iteration 2 is the best so far"


def test_when_the_time_for_probes_is_used_up_only_what_was_measured_is_trained(tmp_path: Path) -> None:
    assert "used up" in made(tmp_path, EXPLOITING)[1][0]
    guess = made(tmp_path, EXPLOITING, phase="exploit", evidence="2v1 trainer.learning_rate")
    assert guess[0] is None and "has measured trainer.learning_rate 0.0005" in guess[1][0]
    assert good(tmp_path, EXPLOITING, phase="exploit", changes={})
    assert "used up" in EXPLOITING.words and "by probes what you do not know" in PROBING.words


def test_going_on_needs_a_champion_with_the_same_adapter(tmp_path: Path) -> None:
    long = scored(3, 0.6, replace(HISTORY[1].plan, phase="exploit"))
    view = a_run(*HISTORY, long)
    assert good(tmp_path, view=view, phase="polish", go_on=True).parent == 3
    plan, problems = made(tmp_path, view=view, phase="polish", go_on=True, changes={"lora": {"r": 4, "lora_alpha": 8}})
    assert plan is None and "another shape" in problems[0]
    assert "no champion to go on from" in made(tmp_path, view=a_run(*HISTORY, champion=0), phase="polish", go_on=True)[1][0]


def test_adapters_of_one_shape_are_averaged(tmp_path: Path) -> None:
    plan = good(tmp_path, changes={"average": [1, 2]})
    assert (plan.method, plan.average, plan.phase) == ("average", (1, 2), "polish")
    other = replace(HISTORY[1], plan=replace(HISTORY[1].plan, lora={"r": 4, "lora_alpha": 8}))
    assert "not of one shape" in made(tmp_path, view=a_run(HISTORY[0], other), changes={"average": [1, 2]})[1][0]


def test_all_weights_may_be_trained(tmp_path: Path) -> None:
    assert good(tmp_path, changes={"full_weights": True}).lora == {}


@pytest.mark.parametrize("usable", [5.0, 25.0, 60.0, 200.0, 3000.0])
@pytest.mark.parametrize("phase", ["probe", "exploit", "polish"])
def test_no_plan_asks_for_more_than_is_left(usable: float, phase: str, tmp_path: Path) -> None:
    view = a_run(*HISTORY, usable=usable)
    plan, problems = made(tmp_path, view=view, phase=phase, seconds=1e6)
    if plan is None:
        assert "too little" in problems[0]
    else:
        assert plan.seconds + (20.0 if plan.measure == "dev" else 6.0) <= usable - 0.5
