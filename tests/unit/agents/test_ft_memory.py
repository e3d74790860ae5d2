from dataclasses import replace
from typing import Any

import pytest
from ft_agent.config import schema_of
from ft_agent.data import Dataset, Example
from ft_agent.memory import ModelFacts, estimate_memory_mb, lora_parameters, needed_mb, out_of_memory
from ft_agent.validate import Machine, memory_problems
from ft_cases import a_plan

SMALL = ModelFacts(parameters=135_000_000, layers=30, hidden=576, vocabulary=49152, bytes=4)
ROWS = tuple(Example(f"a:{i}", "word " * 60, "answer " * 3, "s", gold="x", rejected="other " * 3) for i in range(20))


def needed(method: Any = "sft", lora: dict[str, Any] | None = None, **trainer: Any) -> float:
    plan = a_plan(method=method, trainer={"per_device_train_batch_size": 8, **trainer})
    return needed_mb(plan if lora is None else replace(plan, lora=lora), ROWS, SMALL)


def test_lora_parameters_are_counted_about_right() -> None:
    # peft reports 4,884,480 for rank 16 on all linear layers of this model
    assert lora_parameters({"r": 16}, SMALL) == pytest.approx(4_884_480, rel=0.35)


def test_memory_grows_with_the_batch_and_shrinks_with_checkpointing() -> None:
    base = estimate_memory_mb(SMALL, 4_900_000, 400, 80, False)
    assert 700 < base < 2500
    assert estimate_memory_mb(SMALL, 4_900_000, 4000, 800, False) > 3 * base
    assert estimate_memory_mb(SMALL, 4_900_000, 4000, 800, True) < estimate_memory_mb(SMALL, 4_900_000, 4000, 800, False)


def test_full_weights_need_four_values_a_parameter_and_no_second_copy() -> None:
    assert needed(lora={}) - needed() == pytest.approx((16 - 4) * 135 - 78, abs=40)


def test_dpo_needs_both_answers_and_with_full_weights_a_second_model() -> None:
    assert needed("dpo") > 2 * needed("sft") - 600
    assert needed("dpo", lora={}) - needed("dpo") - (needed(lora={}) - needed()) == pytest.approx(540)


def test_grpo_needs_room_for_what_it_writes() -> None:
    assert needed("grpo", max_completion_length=512) > needed("grpo", max_completion_length=64) + 1000
    assert needed("grpo", lora={}, beta=0.1) - needed("grpo", lora={}) == pytest.approx(540)
    assert needed("grpo", beta=0.1) == needed("grpo")


def test_where_an_adapter_would_fit_it_is_the_remedy_for_full_weights() -> None:
    from peft import LoraConfig
    from trl import SFTConfig

    machine = Machine(needed(lora={}) - 100, False, SMALL, {"sft": schema_of(SFTConfig), "lora": schema_of(LoraConfig)})
    plan = a_plan(lora={}, trainer={"per_device_train_batch_size": 8})
    assert "train an adapter instead of full weights" in memory_problems(plan, Dataset(ROWS, ()), machine)[0]
    assert memory_problems(a_plan(trainer=plan.trainer), Dataset(ROWS, ()), machine) == []


def test_an_allocation_that_failed_is_told_from_other_errors() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40697856 bytes"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("cannot allocate a name"))
