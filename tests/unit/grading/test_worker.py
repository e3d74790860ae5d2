"""The worker as a real process with a real (tiny, random) model through lm-eval."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.grading.submission.adapter import LoraModule
from harness.grading.submission.base_files import read_base
from harness.grading.submission.check import read_submission
from harness.grading.verdict import read_verdict
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.plain import plain_text
from tests.unit.grading.tiny import (
    Q_PROJ,
    TOY_TASK,
    adapter_weights,
    random_weights,
    toy_items,
    write_adapter,
    write_base,
    write_lines,
    write_marker,
    write_model,
    write_tokenizer,
)

pytestmark = pytest.mark.slow

GENERATION = {"max_new_tokens": 12, "max_context": 512, "batch_size": 4}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
DEADLINE_S = 180


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = write_base(tmp_path_factory.mktemp("model") / "base")
    write_tokenizer(path)
    return path


@dataclass
class Running:
    process: subprocess.Popen
    work: Path
    sent: int = 0

    def ask(self, **request):
        self.sent += 1
        name = f"{self.sent:04d}.json"
        draft = self.work / f"draft-{name}"
        draft.write_text(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in request.items()}))
        (self.work / "requests").mkdir(exist_ok=True)
        draft.rename(self.work / "requests" / name)
        reply = self.work / "replies" / name
        deadline = time.monotonic() + DEADLINE_S
        while not reply.exists():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return json.loads(reply.read_bytes())


def command(base, folder, items, task=TOY_TASK):
    options = {
        "dir": folder,
        "model": base,
        "items": items,
        "few-shot": folder / "few_shot.jsonl",
        "task": task,
        "generation": json.dumps(GENERATION),
        "split": "dev",
        "primary": "score",
        "submission": folder / "sealed",
    }
    return [sys.executable, "-m", "harness.grading.worker", *(str(x) for name, v in options.items() for x in (f"--{name}", v))]


@pytest.fixture(scope="module")
def worker(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    write_lines(folder / "items.jsonl", toy_items(10))
    write_lines(folder / "few_shot.jsonl", toy_items(4))
    argv = command(base, folder, folder / "items.jsonl")
    process = subprocess.Popen(argv, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    running = Running(process, folder)
    yield running
    if process.poll() is None:
        assert running.ask(op="stop") == {"ok": True}
        assert process.wait(30) == 0


def answers(reply):
    assert reply["ok"], reply
    return reply["responses"]


def test_base_adapter_and_full_weights_are_scored_item_by_item(worker, tmp_path):
    base = worker.ask(op="score", path=write_marker(tmp_path / "b"))
    assert [i["id"] for i in base["verdict"]["items"]] == [f"i{n}" for n in range(10)]
    assert base["verdict"]["settings"]["decoding"] == "greedy"
    assert answers(base).keys() == {f"i{n}" for n in range(10)}
    adapter = worker.ask(op="score", path=write_adapter(tmp_path / "a", adapter_weights(1)))
    noise = random_weights(5)
    full = {name: (w + 0.1 * noise[name]).astype(np.float32) for name, w in random_weights(0).items()}
    whole = worker.ask(op="score", path=write_model(tmp_path / "f", full))
    assert len({json.dumps(answers(r)) for r in (base, adapter, whole)}) == 3


def test_the_same_submission_scored_twice_gives_the_same_bytes_and_leaves_the_base_model_as_it_was(worker, tmp_path):
    marker = write_marker(tmp_path / "b")
    adapter = write_adapter(tmp_path / "a", adapter_weights(1, modules=(Q_PROJ, "model.layers.1.mlp.down_proj")))
    replies = [worker.ask(op="score", path=path) for path in (marker, adapter, marker, adapter, marker)]
    for reply in replies:
        assert reply["verdict"].pop("seconds") > 0
    assert replies[0] == replies[2] == replies[4]
    assert replies[1] == replies[3] != replies[0]


def test_full_weights_equal_to_the_base_score_as_the_base(worker, tmp_path):
    marker = worker.ask(op="score", path=write_marker(tmp_path / "b"))
    copy = worker.ask(op="score", path=write_model(tmp_path / "m", random_weights(0)))
    assert answers(marker) == answers(copy)


def test_a_request_without_a_path_is_about_the_mounted_submission(worker, tmp_path):
    write_marker(worker.work / "sealed")
    assert answers(worker.ask(op="score", path=None)) == answers(worker.ask(op="score", path=write_marker(tmp_path / "b")))


def test_worked_examples_change_what_the_model_reads(worker, tmp_path):
    marker = write_marker(tmp_path / "b")
    plain, shown = worker.ask(op="score", path=marker), worker.ask(op="score", path=marker, fewshot=4)
    assert answers(plain) != answers(shown)
    assert shown["verdict"]["settings"]["generation"]["fewshot"] == 4


def test_a_refused_submission_is_not_scored_and_the_worker_goes_on(worker, tmp_path):
    weights = adapter_weights(1)
    next(iter(weights.values()))[0, 0] = np.nan
    refused = worker.ask(op="score", path=write_adapter(tmp_path / "a", weights))
    assert refused["report"]["problems"][0]["code"] == "not_finite"
    assert "verdict" not in refused and "responses" not in refused
    assert worker.ask(op="check", path=write_marker(tmp_path / "b"))["report"]["ok"]


def test_an_adapter_whose_product_overflows_is_scored_and_does_not_break_the_next(worker, tmp_path):
    marker = write_marker(tmp_path / "b")
    before = answers(worker.ask(op="score", path=marker))
    assert worker.ask(op="score", path=write_adapter(tmp_path / "a", adapter_weights(1, size=1e30)))["ok"]
    assert answers(worker.ask(op="score", path=marker)) == before


def test_a_request_that_makes_no_sense_is_an_error_reply(worker):
    reply = worker.ask(op="score")
    assert reply["ok"] is False
    assert reply["error"]["code"] == "grader"


def test_a_worker_that_cannot_start_says_why_and_exits(base, tmp_path):
    write_lines(tmp_path / "few_shot.jsonl", toy_items(1))
    argv = command(base, tmp_path, tmp_path / "absent.jsonl")
    done = subprocess.run(argv, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1
    assert "absent.jsonl" in done.stderr


def test_answers_that_the_task_s_code_breaks_on_are_wrong_with_item_and_line_and_the_rest_is_scored(base, tmp_path):
    task = tmp_path / "toys" / "toy"
    shutil.copytree(TOY_TASK, task)
    grader = task / "tests" / "grader.py"
    broken = '    assert not text, "an answer"\n    digits = "".join'
    grader.write_text(grader.read_text().replace('    digits = "".join', broken))
    line = grader.read_text().splitlines().index('    assert not text, "an answer"') + 1
    items = toy_items(10)
    write_lines(tmp_path / "items.jsonl", items)
    write_lines(tmp_path / "few_shot.jsonl", toy_items(4))
    argv = command(base, tmp_path, tmp_path / "items.jsonl", task)
    process = subprocess.Popen(argv, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    running = Running(process, tmp_path)
    reply = running.ask(op="score", path=write_marker(tmp_path / "b"))
    assert running.ask(op="stop") == {"ok": True} and process.wait(30) == 0
    subsets = {item["id"]: item["subset"] for item in items}
    rows = {item["id"]: item["row"] for item in items}
    verdict = read_verdict(reply["verdict"], split="dev", subsets=subsets, grader=load_grader(task), rows=rows, primary="score")
    sums = {name for name, subset in subsets.items() if subset == "sum" and answers(reply)[name].strip()}
    assert sums and verdict.failures == dict.fromkeys(sums, f"toy/tests/grader.py:{line}: AssertionError: an answer")
    assert all(item.score == 0 and not item.parsed for item in verdict.items if item.id in sums)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"use_rslora": True},
        {"lora_alpha": 3, "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 7}},
        {"use_dora": True},
    ],
)
def test_merged_weights_are_what_peft_computes(base, tmp_path, extra):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from harness.grading.worker.warm_model import WarmModel

    torch.manual_seed(3)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(**({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | extra)),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(tmp_path / "a")
    warm = WarmModel(base)
    submission = read_submission(tmp_path / "a", read_base(base))
    assert submission.report.ok, submission.report.problems
    assert all(isinstance(m, LoraModule) for m in submission.adapter.modules) and len(submission.adapter.modules) == 14
    expected = model.merge_and_unload().state_dict()
    with warm.loaded(submission):
        for name, tensor in warm.model.state_dict().items():
            assert torch.allclose(tensor, expected[name], atol=1e-6), name
        assert not warm.is_base()
    assert warm.is_base()


def test_the_base_model_is_restored_after_an_error_in_scoring(base, tmp_path):
    from harness.grading.worker.warm_model import WarmModel

    warm = WarmModel(base)
    submission = read_submission(write_adapter(tmp_path / "a", adapter_weights(1)), read_base(base))
    with pytest.raises(RuntimeError, match="in the middle"), warm.loaded(submission):
        raise RuntimeError("in the middle")
    assert warm.is_base()


def test_our_batched_decoding_answers_as_lm_eval_s_own(base, tmp_path):
    """Different lengths, shared beginnings, caps and answers that end early: token for token what plain lm-eval writes."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from harness.grading.worker.lm import make_lm
    from harness.grading.worker.warm_model import WarmModel

    warm = WarmModel(base)
    prompts = [
        warm.tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        for text in ["a", "What?", "What is this then?", *(f"Repeat {n} {'x' * n}" for n in range(40))]
    ]

    def requests():
        arguments = {"until": [], "do_sample": False, "max_gen_toks": 20}
        return [Instance("generate_until", {}, (p, dict(arguments)), i) for i, p in enumerate(prompts)]

    ours = make_lm(warm, max_new_tokens=20, max_context=512, batch_size=8, on_progress=lambda *_: None).generate_until(requests())
    plain = HFLM(pretrained=warm.model, tokenizer=warm.tokenizer, batch_size=8, max_length=512)
    assert ours == [plain_text(text) for text in plain.generate_until(requests(), disable_tqdm=True)]
    assert len(set(ours)) > 10
