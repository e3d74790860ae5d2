"""DPO, GRPO and full weights, really trained on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ft_agent.data import Example
from ft_agent.methods.base import Setting
from ft_agent.methods.grpo import Grpo
from ft_agent.methods.lineage import lineage_problems
from ft_agent.train import Trainer, TrainingFailed
from reading.rows import AnswerForm

pytestmark = pytest.mark.slow

LORA = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
ARGUMENTS = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 256}
GROUP = {"learning_rate": 1e-2, "per_device_train_batch_size": 8, "num_generations": 8, "max_completion_length": 4}
PAIRS = [Example(f"a:{i}", f"Say {i}.", f"{i}", "s", gold=f"{i}", rejected=f"x{i}") for i in range(24)]
PLAIN = AnswerForm("plain")


def accepted(folder: Path, tiny: Path) -> tuple[bool, str]:
    from harness.grading.submission.check import check_submission

    report = check_submission(folder, tiny)
    return report.ok, report.kind


def wrong(examples: list[Example]) -> list[Example]:
    return [Example(e.id, e.prompt, e.rejected, e.slice) for e in examples]


def mean_credit(trainer: Trainer, examples: list[Example], adapter: Path | None) -> float:
    credit = trainer.score(examples, adapter)["credit"]
    return float(sum(credit.values()) / len(credit))


def test_dpo_makes_right_answers_likelier_against_wrong_ones(trainer: Trainer, tiny: Path, tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = []
    done = trainer.train(
        PAIRS,
        {**ARGUMENTS, "beta": 1.0},
        LORA,
        method="dpo",
        seconds=120.0,
        max_steps=25,
        out=tmp_path / "a",
        on_step=steps.append,
    )
    assert (done["end"], done["steps"], done["dropped"]) == ("done", 25, 0)
    # before anything is learned both answers are as likely as in the reference: the loss is ln 2
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert steps[-1]["loss"] < 0.5
    right, other = mean_credit(trainer, PAIRS, tmp_path / "a"), mean_credit(trainer, wrong(PAIRS), tmp_path / "a")
    before = mean_credit(trainer, PAIRS, None) / mean_credit(trainer, wrong(PAIRS), None)
    assert right / other > 1.5 * before
    assert accepted(tmp_path / "a", tiny) == (True, "adapter")


def test_dpo_goes_on_from_an_adapter_with_that_adapter_as_its_reference(trainer: Trainer, tmp_path: Path) -> None:
    trainer.train(PAIRS, ARGUMENTS, LORA, seconds=120.0, max_steps=20, out=tmp_path / "a")
    steps: list[dict[str, Any]] = []
    trainer.train(PAIRS, ARGUMENTS, LORA, method="dpo", seconds=60.0, max_steps=1, init=tmp_path / "a", on_step=steps.append)
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=1e-3)


def test_dpo_leaves_out_what_has_no_wrong_answer_and_says_so_where_nothing_is_left(trainer: Trainer) -> None:
    some = [*PAIRS[:8], *(Example(e.id, e.prompt, e.answer, "s") for e in PAIRS[8:])]
    assert trainer.train(some, ARGUMENTS, LORA, method="dpo", seconds=60.0, max_steps=1)["unused"] == 16
    with pytest.raises(TrainingFailed, match="dpo needs rejected answers"):
        trainer.train(some[8:], ARGUMENTS, LORA, method="dpo", seconds=60.0, max_steps=1)


def test_grpo_learns_to_write_what_is_rewarded(tiny: Path, tmp_path: Path) -> None:
    same = [Example(f"a:{i}", f"Say {i}.", "7", "s", gold="7") for i in range(16)]
    mixed = [Example(f"a:{i}", f"Say {i % 16}.", "5678"[(i * 7 + i // 16) % 4], "s") for i in range(64)]
    # a base model that says one of four digits, whatever it is asked: what it learns from rewards is which of them
    base = shutil.copytree(tiny, tmp_path / "base")
    with Trainer(str(tiny), tmp_path / "scratch") as first:
        full = {"learning_rate": 1e-2, "per_device_train_batch_size": 16}
        first.train(mixed, full, {}, seconds=1e6, max_steps=40, out=tmp_path / "full")
    shutil.copy(tmp_path / "full" / "model.safetensors", base / "model.safetensors")
    # steps alone decide the rate, so that a busy machine learns the same
    steps: list[dict[str, Any]] = []
    group = {**GROUP, "per_device_train_batch_size": 32, "num_generations": 16}
    with Trainer(str(base), tmp_path / "scratch") as second:
        done = second.train(
            same, group, LORA, method="grpo", form=PLAIN, seconds=1e6, max_steps=40, out=tmp_path / "a", on_step=steps.append
        )
        before, after = mean_credit(second, same, None), mean_credit(second, same, tmp_path / "a")
    assert (done["end"], done["steps"], len(steps)) == ("done", 40, 40)
    assert all(0.0 <= s["reward"] <= 1.0 for s in steps)
    # a rank of 8 under a frozen output layer cannot raise it to much more
    assert after > 1.3 * before
    assert accepted(tmp_path / "a", base) == (True, "adapter")


def test_grpo_writes_little_more_than_the_longest_known_answer_where_a_plan_says_nothing(tiny: Path) -> None:
    from transformers import AutoTokenizer

    job = {"examples": [(e.id, e.prompt, e.answer) for e in PAIRS], "golds": [e.gold for e in PAIRS]}
    setting = Setting(job, {"per_device_train_batch_size": 32}, AutoTokenizer.from_pretrained(tiny), 0, None, False, 512)
    material = Grpo().read(setting)
    # two digits and the end mark, doubled, and sixteen
    assert material.arguments == {"max_completion_length": 22}
    # rows come round again until a step's groups are full
    assert (len(material.rows), material.dropped) == (48, 0)
    narrow = Setting(job, {"max_completion_length": 500}, setting.tokenizer, 0, None, False, 512)
    with pytest.raises(ValueError, match="lower max_completion_length"):
        Grpo().read(narrow)


def test_grpo_needs_a_known_answer(trainer: Trainer) -> None:
    with pytest.raises(TrainingFailed, match="no example has a bare right answer"):
        trainer.train(wrong(PAIRS), GROUP, LORA, method="grpo", form=PLAIN, seconds=60.0, max_steps=1)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_full_weights_are_trained_handed_in_and_taken_off_again(
    trainer: Trainer, tiny: Path, tmp_path: Path, method: Any
) -> None:
    before = trainer.score(PAIRS, None)
    done = trainer.train(
        PAIRS, {**ARGUMENTS, "learning_rate": 3e-3}, {}, method=method, seconds=120.0, max_steps=20, out=tmp_path / "full"
    )
    assert done["end"] == "done"
    assert accepted(tmp_path / "full", tiny) == (True, "full")
    scored = trainer.score(PAIRS, tmp_path / "full")
    if method == "sft":
        assert scored["loss"] < before["loss"] - 0.5
    assert trainer.score(PAIRS, None)["credit"] == before["credit"]


def test_full_weights_go_on_from_a_full_model_and_from_an_adapter(trainer: Trainer, tiny: Path, tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "learning_rate": 3e-3}
    firsts = {}
    for name, lora in (("full", {}), ("adapter", LORA)):
        trainer.train(PAIRS, arguments, lora, seconds=120.0, max_steps=20, out=tmp_path / name)
        steps: list[dict[str, Any]] = []
        trainer.train(PAIRS, arguments, {}, seconds=60.0, max_steps=1, init=tmp_path / name, on_step=steps.append)
        firsts[name] = steps[0]["loss"]
        expected = trainer.score(PAIRS[:4], tmp_path / name)["loss"]
        assert firsts[name] == pytest.approx(expected, rel=0.02)
    with pytest.raises(TrainingFailed, match="an adapter on it could not be handed in"):
        trainer.train(PAIRS, arguments, LORA, seconds=60.0, max_steps=1, init=tmp_path / "full")


def test_an_adapter_that_does_not_fit_leaves_the_base_model_as_it_was(trainer: Trainer, tmp_path: Path) -> None:
    before = trainer.score(PAIRS, None)["credit"]
    trainer.train(PAIRS, ARGUMENTS, LORA, seconds=60.0, max_steps=1, out=tmp_path / "a")
    with pytest.raises(TrainingFailed, match="size mismatch"):
        trainer.train(PAIRS, ARGUMENTS, {**LORA, "r": 3}, seconds=60.0, max_steps=1, init=tmp_path / "a")
    assert trainer.score(PAIRS, None)["credit"] == before


def test_what_cannot_be_continued_is_told_before_it_is_tried_and_what_can_is_not(trainer: Trainer, tmp_path: Path) -> None:
    trainer.train(PAIRS, ARGUMENTS, LORA, seconds=60.0, max_steps=1, out=tmp_path / "a")
    trainer.train(PAIRS, ARGUMENTS, {}, seconds=60.0, max_steps=1, out=tmp_path / "full")
    assert lineage_problems(LORA, tmp_path / "a") == lineage_problems({}, tmp_path / "a") == lineage_problems(LORA, None) == []
    assert lineage_problems({**LORA, "r": 3}, tmp_path / "a") == [
        "lora.r = 3: the parent's adapter has 8; take that, or set parent to null"
    ]
    # it would load, and the model would start from something else than the parent was
    assert "lora.lora_alpha = 32" in lineage_problems({**LORA, "lora_alpha": 32}, tmp_path / "a")[0]
    assert "lora.target_modules" in lineage_problems({**LORA, "target_modules": ["q_proj"]}, tmp_path / "a")[0]
    assert lineage_problems({}, tmp_path / "full") == []
    assert "an adapter on it could not be handed in" in lineage_problems(LORA, tmp_path / "full")[0]


def test_every_method_tells_its_arguments(trainer: Trainer) -> None:
    schemas = trainer.info["schemas"]
    assert set(schemas) == {"sft", "dpo", "grpo", "lora"}
    assert "beta" in schemas["dpo"] and "num_generations" in schemas["grpo"] and "num_generations" not in schemas["sft"]
    assert json.dumps(schemas)
