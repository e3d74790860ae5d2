"""Each way of saving that docs/write-an-agent.md shows is run as it stands there, and what it leaves is taken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_tiny_model
from where import AGENTS

PAGE = (AGENTS.parent / "docs" / "write-an-agent.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## 8. Saving what was trained\n")[2].partition("\n## ")[0]
SNIPPETS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
STEPS = """
ids = torch.arange(5, 25)[None]
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
for _ in range(2):
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
FSDP = """
import sys, torch, torch.distributed
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM

torch.distributed.init_process_group("gloo")
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
for layer in model.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
"""
ACCELERATE = """
import sys, torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM

accelerator = Accelerator(cpu=True)
model = accelerator.prepare(AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32))
assert accelerator.num_processes == 2
"""

pytestmark = pytest.mark.slow


def snippet(words: str) -> str:
    (found,) = (text for text in SNIPPETS if words in text)
    return found


def report_of(folder: Path, base: Path) -> Any:
    from harness.grading.submission.check import check_submission

    report = check_submission(folder, base)
    assert report.ok, report.problems
    assert report.provenance.matrices > 0, "what was saved is what was trained"
    return report


def lora(base: Path) -> Any:
    import peft
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    return peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)


def stepped(model: Any) -> Any:
    import torch

    exec(STEPS, {"torch": torch, "model": model})
    return model


def test_the_page_shows_five_ways() -> None:
    assert len(SNIPPETS) == 5


def test_an_adapter_and_full_weights_by_save_pretrained(tiny, tmp_path, monkeypatch) -> None:
    from transformers import AutoModelForCausalLM

    for kind, model in (("adapter", lora(tiny)), ("full", AutoModelForCausalLM.from_pretrained(tiny))):
        (tmp_path / kind).mkdir()
        monkeypatch.chdir(tmp_path / kind)
        exec(next(text for text in SNIPPETS if text == 'model.save_pretrained("out")\n'), {"model": stepped(model)})
        assert report_of(Path("out"), tiny).kind == kind


def test_an_adapter_that_was_merged(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(snippet("merge_and_unload"), {"model": stepped(lora(tiny))})
    assert report_of(Path("out"), tiny).kind == "full"


def test_trainers_of_transformers_and_trl_with_their_checkpoints(tiny, tmp_path, monkeypatch) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, Trainer, TrainingArguments
    from trl import SFTConfig, SFTTrainer

    common = {"max_steps": 2, "save_steps": 1, "learning_rate": 1e-3, "use_cpu": True, "report_to": [], "disable_tqdm": True}
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [{"input_ids": torch.arange(5, 25), "labels": torch.arange(5, 25)}] * 2
    talks = Dataset.from_list([{"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]}] * 4)

    def of_transformers() -> Any:
        return Trainer(model=lora(tiny), args=TrainingArguments("out", **common), train_dataset=rows)

    def of_trl() -> Any:
        settings = SFTConfig("out", max_length=64, bf16=False, **common)
        return SFTTrainer(model=lora(tiny), args=settings, train_dataset=talks, processing_class=tokenizer)

    for make in (of_transformers, of_trl):
        (tmp_path / make.__name__).mkdir()
        monkeypatch.chdir(tmp_path / make.__name__)
        trainer = make()
        trainer.train()
        exec(snippet("trainer.save_model"), {"trainer": trainer})
        assert any("training_args.bin" in note and "checkpoint-1/" in note for note in report_of(Path("out"), tiny).notes)
        assert any("optimizer.pt" in note for note in report_of(Path("out/checkpoint-2"), tiny).notes)


@pytest.mark.parametrize(
    ("before", "words", "tied"), [(FSDP, "full_state_dict=True", True), (ACCELERATE, "accelerator.get_state_dict", False)]
)
def test_two_processes_save_one_model(tmp_path, before, words, tied) -> None:
    base = make_tiny_model(tmp_path / "base", tied)
    (tmp_path / "save.py").write_text(before + STEPS + snippet(words))
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "save.py", str(base)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert report_of(tmp_path / "out", base).kind == "full"
