"""What `dojo doctor task T` says of grading on paper: memory, cards, time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.base_models import write_manifest
from harness.executor.doctor_grading import Card, Speed, cards_here, diagnose_grading
from harness.grading.memory import SHAPES, bandwidth_of, need_of, shape_of
from harness.sandbox.base import Check
from harness.spec.budget import Budget
from harness.spec.errors import SpecError
from harness.spec.task import Generation, Limits, ProfileSpec, Sizes
from tests.unit.assets.test_added_models import weights
from tests.unit.sandbox.nvidia.trees import Tree, uuid

PROFILE = ProfileSpec(
    base_model="qwen2.5-7b",
    budget=Budget(wall=60),
    limits=Limits(gpus=1),
    generation=Generation(max_new_tokens=8192, max_context=32768, batch_size=32),
    sizes=Sizes(dev=15, hidden=15, sources=1),
)
H200 = Card("NVIDIA H200", 141e9)
OLD = Card("some card", 24e9)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("3b", 3_085_938_688), ("7b", 7_615_616_512), ("14b", 14_770_033_664), ("32b", 32_763_876_352)],
)
def test_the_shapes_have_as_many_weights_as_their_makers_say(name: str, parameters: int) -> None:
    assert SHAPES[f"qwen2.5-{name}"].parameters == parameters


def test_the_shape_of_a_real_model_counts_its_real_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    for kind, more in [("Qwen2", {}), ("Llama", {"attention_bias": False}), ("Mistral", {"head_dim": 24})]:
        config = getattr(transformers, f"{kind}Config")(
            hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=128, tie_word_embeddings=kind == "Llama", **more,
        )  # fmt: skip
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        config.save_pretrained(tmp_path / kind)
        shape = shape_of(json.loads((tmp_path / kind / "config.json").read_bytes()))
        assert shape.parameters == sum(weight.numel() for weight in model.parameters()), kind


def test_keys_and_values_take_what_a_cache_really_holds() -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = transformers.Qwen2Config(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=128
    )
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    with torch.inference_mode():
        cache = model(input_ids=torch.ones((1, 10), dtype=torch.long), use_cache=True).past_key_values
    held = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert held == 10 * shape_of(config.to_dict()).token_bytes


def test_a_configuration_without_a_shape_says_so() -> None:
    with pytest.raises(SpecError, match="does not tell the shape"):
        shape_of({"model_type": "rwkv"})


def found(cards: list[Card], model: str, cache: Path, speed: Speed | None = None) -> dict[str, Check]:
    return {check.name: check for check in diagnose_grading(PROFILE, model, cache, cards, speed)}


def test_what_fits_is_told_of_the_smallest_card_and_of_the_other_sizes_on_paper(tmp_path: Path) -> None:
    checks = found([H200], "qwen2.5-7b", tmp_path)
    memory = checks["grading memory"]
    assert memory.ok and "15.2 GB of weights" in memory.detail and "holds 57 answers" in memory.detail
    assert {name for name in checks if name.startswith("on paper")} == {f"on paper qwen2.5-{n}" for n in ("3b", "14b", "32b")}
    assert "80 GB: too small, 141 GB: 6" in checks["on paper qwen2.5-32b"].detail
    small = found([H200, OLD], "qwen2.5-14b", tmp_path)["grading memory"]
    assert not small.ok and "holds 0 answers" in small.detail and "a card of 43 GB or more" in small.hint


def test_without_a_gpu_it_says_what_would_be_needed(tmp_path: Path) -> None:
    memory = found([], "qwen2.5-32b", tmp_path)["grading memory"]
    assert memory.ok and "no GPU is here; one of 86 GB or more is needed" in memory.detail


def test_time_is_told_by_the_speed_said_else_by_what_the_card_can_read_else_not(tmp_path: Path) -> None:
    said = found([H200], "qwen2.5-7b", tmp_path, Speed(4096, "as you say"))["grading time"]
    assert said.detail == "at most 30s: 15 items with answers of 8,192 tokens at 4,096 tokens a second (as you say)"
    bound = found([H200], "qwen2.5-7b", tmp_path)["grading time"].detail
    need = need_of(SHAPES["qwen2.5-7b"], PROFILE.generation)
    step = (need.weights + 15 * need.answer / 2) / 4.8e12
    assert bound.startswith(f"{round(8192 * step)}s or more") and "NVIDIA H200 (141 GB)" in bound
    assert found([OLD], "qwen2.5-3b", tmp_path)["grading time"].detail.startswith("not told")
    assert bandwidth_of("NVIDIA A100-SXM4-40GB") == 1.555e12 and bandwidth_of("NVIDIA A100-SXM4-80GB") == 2.0e12


def test_a_model_in_the_cache_is_told_by_its_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    weights(folder / "model.safetensors", elements=1000)
    config = {"num_attention_heads": 4, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder, "mine", "mit", {"folder": "mine"})
    assert "0.0 GB of weights" in found([H200], "mine", tmp_path)["grading memory"].detail
    (folder / "config.json").write_text("{}".ljust((folder / "config.json").stat().st_size))
    broken = found([H200], "mine", tmp_path)
    assert list(broken) == ["grading memory"] and not broken["grading memory"].ok


def test_cards_are_told_by_nvidia_smi(tmp_path: Path) -> None:
    host = Tree(tmp_path, [0])
    row = f"0, {uuid(0)}, NVIDIA H200, 570.86, Disabled, 00000000:01:00.0, 143771, 1, 0, 75.1, 30, Default"
    host.program("nvidia-smi", f"echo '{row}'")
    [card] = cards_here(host.tree)
    assert card.words == "NVIDIA H200 (151 GB)"
    assert cards_here(Tree(tmp_path / "none", []).tree) == []
