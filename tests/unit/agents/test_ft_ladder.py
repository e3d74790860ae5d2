"""A fault planted for every rung, with the real trainer behind it: each is caught where it should be, by its name."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ft_agent.config import schema_from_json
from ft_agent.data import Context, Dataset, Example, RecipeError, build
from ft_agent.forms import Forms
from ft_agent.memory import ModelFacts
from ft_agent.plan import Operation, Plan
from ft_agent.timebook import TimeBook
from ft_agent.train import Trainer, TrainingFailed
from ft_agent.validate import Catch, Machine, climb
from ft_cases import a_plan
from reading.rows import AnswerForm, PromptForm, normal, parse_source

pytestmark = pytest.mark.slow

FORMS = Forms(PromptForm(), AnswerForm("boxed"), frozenset({"integer"}))
CONTEXT = Context(FORMS, 2000)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
ARGUMENTS = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 128}
PLAN = a_plan(trainer=ARGUMENTS, lora=LORA, seconds=60.0)
GOOD = tuple(Example(f"a:{i}", f"Say {i}.", f"\\boxed{{{i}}}", "s", gold=f"{i}") for i in range(24))
# each opens with other words, so that nothing is shared and a batch costs what it says
LONG = tuple(Example(f"a:{i}", f"{i} is to be said. " * 60, f"\\boxed{{{i}}}", "s", gold=f"{i}") for i in range(600))
# allocations a process with its libraries has made before it trains: 480 MB
ROOM_MB = 1200.0


@pytest.fixture(scope="module")
def trainer(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    with Trainer(str(tiny), tmp_path_factory.mktemp("scratch"), memory_mb=ROOM_MB) as worker:
        worker.ready()
        yield worker


def up(trainer: Trainer, plan: Plan, make: Callable[[], Dataset], context: Context, memory_mb: float) -> list[Catch]:
    info = trainer.ready()
    schemas = {k: schema_from_json(v) for k, v in info["schemas"].items()}
    machine = Machine(memory_mb, False, ModelFacts(**info["model"]), schemas)

    def trial(tried: Plan, part: Any, steps: int) -> dict[str, Any]:
        return trainer.train(
            part, tried.trainer, tried.lora, method=tried.method, form=FORMS.answers, seconds=60.0, max_steps=steps
        )

    return climb(
        plan, make, context, machine, TimeBook({"wall": {"limit": 3600.0, "used": 0.0, "left": 3600.0}}), trial, proven={}
    )[1]


@dataclass(frozen=True)
class Fault:
    """A plan and data with one thing wrong, the rung that should find it, and words that it should be named by."""

    rung: str
    named: str
    plan: Plan = PLAN
    data: tuple[Example, ...] | RecipeError = GOOD
    held_out: frozenset[str] = frozenset()
    memory_mb: float = 6000.0


def argued(**trainer: Any) -> Plan:
    return replace(PLAN, trainer={**ARGUMENTS, **trainer})


FAULTS = {
    "more time than is left": Fault("time", "needs", replace(PLAN, seconds=9000.0)),
    "an argument that is none": Fault("static", "did you mean learning_rate", argued(lerning_rate=1e-3)),
    "an argument of another method": Fault("static", "it is one for grpo", argued(num_generations=4)),
    "a rate that is no number": Fault("static", "is not finite", argued(learning_rate=float("nan"))),
    "groups that do not fill a step": Fault(
        "static", "num_generations = 8", replace(PLAN, method="grpo", trainer={"per_device_train_batch_size": 4})
    ),
    "an average of one": Fault("static", "two iterations or more", replace(PLAN, method="average", average=(1,), data=())),
    "a data program that fails": Fault("data", "division by zero", data=RecipeError("program clean_units: division by zero")),
    "rows held out for validation": Fault(
        "data", "1 rows are held out for validation, the first is a:3", held_out=frozenset({normal("Say 3.")})
    ),
    "answers that do not read back": Fault("data", "do not read back", data=(*GOOD, Example("b:1", "Say 1.", "1", "s"))),
    "a method without what it learns from": Fault("data", "wrong answers beside the right ones", replace(PLAN, method="dpo")),
    "a batch that cannot fit by estimate": Fault(
        "static",
        "halve per_device_train_batch_size",
        argued(per_device_train_batch_size=512, max_length=None),
        data=LONG,
        memory_mb=1000.0,
    ),
    "full weights that cannot fit by estimate": Fault("static", "MB are needed", replace(PLAN, lora={}), memory_mb=0.5),
    "examples of which none is short enough": Fault("batch", "no training example fits max_length = 16", argued(max_length=16)),
    "examples of which few are short enough": Fault(
        "steps",
        "did not fit max_length = 128",
        data=tuple(e for pair in zip(LONG[:24], LONG[24:], GOOD, strict=False) for e in pair),
    ),
    "a module that is not there": Fault(
        "batch", "no_such_module", replace(PLAN, lora={**LORA, "target_modules": ["no_such_module"]})
    ),
    "a batch that memory does not hold after all": Fault(
        "steps", "memory: ", argued(per_device_train_batch_size=512, max_length=None), data=LONG, memory_mb=1e9
    ),
    "a plan too slow for its time": Fault("steps", "steps fit into", replace(PLAN, seconds=0.01)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_planted_fault_is_caught_on_its_rung_and_the_worker_lives_on(trainer: Trainer, fault: Fault) -> None:
    def make() -> Dataset:
        if isinstance(fault.data, RecipeError):
            raise fault.data
        return Dataset(fault.data, ())

    found = up(trainer, fault.plan, make, replace(CONTEXT, held_out=fault.held_out), fault.memory_mb)
    assert [c.rung for c in found] == [fault.rung]
    assert fault.named in found[0].problem
    assert trainer.train(GOOD, ARGUMENTS, LORA, seconds=60.0, max_steps=1)["end"] == "done"


def test_nothing_is_caught_where_nothing_is_wrong_whatever_the_method(trainer: Trainer) -> None:
    pairs = tuple(replace(e, rejected="\\boxed{none}") for e in GOOD)
    grpo = replace(PLAN, method="grpo", trainer={"per_device_train_batch_size": 8, "max_completion_length": 4})
    for plan in (PLAN, replace(PLAN, lora={}), replace(PLAN, method="dpo"), grpo):
        assert up(trainer, plan, lambda: Dataset(pairs, ()), CONTEXT, 6000.0) == [], plan.method
    # most rows have no wrong answer yet: dpo learns from those that have one
    few = tuple(replace(e, rejected="") if i % 4 else e for i, e in enumerate(pairs))
    assert up(trainer, replace(PLAN, method="dpo"), lambda: Dataset(few, ()), CONTEXT, 6000.0) == []
    assert up(trainer, replace(PLAN, method="average", average=(1, 2), data=()), lambda: Dataset((), ()), CONTEXT, 6000.0) == []


def test_a_column_read_for_the_answer_that_is_none_leaves_no_row_and_says_after_what(trainer: Trainer, tmp_path: Path) -> None:
    source = tmp_path / "forum.jsonl"
    source.write_text(
        "\n".join(json.dumps({"question": f"What is {i} + {i}?", "answer": f"posted by user{i}x"}) for i in range(40))
    )
    rows = parse_source(source)
    recipe = (Operation("clean"), Operation("repair"), Operation("kind"))
    found = up(trainer, PLAN, lambda: build(rows, recipe, CONTEXT), CONTEXT, 6000.0)
    assert [(c.rung, c.problem) for c in found] == [("data", "after kind no row is left of 40")]


def test_a_base_model_whose_weights_are_no_numbers_is_caught_with_its_first_batch(tiny: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = load_file(str(broken / "model.safetensors"))
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, str(broken / "model.safetensors"), metadata={"format": "pt"})
    with Trainer(str(broken), tmp_path / "scratch") as worker:
        found = up(worker, PLAN, lambda: Dataset(GOOD, ()), CONTEXT, 6000.0)
    assert [(c.rung, c.problem) for c in found] == [("batch", "nan: the loss is not finite after 1 steps")]


def test_what_diverges_only_after_some_steps_is_stopped_in_training(trainer: Trainer, tmp_path: Path) -> None:
    wild = {"r": 1, "lora_alpha": 2048, "target_modules": ["lm_head"]}
    arguments = {**ARGUMENTS, "learning_rate": 3e-2, "max_grad_norm": 0.0}
    plan = replace(PLAN, trainer=arguments, lora=wild)
    assert up(trainer, plan, lambda: Dataset(GOOD, ()), CONTEXT, 6000.0) == []
    with pytest.raises(TrainingFailed) as caught:
        trainer.train(GOOD, arguments, wild, seconds=120.0, max_steps=40, out=tmp_path / "a")
    assert caught.value.kind == "diverged"
    assert not (tmp_path / "a").exists()
