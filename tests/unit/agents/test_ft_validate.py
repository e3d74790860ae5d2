from collections.abc import Sequence
from typing import Any

import pytest
from ft_agent.config import Schema, schema_of
from ft_agent.data import Context, Dataset, Example, RecipeError
from ft_agent.forms import Forms
from ft_agent.memory import ModelFacts
from ft_agent.plan import Plan
from ft_agent.train import TrainingFailed
from ft_agent.validate import Catch, Machine, climb, data_problems, step_problems
from ft_cases import a_plan, a_timebook
from reading.rows import AnswerForm, PromptForm, normal

FORMS = Forms(PromptForm(), AnswerForm("boxed"), frozenset({"integer"}))
CONTEXT = Context(FORMS, 100)


@pytest.fixture(scope="module")
def machine() -> Machine:
    from peft import LoraConfig
    from trl import SFTConfig

    schemas: dict[str, Schema] = {"sft": schema_of(SFTConfig), "lora": schema_of(LoraConfig)}
    return Machine(6000.0, False, ModelFacts(135_000_000, 30, 576, 49152, 4), schemas)


def examples(n: int = 20) -> tuple[Example, ...]:
    return tuple(Example(f"a:{i}", f"Say {i}.", f"\\boxed{{{i}}}", "s") for i in range(n))


class Trial:
    def __init__(self, per_second: float = 5.0, fail_at: int | None = None) -> None:
        self.per_second, self.fail_at, self.calls = per_second, fail_at, []  # type: ignore[var-annotated]

    def __call__(self, plan: Plan, part: Sequence[Example], steps: int) -> dict[str, Any]:
        self.calls.append((int(plan.trainer["per_device_train_batch_size"]), len(part), steps))
        if len(self.calls) == self.fail_at:
            raise TrainingFailed("nan", "the loss is not finite after 1 steps")
        return {"per_second": self.per_second}


def climbed(
    machine: Machine,
    plan: Plan,
    data: tuple[Example, ...] | RecipeError | None = None,
    trial: Trial | None = None,
    proven: dict[str, int] | None = None,
) -> tuple[list[Catch], Trial, dict[str, Any]]:
    def make() -> Dataset:
        if isinstance(data, RecipeError):
            raise data
        return Dataset(data or examples(), ())

    trial = trial or Trial()
    _, found, measured = climb(plan, make, CONTEXT, machine, a_timebook(), trial, proven={} if proven is None else proven)
    return found, trial, measured


def test_a_sound_plan_climbs_to_the_top_with_two_short_trials(machine: Machine) -> None:
    found, trial, measured = climbed(machine, a_plan())
    assert found == []
    assert [(batch, steps) for batch, _, steps in trial.calls] == [(2, 1), (8, 2)]
    assert measured["per_second"] == 5.0


def test_too_much_time_is_caught_first_before_anything_else_is_done(machine: Machine) -> None:
    found, trial, _ = climbed(machine, a_plan(seconds=900.0, trainer={"learning_rate": float("nan")}))
    assert [c.rung for c in found] == ["time"]
    assert "900" in found[0].problem
    assert trial.calls == []


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_caught(machine: Machine, seconds: float) -> None:
    assert climbed(machine, a_plan(seconds=seconds))[0][0].rung == "time"


def test_a_nan_rate_is_caught_before_any_row_is_read(machine: Machine) -> None:
    found, trial, _ = climbed(
        machine, a_plan(trainer={"learning_rate": float("nan"), "per_device_train_batch_size": 8}), RecipeError("not reached")
    )
    assert [c.rung for c in found] == ["static"]
    assert trial.calls == []


def test_a_recipe_that_fails_is_caught_at_the_data_rung(machine: Machine) -> None:
    found, _, _ = climbed(machine, a_plan(), RecipeError("after trust no row is left of 5"))
    assert (found[0].rung, found[0].problem) == ("data", "after trust no row is left of 5")


def test_a_batch_that_cannot_fit_memory_is_caught_before_it_is_tried(machine: Machine) -> None:
    long = tuple(Example(f"a:{i}", f"Say {i} " + "word " * 2000, f"\\boxed{{{i}}}", "s") for i in range(600))[:100]
    plan = a_plan(trainer={"learning_rate": 1e-3, "per_device_train_batch_size": 64, "max_length": 4096})
    found, trial, _ = climbed(machine, plan, long)
    assert found[0].rung == "static"
    assert "MB are needed, 6000 MB are there" in found[0].problem
    assert trial.calls == []


def test_a_crash_in_one_batch_or_in_a_few_steps_is_caught_on_its_rung(machine: Machine) -> None:
    assert climbed(machine, a_plan(), trial=Trial(fail_at=1))[0][0].rung == "batch"
    found = climbed(machine, a_plan(), trial=Trial(fail_at=2))[0][0]
    assert (found.rung, found.problem) == ("steps", "nan: the loss is not finite after 1 steps")


def test_a_plan_too_slow_for_its_time_is_caught_after_a_few_steps(machine: Machine) -> None:
    found, _, _ = climbed(machine, a_plan(), trial=Trial(per_second=1.6))
    assert found[0].rung == "steps"
    assert "4.0 steps fit into 20 s" in found[0].problem


def test_where_the_trial_would_cost_more_than_it_saves_one_batch_tells_the_speed(machine: Machine) -> None:
    found, trial, measured = climbed(machine, a_plan(seconds=200.0), trial=Trial(per_second=0.3))
    assert (found, len(trial.calls), measured["per_second"]) == ([], 1, pytest.approx(0.9))


def test_what_was_proven_is_not_tried_again_but_a_larger_batch_is(machine: Machine) -> None:
    proven: dict[str, int] = {}
    climbed(machine, a_plan(), proven=proven)
    half = a_plan(trainer={**a_plan().trainer, "per_device_train_batch_size": 4, "learning_rate": 3e-3})
    assert climbed(machine, half, proven=proven)[1].calls == []
    double = a_plan(trainer={**a_plan().trainer, "per_device_train_batch_size": 16})
    assert climbed(machine, double, proven=proven)[1].calls != []


def test_every_row_is_checked_wherever_it_stands() -> None:
    rows = list(examples(60))
    rows[57] = Example("a:57", "Say 57.", "57", "s")
    rows[58] = Example("a:58", " ", "\\boxed{1}", "s")
    found = data_problems(Dataset(tuple(rows), ()), CONTEXT)
    assert found == [
        "1 rows have no prompt or no answer, the first is a:58",
        "1 answers do not read back in the form boxed, the first is a:57",
    ]


def test_leaks_a_broken_cap_and_too_few_rows_are_caught() -> None:
    context = Context(FORMS, 10, held_out=frozenset({normal("Say 3.")}))
    found = data_problems(Dataset(examples(12), ()), context)
    assert found == ["1 rows are held out for validation, the first is a:3; add drop_leaks", "12 samples, the task allows 10"]
    assert data_problems(Dataset(examples(3), ()), CONTEXT) == ["only 3 samples are left; loosen the recipe"]


def test_steps_are_counted_with_accumulation() -> None:
    plan = a_plan(trainer={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}, seconds=10.0)
    assert step_problems(plan, {"per_second": 8.0}) != []
    assert step_problems(plan, {"per_second": 10.0}) == []
