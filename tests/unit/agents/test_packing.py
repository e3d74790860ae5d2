"""Packed rows: the same loss and gradients as one row for each example, and what they save."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reading.fitting import Fit, Rows, how_trained, peak_of
from reading.memory import Shape
from reading.packing import ALIGNED, IGNORED, LEAST_SAVED, ROW_TOKENS, Packed, computed, packed, saved
from tiny_model import make_tiny_model

from harness.assets.base_models import find_base_model
from harness.spec.errors import DojoError

WORDS = ("Round 3482 to the nearest hundred.", "What is 17 + 25?", "How many days do three weeks have?")


@pytest.mark.parametrize(
    "lengths",
    [[5], [1500, 300, 300], [1100, 1000, 1000], [2048] * 3, [3000, 10, 10, 10], list(range(1, 200)), [7] * 512],
    ids=["one", "two fit one", "none fit", "full", "over the row", "many", "a large batch"],
)
def test_every_example_is_in_one_row_and_no_more_is_computed_than_padded(lengths: list[int]) -> None:
    rows = packed(lengths)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert all(sum(lengths[p] for p in row) <= max(ROW_TOKENS, *lengths) for row in rows)
    count, width = computed(lengths, pack=True)
    assert count == len(rows) and width % ALIGNED == 0
    assert count * (width - ALIGNED) < len(lengths) * max(lengths)


def test_what_packing_saves_is_counted_batch_by_batch() -> None:
    assert computed([1500, 300, 300, 300], pack=False) == (4, 1500)
    assert computed([1500, 300, 300, 300], pack=True) == (2, 1504)
    assert saved([1500, 300, 300, 300] * 3, 4) == pytest.approx(1 - 2 * 1504 / (4 * 1500))
    assert saved([512] * 8, 4) == 0.0 and saved([500] * 8, 4) < LEAST_SAVED
    # one at a time there is nothing to pad
    assert saved([1504, 304], 1) == 0.0


def test_a_packed_row_counts_places_anew_and_an_examples_first_token_is_nobodys_next() -> None:
    examples = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}, {"input_ids": [8, 9], "labels": [IGNORED, 9]}]
    batch = {name: values.tolist() for name, values in Packed(pad=1)(examples).items()}
    rest = ALIGNED - 5
    assert batch == {
        "input_ids": [[5, 6, 7, 8, 9, *[1] * rest]],
        "position_ids": [[0, 1, 2, 0, 1, *[0] * rest]],
        "labels": [[IGNORED, 6, 7, IGNORED, 9, *[IGNORED] * rest]],
    }


def alone(model: Any, examples: Sequence[Mapping[str, Any]]) -> Any:
    """The mean loss over all labels, each example in a pass of its own: what a step is to compute."""
    import torch
    from ft_agent.lean import answer_loss

    total = sum(len([label for label in e["labels"][1:] if label != IGNORED]) for e in examples)
    for e in examples:
        answer_loss(model, {k: torch.tensor([e[k]]) for k in ("input_ids", "labels")}, total).backward()


def gradients(model: Any) -> dict[str, Any]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The largest distance of a tensor's gradients in its own size."""
    assert one.keys() == other.keys() and one
    return max(float((one[n] - other[n]).norm() / one[n].norm()) for n in one)


