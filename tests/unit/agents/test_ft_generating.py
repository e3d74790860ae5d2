"""The model's own answers: batches give what one by one gives, sampling is seeded, and the clock is kept."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from ft_agent.data import Example
from ft_agent.generating import generate
from ft_agent.train import Trainer

pytestmark = pytest.mark.slow

PROMPTS = [Example(f"a:{i}", f"Say {'very ' * (i % 5)}{i}.", "", "s") for i in range(13)]


@pytest.fixture(scope="module")
def adapter(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapter") / "a"
    pairs = [Example(f"b:{i}", e.prompt, "ab" * (1 + i % 4), "s") for i, e in enumerate(PROMPTS)]
    lora = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    trainer.train(pairs, {"learning_rate": 1e-2, "max_length": 256}, lora, seconds=60.0, max_steps=10, out=out)
    return out


def loaded(tiny: Path, adapter: Path | None) -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny)
    return AutoTokenizer.from_pretrained(tiny), (PeftModel.from_pretrained(model, str(adapter)) if adapter else model).eval()


@pytest.mark.parametrize("worn", [False, True])
def test_greedy_batches_give_what_the_model_gives_one_by_one(worn: bool, trainer: Trainer, adapter: Path, tiny: Path) -> None:
    said = trainer.generate(PROMPTS, adapter=adapter if worn else None, max_new_tokens=16)
    tokenizer, model = loaded(tiny, adapter if worn else None)
    for example, texts in zip(PROMPTS, said, strict=True):
        chat = [{"role": "user", "content": example.prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = model.generate(**inputs, max_new_tokens=16, do_sample=False)[0][inputs["input_ids"].shape[1] :]
        assert texts == [tokenizer.decode(ids, skip_special_tokens=True)]
    # some end by themselves, some at the limit
    assert worn or len({len(t) for texts in said for t in texts}) > 1


def test_samples_differ_and_come_again_with_the_same_seed(trainer: Trainer) -> None:
    one, again, other = (trainer.generate(PROMPTS, samples=3, temperature=1.0, max_new_tokens=8, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [len(texts) for texts in one] == [3] * len(PROMPTS)
    assert len({t for texts in one for t in texts}) > len(PROMPTS)


def test_generating_leaves_the_model_as_it_was(trainer: Trainer, adapter: Path) -> None:
    before = trainer.generate(PROMPTS[:3], max_new_tokens=8)
    trainer.generate(PROMPTS[:3], adapter=adapter, max_new_tokens=8)
    assert trainer.generate(PROMPTS[:3], max_new_tokens=8) == before
    pairs = [Example("c", "Say a.", "b", "s")] * 8
    done = trainer.train(pairs, {"learning_rate": 1e-3}, {"r": 4, "target_modules": "all-linear"}, seconds=60.0, max_steps=1)
    assert done["steps"] == 1


def test_no_prompt_is_no_work(trainer: Trainer) -> None:
    assert trainer.generate([]) == []


def test_when_the_time_is_up_what_is_unfinished_is_left_out(tiny: Path) -> None:
    tokenizer, model = loaded(tiny, None)
    job = {"examples": [(e.id, e.prompt) for e in PROMPTS], "max_new_tokens": 16, "batch": 4}

    def answered(clock: str, seconds: float, wall_at_most: float) -> tuple[int, set[str]]:
        walls, cpus, signs = itertools.count(), itertools.count(step=0.5), list[dict[str, Any]]()
        stint = {"clock": clock, "seconds": seconds, "wall_at_most": wall_at_most}
        done = generate(
            model,
            tokenizer,
            {**job, "stint": stint},
            pad=0,
            emit=signs.append,
            wall=lambda: float(next(walls)),
            cpu=lambda: float(next(cpus)),
        )
        return sum(map(len, done["said"].values())), {s["event"] for s in signs}

    assert answered("wall", 6.0, 1e9) == (0, set())
    some, signs = answered("wall", 60.0, 1e9)
    assert 0 < some < len(PROMPTS)
    assert signs == {"generating"}
    assert answered("wall", 1e4, 1e9)[0] == len(PROMPTS)
    assert answered("cpu", 1e4, 60.0)[0] == some, "wall time bounds it in any case"
    assert 0 < answered("cpu", 30.0, 1e9)[0] < len(PROMPTS)
