"""Training in two processes on a CPU, against the same run in one."""

from pathlib import Path
from typing import Any

import pytest
from ft_agent import launch
from ft_agent.child import TrainingFailed
from ft_agent.data import Example
from ft_agent.train import Trainer
from tiny_model import make_tiny_model

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
# Adam divides by the gradient's own size, so that differences in the last digit would count: this epsilon damps them
ARGUMENTS = {"learning_rate": 1e-2, "adam_epsilon": 1e-3, "per_device_train_batch_size": 4, "max_length": 256}
# of unlike length, so that a mean of the processes' means would be another loss than the mean over all tokens
EXAMPLES = [Example(f"a:{i}", f"Say {i}.", f"{i}" * (1 + i % 5), "s") for i in range(24)]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(str(folder / "adapter_model.safetensors")))


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights_as_one(tmp_path: Path) -> None:
    import torch

    tiny = make_tiny_model(tmp_path / "tiny")
    losses: dict[int, list[float]] = {1: [], 2: []}
    for processes, seen in losses.items():
        with Trainer(str(tiny), tmp_path / "scratch", processes=processes) as trainer:
            done = trainer.train(
                EXAMPLES,
                ARGUMENTS,
                LORA,
                # steps alone decide the rate: one process is sooner at its first step than two
                seconds=1e6,
                max_steps=4,
                out=tmp_path / f"with{processes}",
                on_step=lambda e, seen=seen: seen.append(e["loss"]),  # type: ignore[misc]
            )
        assert (done["end"], done["steps"], done["processes"], done["examples"]) == ("done", 4, processes, 16)
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)
    one, two = weights(tmp_path / "with1"), weights(tmp_path / "with2")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-6), name
    assert any(float(t.abs().max()) > 1e-5 for n, t in one.items() if "lora_B" in n)


@pytest.mark.slow
def test_by_the_clock_both_processes_stop_together_and_an_error_in_them_is_told(tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny")
    with Trainer(str(tiny), tmp_path / "scratch", processes=2) as trainer:
        done = trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=2.0, clock="cpu", out=tmp_path / "a")
        assert done["end"] == "done" and done["steps"] >= 1
        assert (tmp_path / "a" / "adapter_model.safetensors").exists()
        with pytest.raises(TrainingFailed, match="no_such_module"):
            trainer.train(EXAMPLES, ARGUMENTS, {**LORA, "target_modules": ["no_such_module"]}, seconds=9.0, out=tmp_path / "b")
        assert trainer.score(EXAMPLES[:4], tmp_path / "a")["loss"] is not None


@pytest.mark.parametrize(
    ("gpus", "asked", "batch", "expected"),
    [
        (0, 0, 8, 1),
        (0, 2, 8, 2),
        (0, 2, 7, 1),
        (4, 0, 8, 4),
        (4, 0, 6, 3),
        (4, 2, 8, 2),
        (1, 0, 8, 1),
        (2, 8, 8, 2),
        (8, 0, 2, 2),
    ],
)
def test_processes_are_as_many_as_gpus_or_as_asked_and_share_a_batch_evenly(
    gpus: int, asked: int, batch: int, expected: int
) -> None:
    assert launch.how_many({"gpus": gpus, "cuda": gpus > 0}, asked, batch) == expected
