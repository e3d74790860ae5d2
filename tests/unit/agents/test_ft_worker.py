"""The training process's own parts on a tiny model: layouts, loss, jobs, and what goes wrong in them."""

from pathlib import Path
from typing import Any

import pytest
from ft_agent.data import Example
from ft_agent.packing import Encoded, Padded, SharedPrefix, choose_collator, encode, shared_prefix
from ft_agent.train import Trainer, TrainingFailed

pytestmark = pytest.mark.slow

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
ARGUMENTS = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 256}
EXAMPLES = [Example(f"a:{i}", f"Say {i}.", f"\\boxed{{{i}}}", "s") for i in range(24)]


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> tuple[Any, Any, list[Encoded]]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    encoded, _ = encode(tokenizer, [(e.id, e.prompt, e.answer) for e in EXAMPLES], 256)
    return tokenizer, model, encoded


def batch(collator: Any, part: list[Encoded]) -> dict[str, Any]:
    return dict(collator([vars(e) for e in part]))


def test_an_answer_ends_with_the_end_mark_and_nothing_after_it(loaded: tuple[Any, Any, list[Encoded]]) -> None:
    tokenizer, _, encoded = loaded
    assert tokenizer.decode(encoded[7].answer) == "\\boxed{7}<|end|>"
    assert tokenizer.decode(encoded[7].prompt).endswith("Say 7.<|end|>\n<|start|>assistant\n")


def test_what_is_longer_than_allowed_is_dropped_and_named(loaded: tuple[Any, Any, list[Encoded]]) -> None:
    tokenizer, _, _ = loaded
    good, dropped = encode(tokenizer, [("a", "Say 1.", "1"), ("b", "x" * 300, "1")], 100)
    assert ([e.id for e in good], dropped) == (["a"], ["b"])


def test_both_layouts_and_the_models_own_loss_agree_in_value_and_gradient(loaded: tuple[Any, Any, list[Encoded]]) -> None:
    import torch
    from ft_agent.lean import answer_loss

    _, model, encoded = loaded
    part = encoded[:5]
    prefix = shared_prefix(encoded)
    assert prefix > 4
    gradients, losses = [], []
    padded = batch(Padded(0), part)
    for compute in (
        lambda: answer_loss(model, batch(SharedPrefix(prefix, torch.float32), part)),
        lambda: answer_loss(model, dict(padded)),
        lambda: model(**padded).loss,
    ):
        model.zero_grad()
        loss = compute()
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.model.layers[0].self_attn.q_proj.weight.grad.clone())
    assert losses == pytest.approx([losses[2]] * 3, rel=1e-5)
    for gradient in gradients[:2]:
        assert torch.allclose(gradient, gradients[2], rtol=1e-3, atol=1e-7)


def test_long_batches_are_padded_instead(loaded: tuple[Any, Any, list[Encoded]]) -> None:
    _, _, encoded = loaded
    assert isinstance(choose_collator(encoded, 8, dtype=None, pad=0, shared_works=True), SharedPrefix)
    assert isinstance(choose_collator(encoded, 8, dtype=None, pad=0, shared_works=False), Padded)
    long = [Encoded("x", (1,) * 600, (2, 3))] * 8 + encoded
    assert isinstance(choose_collator(long, 8, dtype=None, pad=0, shared_works=True), Padded)


def test_training_lowers_the_loss_saves_an_adapter_and_leaves_the_base_model_as_it_was(trainer: Trainer, tmp_path: Path) -> None:
    before = trainer.score(EXAMPLES, None)
    steps: list[dict[str, Any]] = []
    done = trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=30, out=tmp_path / "a", on_step=steps.append)
    assert (done["end"], done["steps"], done["layout"]) == ("done", 30, "SharedPrefix")
    assert len(steps) == 30
    assert sum(s["loss"] for s in steps[-5:]) < sum(s["loss"] for s in steps[:5])
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in (tmp_path / "a").iterdir()}
    assert trainer.score(EXAMPLES, tmp_path / "a")["loss"] < before["loss"]
    assert trainer.score(EXAMPLES, None)["loss"] == pytest.approx(before["loss"])


def test_a_run_that_continues_an_adapter_starts_where_that_ended(trainer: Trainer, tmp_path: Path) -> None:
    trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=30, out=tmp_path / "a")
    steps: list[dict[str, Any]] = []
    trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=2, init=tmp_path / "a", on_step=steps.append)
    fresh: list[dict[str, Any]] = []
    trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=2, on_step=fresh.append)
    assert steps[0]["loss"] < fresh[0]["loss"] - 0.1


