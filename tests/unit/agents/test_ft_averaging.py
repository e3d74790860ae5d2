"""The mean of adapters, against what the models themselves compute."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ft_agent.averaging import CannotAverage, average

pytestmark = pytest.mark.slow

Make = Callable[..., Path]


@pytest.fixture
def make(tiny: Path, tmp_path: Path) -> Make:
    """Saves an adapter with random weights in both matrices, as training leaves them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def saved(name: str, seed: int, **lora: Any) -> Path:
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(tiny)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
        model = get_peft_model(base, LoraConfig(**settings))
        with torch.no_grad():
            for parameter in (p for n, p in model.named_parameters() if "lora_" in n):
                parameter.copy_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(str(tmp_path / name))
        return tmp_path / name

    return saved


def changes(tiny: Path, adapter: Path) -> dict[str, Any]:
    """By how much an adapter changes each matrix of the base model, as PEFT merges it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    before = AutoModelForCausalLM.from_pretrained(tiny).state_dict()
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(adapter)).merge_and_unload().state_dict()
    return {n: (merged[n] - before[n]).double() for n in before}


def test_the_average_changes_every_matrix_by_the_weighted_mean_of_the_changes(make: Make, tiny: Path, tmp_path: Path) -> None:
    import torch

    folders = [make("a", 1), make("b", 2, r=2, lora_alpha=6), make("c", 3, r=8, use_rslora=True)]
    average(folders, [1.0, 2.0, 5.0], tmp_path / "mean")
    parts = [changes(tiny, f) for f in folders]
    for name, mean in changes(tiny, tmp_path / "mean").items():
        expected = sum(w * p[name] for w, p in zip((0.125, 0.25, 0.625), parts, strict=True))
        assert torch.allclose(mean, torch.as_tensor(expected), atol=1e-6), name


def test_without_weights_all_weigh_the_same_and_the_ranks_add_up(make: Make, tiny: Path, tmp_path: Path) -> None:
    import torch

    folders = [make("a", 1), make("b", 2)]
    average(folders, None, tmp_path / "mean")
    one, other = (changes(tiny, f) for f in folders)
    for name, mean in changes(tiny, tmp_path / "mean").items():
        assert torch.allclose(mean, (one[name] + other[name]) / 2, atol=1e-6), name
    assert json.loads((tmp_path / "mean" / "adapter_config.json").read_text())["r"] == 8


def test_an_average_is_accepted_as_a_submission_and_can_be_continued(make: Make, tiny: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from harness.grading.submission.check import check_submission

    average([make("a", 1), make("b", 2)], None, tmp_path / "mean")
    report = check_submission(tmp_path / "mean", tiny)
    assert (report.ok, report.kind) == (True, "adapter")
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(tmp_path / "mean"), is_trainable=True)
    assert any(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"base_model_name_or_path": "/models/other"}, "one base model"),
        ({"use_dora": True}, "more than a product"),
        ({"rank_pattern": {"q_proj": 2}}, "more than a product"),
    ],
)
def test_what_has_no_exact_mean_is_refused_with_the_reason(
    make: Make, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    one, other = make("a", 1), make("b", 2)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, **changed}))
    with pytest.raises(CannotAverage, match=reason):
        average([one, other], None, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_adapters_on_other_layers_one_alone_and_bad_weights_are_refused(make: Make, tiny: Path, tmp_path: Path) -> None:
    one, other = make("a", 1), make("b", 2, target_modules=["q_proj"])
    with pytest.raises(CannotAverage, match="same layers"):
        average([one, other], None, tmp_path / "mean")
    with pytest.raises(CannotAverage, match="two or more"):
        average([one], None, tmp_path / "mean")
    with pytest.raises(CannotAverage, match="one positive number for each"):
        average([one, one], [1.0, -1.0], tmp_path / "mean")
    full = shutil.copytree(tiny, tmp_path / "full")
    with pytest.raises(CannotAverage, match="holds no adapter"):
        average([one, full], None, tmp_path / "mean")
