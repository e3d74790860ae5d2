from typing import Any

import pytest
from ft_agent.config import Schema, check, describe, schema_from_json, schema_of, schema_to_json


@pytest.fixture(scope="module")
def schemas() -> dict[str, Schema]:
    from peft import LoraConfig
    from trl import SFTConfig

    return {"sft": schema_of(SFTConfig), "lora": schema_of(LoraConfig)}


def problems(schemas: dict[str, Schema], cuda: bool = False, lora: dict[str, Any] | None = None, **trainer: Any) -> str:
    return "; ".join(check(trainer, lora or {}, schemas, cuda=cuda))


def test_a_sound_configuration_has_no_problems(schemas: dict[str, Schema]) -> None:
    lora = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "lora_dropout": 0.0}
    assert problems(schemas, lora=lora, learning_rate=1e-3, per_device_train_batch_size=8, max_length=512) == ""


def test_an_unknown_argument_is_caught_with_the_nearest_name(schemas: dict[str, Schema]) -> None:
    assert "trainer.lerning_rate is no argument of the trainer; did you mean learning_rate?" in problems(
        schemas, lerning_rate=1e-3
    )


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("learning_rate", float("nan"), "is not finite"),
        ("learning_rate", 3.0, "is outside 1e-07 … 0.03"),
        ("learning_rate", "fast", "is str, expected float"),
        ("per_device_train_batch_size", 0, "is outside 1 … 512"),
        ("per_device_train_batch_size", 2.5, "is float, expected int"),
        ("max_length", "long", "is str, expected int or none"),
        ("torch_empty_cache_steps", "often", "is str, expected int or none"),
        ("torch_compile", "yes", "is str, expected bool"),
    ],
)
def test_a_wrong_value_is_caught_with_the_value_named(schemas: dict[str, Schema], name: str, value: Any, what: str) -> None:
    assert problems(schemas, **{name: value}) == f"trainer.{name} = {value!r}: {what}"


def test_a_value_that_is_no_choice_is_caught(schemas: dict[str, Schema]) -> None:
    assert "lora.bias = 'some': is none of none, all, lora_only" in problems(schemas, lora={"bias": "some"})


def test_what_the_loop_decides_may_not_be_planned(schemas: dict[str, Schema]) -> None:
    assert "trainer.max_steps is decided by the loop" in problems(schemas, max_steps=10)


def test_dependencies_between_arguments_are_checked(schemas: dict[str, Schema]) -> None:
    assert "needs a GPU" in problems(schemas, tf32=True)
    assert problems(schemas, cuda=True, tf32=True) == ""
    lora = {"layers_to_transform": [1, 2], "target_modules": "all-linear"}
    assert "needs target_modules as a list" in problems(schemas, lora=lora)


def test_the_trainer_itself_refuses_what_the_check_refuses_for_that_dependency() -> None:
    from peft import LoraConfig

    with pytest.raises(ValueError, match="layers_to_transform"):
        LoraConfig(layers_to_transform=[1, 2], target_modules="all-linear")


def test_a_schema_survives_the_way_between_processes(schemas: dict[str, Schema]) -> None:
    assert schema_from_json(schema_to_json(schemas["sft"])) == schemas["sft"]


def test_each_method_has_its_own_arguments_and_a_wrong_one_says_whose_it_is() -> None:
    from peft import LoraConfig
    from trl import DPOConfig, GRPOConfig, SFTConfig

    classes = {"sft": SFTConfig, "dpo": DPOConfig, "grpo": GRPOConfig, "lora": LoraConfig}
    schemas = {name: schema_of(cls) for name, cls in classes.items()}
    assert check({"beta": 0.1}, {}, schemas, cuda=False, method="dpo") == []
    assert check({"beta": 0.1}, {}, schemas, cuda=False) == [
        "trainer.beta is no argument of the trainer for sft; it is one for dpo and grpo"
    ]
    assert "not told apart" in check({"beta": 0}, {}, schemas, cuda=False, method="dpo")[0]
    assert check({"num_generations": 4}, {}, schemas, cuda=False, method="grpo") == []
    assert "no whole groups" in check({"num_generations": 3}, {}, schemas, cuda=False, method="grpo")[0]
    assert "is outside 2 … 64" in check({"num_generations": 1}, {}, schemas, cuda=False, method="grpo")[0]
    assert "decided by the loop" in check({"use_vllm": True}, {}, schemas, cuda=False, method="grpo")[0]
    assert "there are dpo, grpo, sft" in check({}, {}, schemas, cuda=False, method="ppo")[0]
    said = describe(schemas)
    assert "- trainer.learning_rate: float, default" in said
    assert "- trainer.num_generations (grpo only): int or none, default 8, 2 … 64" in said
    assert "- lora.r: int, default 8, 1 … 512" in said
