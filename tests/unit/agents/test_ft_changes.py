from dataclasses import replace
from typing import Any

import pytest
from ft_agent.changes import Change, differences
from ft_agent.plan import Operation, Plan
from ft_cases import a_plan

START = a_plan()
PROGRAM = Operation("program", {"name": "shorter"})


def knobs(other: Plan, start: Plan = START) -> list[str]:
    return [c.knob for c in differences(start, other)]


def lora(**changes: Any) -> Plan:
    return replace(START, lora={**START.lora, **changes})


def test_a_plan_does_not_differ_from_itself_whatever_is_said_of_it() -> None:
    assert differences(START, replace(START, knob="other", hypothesis="x", reason="y", expected_gain=1, author="llm")) == ()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (lora(r=64, lora_alpha=128), ["lora.r"]),
        (lora(r=64), ["lora.r"]),
        (lora(r=64, lora_alpha=64), ["lora.lora_alpha", "lora.r"]),
        (lora(lora_alpha=64), ["lora.lora_alpha"]),
        (replace(START, lora={}), ["lora"]),
        (lora(target_modules=["q_proj", "v_proj"]), ["lora.target_modules"]),
        (replace(START, data=(*START.data, PROGRAM)), ["data.program"]),
        (replace(START, data=(*START.data, PROGRAM, PROGRAM)), ["data.program", "data.program"]),
        (replace(START, data=START.data[1:]), ["data.clean"]),
        (replace(START, data=tuple(reversed(START.data))), ["data order"]),
        (replace(START, data=(PROGRAM, *START.data[1:])), ["data.clean", "data.program"]),
        (replace(START, seconds=21.0), []),
        (replace(START, seconds=60.0, phase="polish", parent=3), ["phase", "parent", "seconds"]),
    ],
)
def test_what_counts_as_one_knob(other: Plan, expected: list[str]) -> None:
    assert knobs(other) == expected
    assert sorted(knobs(START, other)) == sorted(expected)


def test_the_same_layers_in_another_order_are_the_same() -> None:
    assert knobs(lora(target_modules=["v", "q"]), lora(target_modules=["q", "v"])) == []


def test_one_operation_more_of_its_kind_is_one_knob_even_where_it_repeats_another() -> None:
    once, twice = replace(START, data=(*START.data, PROGRAM)), replace(START, data=(*START.data, PROGRAM, PROGRAM))
    assert knobs(twice, once) == ["data.program"]


def test_another_method_brings_arguments_of_its_own_that_are_no_further_knobs() -> None:
    dpo = replace(START, method="dpo", trainer={**START.trainer, "beta": 0.1})
    assert knobs(dpo) == ["method"]
    assert knobs(replace(dpo, trainer={**dpo.trainer, "learning_rate": 1.0})) == ["method", "trainer.learning_rate"]


def test_an_operation_with_several_other_arguments_is_one_knob_told_by_its_arguments() -> None:
    loose = tuple(Operation("trust", {"max_error": 1.0}) if o.name == "trust" else o for o in START.data)
    assert differences(START, replace(START, data=loose)) == (
        Change("data.trust", '{"max_error": 0.06, "floor": 40}', '{"max_error": 1.0}'),
    )


def test_long_values_are_told_by_their_beginning() -> None:
    barred = replace(START, data=(*START.data, Operation("distrust", {"rows": [f"forum:{n}" for n in range(500)]})))
    (change,) = differences(START, barred)
    assert len(change.after) <= 60