def as_examples(tokenizer: Any) -> list[dict[str, list[int]]]:
    """Examples of unlike length; the first half of each is a prompt."""
    found = []
    for number in range(len(WORDS)):
        ids = tokenizer(" ".join(WORDS[: 1 + number]))["input_ids"]
        found.append({"input_ids": ids, "labels": [IGNORED] * (len(ids) // 2) + ids[len(ids) // 2 :]})
    return found


def compared(folder: Path, rows: int) -> tuple[float, float, float]:
    """How far from gradients of examples alone those of packed rows are, and those of a row whose examples see each other.

    Last, how far the model's own loss is from the one that ft_agent trains by.
    """
    import torch
    from ft_agent.lean import answer_loss
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    examples = as_examples(AutoTokenizer.from_pretrained(folder))
    # gradients of the first and the last layer have gone through everything
    for name, p in model.named_parameters():
        p.requires_grad_(any(part in name for part in ("layers.0.", f"layers.{model.config.num_hidden_layers - 1}.")))
    alone(model, examples)
    wanted = gradients(model)
    model.zero_grad()
    batch = Packed(pad=0)(examples)
    assert len(batch["input_ids"]) == rows
    answer_loss(model, dict(batch)).backward()
    found = gradients(model)
    model.zero_grad()
    whole = {**batch, "position_ids": torch.arange(batch["input_ids"].shape[1]).expand_as(batch["position_ids"])}
    answer_loss(model, whole).backward()
    naive = gradients(model)
    model.zero_grad()
    with torch.no_grad():
        own = float(model(**batch, use_cache=False).loss)
        lean = float(answer_loss(model, dict(batch)))
    return apart(wanted, found), apart(wanted, naive), abs(own - lean) / lean


def test_packed_rows_learn_what_examples_alone_would_and_naive_ones_do_not(tmp_path: Path) -> None:
    packed_apart, naive_apart, losses_apart = compared(make_tiny_model(tmp_path / "tiny"), rows=1)
    assert packed_apart < 1e-4 and losses_apart < 1e-5
    assert naive_apart > 0.05


@pytest.mark.slow
def test_so_do_those_of_the_real_small_model() -> None:
    try:
        smol = find_base_model("smol", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))
    except DojoError as exc:
        pytest.skip(f"base model smol is not prepared: {exc.hint}")
    packed_apart, naive_apart, losses_apart = compared(smol.path, rows=1)
    assert packed_apart < 1e-4 and losses_apart < 1e-5
    assert naive_apart > 0.05


@pytest.mark.parametrize(("loss", "checkpointing"), [("ft_agent's", False), ("TRL's", True)])
def test_the_memory_of_packed_rows_is_counted_within_a_tenth_for_both_losses(loss: str, checkpointing: bool) -> None:
    import torch
    from ft_agent.lean import answer_loss
    from reading.training import SCORED_AT_ONCE
    from saved_tensors import most_bytes, small_model
    from trl.trainer.sft_trainer import _CHUNKED_LM_HEAD_CHUNK_SIZE, _patch_chunked_ce_lm_head

    lengths, how = [300, 100, 90, 60, 40, 30, 20, 128], replace(how_trained(4, bf16=True), checkpointing=checkpointing)
    model = small_model("qwen2", how, 6, hidden_size=128, intermediate_size=688, vocab_size=4000)
    examples = [{"input_ids": list(range(n)), "labels": [IGNORED] * (n - n // 4) + [1] * (n // 4)} for n in lengths]
    batch = Packed(0)(examples)
    if loss == "TRL's":
        _patch_chunked_ce_lm_head(model.get_base_model(), chunk_size=_CHUNKED_LM_HEAD_CHUNK_SIZE, is_vlm=False)

    def step(model: Any, _: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return answer_loss(model, batch) if loss == "ft_agent's" else model(**batch, use_cache=False).loss

    rows = Rows(lengths, [n // 4 for n in lengths]) if loss == "ft_agent's" else Rows(lengths, most_scored=SCORED_AT_ONCE)
    shape = Shape.of(model.config.to_dict())
    told = peak_of(shape, how, rows, len(lengths), pack=True, checkpointing=checkpointing)
    assert told == pytest.approx(most_bytes(model, how, step), rel=0.1)


@pytest.mark.slow
def test_an_adapter_of_packed_rows_in_several_passes_is_the_one_of_padded_rows(tmp_path: Path) -> None:
    import reading.training
    import torch
    from safetensors.torch import load_file

    tiny = make_tiny_model(tmp_path / "tiny")
    pairs = [(f"Say {i}. " * (1 + i % 7), f"{i}" * (1 + i % 5)) for i in range(24)]
    settings = {"batch_size": 8, "learning_rate": 1e-2, "max_length": 256, "rank": 4}
    ways = {"padded": None, "packed": Fit(8, 1, False, 0, packed=True), "in passes": Fit(4, 2, True, 0, packed=True)}
    found = {}
    for name, fit in ways.items():
        model, tokenizer = reading.training.load_model(str(tiny))
        torch.manual_seed(1)
        out = tmp_path / name / "adapter"
        # by the clock a faster way would take more steps
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(reading.training, "Progress", ThreeSteps)
            if fit is None:
                # what a CPU does, where nothing may be packed
                patched.delattr(reading.training, "Packed")
            reading.training.train_adapter(
                model,
                tokenizer,
                pairs,
                settings,
                stint={"clock": "wall", "seconds": 60.0, "wall_at_most": 60.0},
                seed=3,
                out=out,
                fit=fit,
            )
        found[name] = load_file(out / "adapter_model.safetensors")
    for name in ("packed", "in passes"):
        for key, value in found["padded"].items():
            assert torch.allclose(found[name][key], value, rtol=1e-3, atol=1e-5), (name, key)
    assert max(float(v.abs().max()) for k, v in found["padded"].items() if "lora_B" in k) > 1e-3


class ThreeSteps:
    """Progress by the number of steps: the trainer asks for the rate before training, and at each step for rate and end."""

    def __init__(self, stint: Any) -> None:
        self.asked = 0

    def share(self) -> float:
        self.asked += 1
        return 1.0 if self.asked > 6 else 0.1

    def left(self) -> float:
        return 1.0
