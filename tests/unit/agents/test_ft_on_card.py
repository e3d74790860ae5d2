"""How plans are computed on a card: the rule with cards that are described, and the training process told that it has one."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ft_agent.ablate import parts
from ft_agent.bench import meet
from ft_agent.changes import FULL_RATE, differences
from ft_agent.data import Dataset, Example
from ft_agent.llm.facts import task_text, tools_text
from ft_agent.memory import ModelFacts, fit_of
from ft_agent.offline import Offline, first_plan, knobs
from ft_agent.on_card import all_weights_fit, fit_on, has_reference, trained_weights
from ft_agent.plan import Plan
from ft_agent.validate import ADAPTER_INSTEAD, Machine, memory_problems
from ft_agent.view import View
from ft_cases import MACHINE, TASK, a_plan, a_view, an_iteration
from reading.cards import Card
from reading.fitting import SHARE, Rows
from reading.memory import Shape
from test_fitting import GB, SHAPE, UNEVEN, card

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
ON_GPU = {**MACHINE, "gpu": True, "card": "NVIDIA H200", "full_weights": True}


def examples(characters: int = 400, n: int = 20) -> tuple[Example, ...]:
    return tuple(Example(f"a:{i}", "p" * characters, "a" * 40, "s", gold="a", rejected="r" * 40) for i in range(n))


def machine(free: float) -> Machine:
    return Machine(free * 1000, True, ModelFacts(7_600_000_000, 28, 3584, 152064, 2), {}, card(free), SHAPE)


def fit(free: float = 140, method: Any = "sft", lora: dict[str, Any] | None = None, rows: Rows = UNEVEN, **trainer: Any) -> Any:
    trainer = {"per_device_train_batch_size": 8, **trainer}
    return fit_on(card(free), SHAPE, method, trainer, LORA if lora is None else lora, rows)


def test_trained_weights_follow_the_adapters_layers() -> None:
    assert trained_weights(SHAPE, {}) == SHAPE.parameters
    assert trained_weights(SHAPE, LORA) == SHAPE.adapter(16)
    assert trained_weights(SHAPE, {"r": 4, "target_modules": ["q_proj"], "layers_to_transform": [1, 2]}) == SHAPE.adapter(
        4, ("q_proj",), 2
    )


def test_a_batch_of_sft_is_cut_packed_and_checkpointed_as_memory_has_it_unless_the_plan_says_so() -> None:
    roomy, tight = fit(140), fit(40)
    assert (roomy.at_once, roomy.checkpointing, roomy.packed) == (8, False, True)
    assert tight.at_once * tight.passes == 8 and tight.at_once < 8 and tight.peak <= SHARE * 40 * GB
    assert fit(140, gradient_checkpointing=True).checkpointing and not fit(140, gradient_checkpointing=False).checkpointing


def test_dpo_and_grpo_compute_their_batch_whole_and_say_what_would_not_fit() -> None:
    rows = Rows([512] * 16, [128] * 16)
    for method in ("dpo", "grpo"):
        found = fit(80, method, rows=rows)
        assert (found.at_once, found.passes, found.packed) == (8, 1, False)
        with pytest.raises(
            ValueError, match=rf"{method} of 8 rows needs about \d+\.\d GB, and of 20\.0 GB that are free 85% are"
        ):
            fit(20, method, rows=Rows([4096] * 16, [4096] * 16))
    assert fit(140, "dpo", rows=rows).peak > fit(140, "sft", rows=rows).peak
    assert fit(140, "grpo", rows=rows).peak > fit(140, rows=rows).peak
    # the reference of all weights is a second model
    small = replace(SHAPE, layers=4)
    one, two = (
        fit_on(card(140), small, "grpo", {"per_device_train_batch_size": 2, "beta": beta}, {}, rows).peak for beta in (0.0, 0.1)
    )
    assert two - one == 4 * small.parameters
    assert has_reference("dpo", {}) and not has_reference("grpo", {"beta": 0.0}) and not has_reference("sft", {"beta": 1})


def test_a_model_that_is_not_counted_is_checkpointed_unless_the_plan_says_no() -> None:
    arguments = {"per_device_train_batch_size": 8}
    assert fit_on(card(80), None, "sft", arguments, LORA, UNEVEN).checkpointing
    assert not fit_on(card(80), None, "sft", {**arguments, "gradient_checkpointing": False}, LORA, UNEVEN).checkpointing


def test_validation_asks_the_same_rule_and_names_the_adapter_where_all_weights_do_not_fit() -> None:
    data = Dataset(examples(), ())
    full = a_plan(lora={})
    assert memory_problems(a_plan(), data, machine(40)) == []
    (problem,) = memory_problems(full, data, machine(80))
    assert "needs about" in problem and problem.endswith(ADAPTER_INSTEAD)
    assert memory_problems(full, data, machine(149)) == []
    (problem,) = memory_problems(a_plan(), data, machine(12))
    assert "of 12.0 GB that are free" in problem and ADAPTER_INSTEAD not in problem
    # by two characters a token, rather too many tokens
    assert fit_of(a_plan(), examples(), card(140), SHAPE).peak >= fit(140, rows=Rows([220] * 20, [20] * 20)).peak
    assert (
        memory_problems(a_plan(method="grpo"), data, machine(140))
        == []
        == memory_problems(a_plan(method="dpo"), data, machine(140))
    )


def test_all_weights_are_worth_a_plan_on_one_card_that_holds_them_and_a_disk_that_holds_copies() -> None:
    room = {"gpus": 1, "longest": 2048, "answer": 256, "disk_mb": 204_800.0}
    assert all_weights_fit(card(149), SHAPE, **room)
    assert not all_weights_fit(card(80), SHAPE, **room)
    assert not all_weights_fit(card(149), SHAPE, **{**room, "gpus": 2})
    assert not all_weights_fit(card(149), SHAPE, **{**room, "disk_mb": 100_000.0})
    assert not all_weights_fit(card(149, "Tesla V100-SXM2-32GB", (7, 0)), SHAPE, **room)
    assert not all_weights_fit(card(149), None, **room)


def info(**changes: Any) -> dict[str, Any]:
    model = {"parameters": 7_600_000_000, "layers": 28, "hidden": 3584, "vocabulary": 152064, "bytes": 2}
    on_cpu = {"cuda": False, "gpus": 0, "gpu_memory_mb": None, "card": None, "shape": asdict(SHAPE), "schemas": {"lora": {}}}
    return {"model": model, **on_cpu, **changes}


def test_planners_are_told_of_the_card_on_a_gpu_and_of_nothing_new_on_a_cpu() -> None:
    task = {**TASK, "limits": {"cpus": 8, "memory_mb": 98304, "disk_mb": 204_800}}
    here, facts, _ = meet(info(), task)
    assert set(facts) == set(MACHINE) and here.card is None and here.shape == SHAPE
    there = info(cuda=True, gpus=1, gpu_memory_mb=150_754.0, card=asdict(card(150)) | {"capability": [9, 0]})
    here, facts, _ = meet(there, task)
    assert here.card == card(150) and here.memory_mb == 150_754.0
    assert {n: facts[n] for n in set(facts) - set(MACHINE)} == {
        "card": "NVIDIA H200", "gpu_memory_mb": 150_000, "full_weights": True,
    }  # fmt: skip
    view = a_view(machine=facts)
    assert task_text(view).endswith("trained on NVIDIA H200.")
    assert "at 0.1 of the adapter's rate where you name none; they fit this card" in tools_text(view)
    assert "they do not fit this card" in tools_text(a_view(machine={**facts, "full_weights": False}))
    assert tools_text(a_view()).endswith("trains all weights instead of an adapter, where memory allows")


def full_knob(view: View, start: Plan) -> Plan | None:
    return next((k.plan for k in knobs(view, start, [an_iteration(1, plan=start)]) if k.name == "full weights"), None)


def test_the_rules_try_all_weights_at_a_tenth_of_the_rate_where_they_fit_and_never_on_a_cpu() -> None:
    start = a_plan()
    full = full_knob(a_view(machine=ON_GPU), start)
    assert full is not None and full.lora == {}
    assert full.trainer["learning_rate"] == pytest.approx(FULL_RATE * start.trainer["learning_rate"])
    assert [(c.knob, c.before, c.after) for c in differences(start, full)] == [("lora", "adapter", "full weights")]
    assert [c.knob for c in differences(full, start)] == ["lora"]
    at_the_same_rate = replace(full, trainer=start.trainer)
    assert [c.knob for c in differences(start, at_the_same_rate)] == ["lora"]
    elsewhere = replace(full, trainer={**start.trainer, "learning_rate": 0.5 * start.trainer["learning_rate"]})
    assert {c.knob for c in differences(start, elsewhere)} == {"lora", "trainer.learning_rate"}
    for machine_ in ({**ON_GPU, "full_weights": False}, MACHINE):
        assert full_knob(a_view(machine=machine_), start) is None
    assert full_knob(a_view(machine=ON_GPU), full) is None


def test_an_ablation_puts_the_adapter_back_with_its_own_rate() -> None:
    start = a_plan()
    full = full_knob(a_view(machine=ON_GPU), start)
    assert full is not None
    back = next(p for p in parts(full, start) if p.knob == "without lora")
    assert (back.lora, back.trainer) == (start.lora, start.trainer)


def test_a_plan_of_all_weights_that_did_not_fit_is_mended_to_an_adapter_and_one_that_diverged_to_their_own_rate() -> None:
    view = a_view(machine=ON_GPU)
    start = first_plan(view)
    full = replace(start, lora={}, phase="probe", seconds=20.0, knob="full weights")

    def mended(problem: str) -> Plan:
        caught = an_iteration(1, status="caught", plan=full, caught=({"rung": "static", "problem": problem, "seconds": 0.1},))
        (plan,) = Offline().propose(replace(view, iterations=(caught,)))
        return plan

    adapter = mended(f"one row needs about 130 GB; {ADAPTER_INSTEAD}")
    assert adapter.lora == start.lora and adapter.trainer["learning_rate"] == start.trainer["learning_rate"]
    slower = mended("diverged: the loss went from 2.00 to 9.00")
    assert slower.lora == {}
    assert slower.trainer["learning_rate"] == pytest.approx(FULL_RATE * start.trainer["learning_rate"] / 4)


def test_the_first_plan_leaves_checkpointing_to_memory() -> None:
    assert "gradient_checkpointing" not in first_plan(a_view(machine=ON_GPU)).trainer


# --- the training process, on a CPU, told that it has a card ---

ARGUMENTS = {"learning_rate": 1e-2, "adam_epsilon": 1e-3, "per_device_train_batch_size": 8, "max_length": 256}
SMALL = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
# of unlike length, and too long together for the shared layout
UNLIKE = [(f"a:{i}", f"Say {i}. " * (1 + 9 * (i % 3)), f"{i}" * (1 + i % 5)) for i in range(16)]


def job(folder: Path, **trainer: Any) -> dict[str, Any]:
    return {
        "method": "sft",
        "examples": UNLIKE,
        "golds": [""] * 16,
        "rejected": [""] * 16,
        "form": {"kind": "plain", "key": "", "lead": ""},
        "trainer": {**ARGUMENTS, **trainer},
        "lora": SMALL,
        "stint": {"clock": "wall", "seconds": 1e6, "wall_at_most": 1e6},
        "max_steps": 3,
        "seed": 0,
        "schedule": {"start": 0.05, "warm": 0.05, "end": 0.02},
        "init": None,
        "out": str(folder / "out"),
        "scratch": str(folder),
    }


@pytest.mark.slow
def test_a_card_changes_how_a_step_is_computed_and_not_what_it_learns_and_a_cpu_changes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from ft_agent import packing
    from ft_agent.methods import training
    from ft_agent.worker import Worker
    from safetensors.torch import load_file

    found, said = {}, {}
    monkeypatch.setattr(packing, "MAX_SHARED_TOKENS", 64)
    worker = Worker(str(tiny), lambda event: None)
    assert worker.packed_layout_works() and not worker.packed_works and worker.free_card() is None
    assert isinstance(worker.shape, Shape)
    arguments = (worker.tokenizer, worker.pad, worker.dtype, worker.shared_works, 512)
    setting = training.Setting(job(tmp_path), ARGUMENTS, *arguments)
    method = training.METHODS["sft"]()
    material = method.read(setting)
    assert training.fitted(worker, method, setting, material) == (setting, None)
    # as much as two rows at a time need with everything kept; of a kind without bfloat16, as this CPU computes in fp32
    by_two = {**ARGUMENTS, "per_device_train_batch_size": 2}
    two = fit_on(Card("", GB, GB, (7, 0)), worker.shape, "sft", by_two, SMALL, material.counted).peak
    for name, free in (("cpu", None), ("roomy", GB), ("tight", int(two / SHARE) + 1)):
        described = None if free is None else Card("NVIDIA H200", free, free, (7, 0))
        monkeypatch.setattr(worker, "free_card", lambda described=described: described)
        worker.packed_works = described is not None
        said[name] = training.train(worker, job(tmp_path / name))
        found[name] = load_file(tmp_path / name / "out" / "adapter_model.safetensors")
    assert [said[n]["layout"] for n in said] == ["Padded", "Packed", "Packed"]
    assert said["cpu"]["fit"] == "" and "8 rows at once, 1 passes a step, packed" in said["roomy"]["fit"]
    assert "2 rows at once, 4 passes a step, packed" in said["tight"]["fit"]
    assert {said[n]["examples"] for n in said} == {24} and {said[n]["steps"] for n in said} == {3}
    for name in ("roomy", "tight"):
        for key, value in found["cpu"].items():
            assert torch.allclose(found[name][key], value, rtol=1e-3, atol=1e-5), (name, key)
    assert any(float(v.abs().max()) > 1e-4 for k, v in found["cpu"].items() if "lora_B" in k)
    assert "tokens/s" in said["cpu"]["speed"] and "TFLOP/s" in said["cpu"]["speed"] and "peak" not in said["cpu"]["speed"]
