"""What `reading.memory` works out of a model's shape, beside what real small models have, keep and need."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from reading.memory import KINDS, Shape, Training, answering, estimate, kept_by_layer, operations_a_token
from where import AGENTS

QWEN = {"model_type": "qwen2", "vocab_size": 151936}
QWEN_3B = QWEN | {
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
    "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
QWEN_7B = QWEN | {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "tie_word_embeddings": False, "vocab_size": 152064,
}  # fmt: skip
SMOL = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
TOKENS, LENGTH = 128, 64
# as agents train: on a CPU in fp32; on a GPU adapters on bfloat16, all weights in fp32 under autocast, or all in bfloat16
WAYS = {
    "all weights, fp32": Training(TOKENS, TOKENS, LENGTH),
    "adapter, fp32": Training(TOKENS, TOKENS, LENGTH, rank=4),
    "adapter on bfloat16": Training(TOKENS, TOKENS, LENGTH, rank=4, weight_bytes=2, autocast=True),
    "all weights, autocast": Training(TOKENS, TOKENS, LENGTH, autocast=True),
    "all weights, bfloat16": Training(TOKENS, TOKENS, LENGTH, weight_bytes=2),
}


@pytest.mark.parametrize(("config", "parameters"), [(QWEN_3B, 3_085_938_688), (QWEN_7B, 7_615_616_512), (SMOL, 134_515_008)])
def test_weights_of_known_models_are_counted_exactly(config: dict[str, object], parameters: int) -> None:
    assert Shape.of(config).parameters == parameters


def test_an_adapter_on_the_small_model_has_the_weights_that_peft_reports() -> None:
    shape = Shape.of(SMOL)
    assert shape.adapter(16) == 4_884_480
    assert shape.adapter(8, targets=("q_proj",), layers=2) == 2 * 8 * (576 + 576)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"tie_word_embeddings": True, "head_dim": 24}, {"attention_bias": True}], ids=str)
def test_weights_are_those_that_transformers_makes(kind: str, more: dict[str, object]) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind, vocab_size=301, hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, **more,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    told = config.to_dict()
    if kind == "mistral":
        told.pop("attention_bias", None)  # it knows no such thing, and keeps what it is given
    assert Shape.of(told).parameters == model.num_parameters()


def test_another_kind_of_model_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'gpt2'"):
        Shape.of({"model_type": "gpt2"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "masked"), [("qwen2", False), ("qwen3", False), ("qwen2", True)])
def test_what_autograd_keeps_of_a_layer_is_counted_to_the_byte(kind: str, masked: bool, way: str) -> None:
    from saved_tensors import kept_bytes, small_model

    plan = replace(WAYS[way], masked=masked)
    two, three = (small_model(kind, plan, layers) for layers in (2, 3))
    shape = Shape.of(three.config.to_dict())
    kept = kept_bytes(three, plan) - kept_bytes(two, plan)
    # under autocast fp32 weights are kept a second time in 16 bits
    cast = sum(a * b for a, b in shape.linear().values()) if plan.rank == 0 else shape.adapter(plan.rank, layers=1)
    assert kept == TOKENS * kept_by_layer(shape, plan) + (2 * cast if plan.autocast else 0)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointing"])
@pytest.mark.parametrize(("way", "masked"), [*((way, False) for way in WAYS), ("adapter on bfloat16", True)])
def test_the_peak_is_within_a_tenth_of_what_a_training_step_needs(way: str, masked: bool, checkpointing: bool) -> None:
    from saved_tensors import most_bytes, small_model

    plan = replace(WAYS[way], tokens=512, scored=512, length=256, checkpointing=checkpointing, masked=masked)
    model = small_model("qwen2", plan, 6, hidden_size=128, intermediate_size=688)
    assert estimate(Shape.of(model.config.to_dict()), plan).peak == pytest.approx(most_bytes(model, plan), rel=0.1)


def test_fewer_logits_and_checkpointing_need_less_and_an_unfused_optimiser_more() -> None:
    shape, plan = Shape.of(QWEN_7B), Training(8192, 8192, 2048, rank=16, weight_bytes=2, autocast=True)
    whole = estimate(shape, plan).peak
    assert estimate(shape, replace(plan, scored=800)).peak < whole - 10e9
    assert estimate(shape, replace(plan, checkpointing=True)).peak < whole - 40e9
    full = Training(512, 512, 512, autocast=True, checkpointing=True)
    assert estimate(shape, replace(full, scratch=True)).peak > estimate(shape, full).peak + 10e9


def test_operations_of_a_token_are_six_a_weight_and_four_where_an_adapter_learns() -> None:
    shape = Shape.of(QWEN_7B)
    full, adapter = (operations_a_token(shape, Training(1, 1, 0, rank=rank)) for rank in (0, 16))
    assert full == 6 * (7_615_616_512 - 152064 * 3584 - 28 * (2 * 3584 + 3584 + 2 * 512) - 3584)
    assert adapter == 4 * full / 6 + 6 * shape.adapter(16)
    # of the answer alone the output layer is computed; attention meets the mean half of a row
    fewer = operations_a_token(shape, Training(1000, 100, 2048))
    assert fewer == pytest.approx(full - 6 * 0.9 * 152064 * 3584 + 6 * 2048 * 3584 * 28)


def test_answering_needs_weights_keys_values_and_logits() -> None:
    shape = Shape.of(QWEN_7B)
    assert answering(shape, 1, 0) == 2 * shape.parameters + 4 * 152064
    assert answering(shape, 32, 9216) - answering(shape, 32, 0) == 32 * 9216 * 2 * 28 * 512 * 2


def test_who_may_not_import_an_agent_asks_the_program(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(QWEN_7B))
    program = [sys.executable, str(AGENTS / "reading/memory.py")]
    done = subprocess.run(
        [*program, str(config), "--batch", "4", "--length", "2048", "--rank", "16", "--autocast"], capture_output=True
    )
    told = json.loads(done.stdout)
    plan = Training(8192, 8192, 2048, rank=16, weight_bytes=2, autocast=True)
    assert told["parameters"] == 7_615_616_512 and told["peak"] == estimate(Shape.of(QWEN_7B), plan).peak
    refused = subprocess.run([*program, str(tmp_path / "none.json")], capture_output=True, text=True)
    assert refused.returncode == 1 and "none.json" in refused.stderr