def test_the_time_given_is_kept_and_the_rate_has_come_down(trainer: Trainer) -> None:
    steps: list[dict[str, Any]] = []
    done = trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=3.0, on_step=steps.append)
    assert done["seconds"] < 6.0
    assert steps[-1]["rate"] < 0.3 * max(s["rate"] for s in steps)


def test_paced_by_processor_time_it_ends_when_that_is_used_or_when_the_wall_allows_no_more(trainer: Trainer) -> None:
    done = trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=1.0, clock="cpu")
    assert (done["end"], done["steps"] > 0) == ("done", True)
    assert done["seconds"] >= 1.0
    cut = trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=1e6, clock="cpu", wall_at_most=1.0)
    assert (cut["end"], cut["steps"] > 0) == ("done", True)
    assert cut["seconds"] < 1e3
    assert set(trainer.score(EXAMPLES, None, seconds=1e3, clock="cpu")["items"]) == {e.id for e in EXAMPLES}
    assert trainer.score(EXAMPLES, None, seconds=1e-9)["items"] == {}


def test_gradient_accumulation_weighs_all_answer_tokens_the_same(trainer: Trainer) -> None:
    whole: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    eight = {**ARGUMENTS, "per_device_train_batch_size": 8}
    two = {**ARGUMENTS, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    trainer.train(EXAMPLES, eight, LORA, seconds=60.0, max_steps=2, on_step=whole.append)
    trainer.train(EXAMPLES, two, LORA, seconds=60.0, max_steps=2, on_step=parts.append)
    assert [s["loss"] for s in parts] == pytest.approx([s["loss"] for s in whole], rel=1e-3)


def test_a_forced_score_is_what_greedy_generation_would_give(trainer: Trainer, tiny: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "a"
    arguments = {**ARGUMENTS, "learning_rate": 2e-2}
    same = [Example(f"b:{i}", f"Say {'abcd'[i % 4]}.", f"\\boxed{{{'wxyz'[i % 4]}}}", "s") for i in range(16)]
    trainer.train(same, arguments, {**LORA, "r": 16}, seconds=120.0, max_steps=150, out=out)
    scored = trainer.score(same, out)["items"]
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(out)).eval()
    for example in same[:4]:
        chat = [{"role": "user", "content": example.prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = model.generate(**inputs, max_new_tokens=16, do_sample=False)[0][inputs["input_ids"].shape[1] :]
        assert float(tokenizer.decode(ids, skip_special_tokens=True) == example.answer) == scored[example.id]


def test_a_rate_that_explodes_is_stopped_and_named(trainer: Trainer) -> None:
    with pytest.raises(TrainingFailed) as caught:
        trainer.train(EXAMPLES, {**ARGUMENTS, "learning_rate": 1e20, "max_grad_norm": 0.0}, LORA, seconds=60.0, max_steps=60)
    assert caught.value.kind in ("nan", "diverged")
    assert trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=1)["steps"] == 1


def test_an_argument_the_trainer_refuses_is_an_error_and_the_process_lives_on(trainer: Trainer) -> None:
    with pytest.raises(TrainingFailed, match="no_such_module") as caught:
        trainer.train(EXAMPLES, ARGUMENTS, {**LORA, "target_modules": ["no_such_module"]}, seconds=60.0, max_steps=1)
    assert caught.value.kind == "error"
    assert trainer.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=1)["steps"] == 1


def test_a_process_that_dies_is_named_and_replaced(tiny: Path, tmp_path: Path) -> None:
    with Trainer(str(tiny), tmp_path) as worker:
        worker.ready()
        assert worker._child is not None

        def kill(_: dict[str, Any]) -> None:
            assert worker._child is not None
            worker._child.process.kill()

        with pytest.raises(TrainingFailed, match="died with exit code -9") as caught:
            worker.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, on_step=kill)
        assert caught.value.kind == "crashed"
        assert worker.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, max_steps=1)["steps"] == 1


def test_a_process_that_hangs_is_named_and_replaced(tiny: Path, tmp_path: Path) -> None:
    import signal

    with Trainer(str(tiny), tmp_path) as worker:
        worker.ready()

        def stop(_: dict[str, Any]) -> None:
            assert worker._child is not None
            worker._child.process.send_signal(signal.SIGSTOP)
            worker.stall_s = 1.0

        with pytest.raises(TrainingFailed, match="no sign of life") as caught:
            worker.train(EXAMPLES, ARGUMENTS, LORA, seconds=60.0, on_step=stop)
        assert caught.value.kind == "stalled"


def test_a_model_that_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    with Trainer(str(tmp_path / "nowhere"), tmp_path) as worker, pytest.raises(TrainingFailed):
        worker.ready()
