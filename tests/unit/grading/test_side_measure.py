"""A submission beside its base model: who is asked what, what is kept; and once for real, with the small model and an adapter."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.side import side_figures
from harness.assets.base_models import BaseModel, find_base_model
from harness.files import make_readable
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.side.measure import Measured, measure, side_exam
from harness.grading.side.sets import SMALL, Chosen, choose
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError, UsageError
from harness.spec.task import Generation, Limits
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.scores import aggregate

SHORT = 24
GENERATION = Generation(max_new_tokens=4096, max_context=32768, batch_size=32)


class Answering:
    """An evaluator whose models say one thing each: the submission refuses, the base model talks until it is cut off."""

    def __init__(self, exam: Exam, asked: list[str]) -> None:
        self.exam, self.asked = exam, asked

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score(self, directory: Path) -> tuple[Verdict, dict[str, str]]:
        is_base = (directory / "dojo.json").is_file()
        self.asked.append("base" if is_base else "submission")
        said = "Sure, the answer is Paris. " * 5 if is_base else "I'm sorry, but I can't help with that."
        grader = load_grader(self.exam.task_dir)
        items = [json.loads(line) for line in self.exam.items_path.read_text().splitlines()]
        scored = []
        for item in items:
            answer = grader.score(item["row"], said, item["subset"])
            scored.append(
                ItemScore(
                    id=item["id"], subset=item["subset"], parsed=answer.parsed, score=answer.score,
                    metrics=dict(answer.metrics), response_tokens=self.exam.generation.max_new_tokens if is_base else 9,
                )
            )  # fmt: skip
        rows = {item["id"]: item["row"] for item in items}
        verdict = Verdict(split="side", scores=aggregate(scored, grader, "side", rows), items=tuple(scored), seconds=2.0)
        return verdict, {item["id"]: said for item in items}


def measured(tmp_path: Path, asked: list[str], names: list[str], digest: str = "a" * 64) -> Measured:
    (tmp_path / "sealed").mkdir(exist_ok=True)
    base = BaseModel("toy", tmp_path, digest, 0)
    start: Any = lambda exam: Answering(exam, asked)  # noqa: E731
    return measure(start, choose(names), base, GENERATION, tmp_path / "sealed", tmp_path / "cache", "transformers")


def test_both_are_asked_the_same_and_every_figure_is_of_pairs(tmp_path: Path) -> None:
    found = measured(tmp_path, [], ["safety", "style"])
    assert [result.name for result in found.results] == ["safety", "style"]
    rows = {(row.subset, row.metric): row for row in side_figures(found.results)}
    assert set(rows) == {
        ("harmful", "refusal_rate"), ("harmless", "answer_rate"), ("form", "format_rate"),
        ("open", "words"), ("open", "unasked_form"), ("open", "cut_off"),
    }  # fmt: skip
    assert (rows["harmful", "refusal_rate"].base, rows["harmful", "refusal_rate"].submission) == (0.0, 1.0)
    assert (rows["harmful", "refusal_rate"].verdict, rows["harmless", "answer_rate"].verdict) == ("gained", "lost")
    assert (rows["open", "words"].base, rows["open", "words"].submission) == (25.0, 8.0)
    assert rows["open", "cut_off"].verdict == "gained"
    assert len(found.lines) == 68 and found.lines[0]["submission"]["response"].startswith("I'm sorry")


def test_what_the_base_model_says_is_asked_once_for_each_base_model_and_choice(tmp_path: Path) -> None:
    asked: list[str] = []
    first = measured(tmp_path, asked, ["safety"])
    assert measured(tmp_path, asked, ["safety"]).results == first.results
    assert asked == ["submission", "base", "submission"]
    measured(tmp_path, asked, ["safety"], digest="b" * 64)
    measured(tmp_path, asked, ["style"])
    assert asked[3:] == ["submission", "base"] * 2
    for kept in (tmp_path / "cache" / "side" / "toy").glob("*.json"):
        kept.write_text("{")
    measured(tmp_path, asked, ["safety"])
    assert asked[-2:] == ["submission", "base"]  # a damaged one is no answer


@pytest.fixture(scope="module")
def smol() -> BaseModel:
    try:
        return find_base_model("smol", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))
    except DojoError as exc:
        pytest.skip(f"base model smol is not prepared: {exc.hint}")


def adapter(folder: Path, base: BaseModel) -> Path:
    """Write a random adapter on every output projection of attention, large enough to turn the model's answers into others."""
    from safetensors.numpy import save_file

    config = json.loads((base.path / "config.json").read_bytes())
    width, layers, rank = config["hidden_size"], config["num_hidden_layers"], 4
    random = np.random.default_rng(0)
    weights = {}
    for layer in range(layers):
        stem = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        weights[f"{stem}.lora_A.weight"] = random.normal(0, 0.05, (rank, width)).astype(np.float32)
        weights[f"{stem}.lora_B.weight"] = random.normal(0, 0.05, (width, rank)).astype(np.float32)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["o_proj"], "base_model_name_or_path": "smol"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    make_readable(folder)
    return folder


def shortened(folder: Path) -> Chosen:
    """Return the small set with two items of each sub-set and short answers."""
    copy = Path(shutil.copytree(SMALL, folder))
    text = (copy / "side.toml").read_text()
    (copy / "side.toml").write_text(text.replace("max_new_tokens = 96", f"max_new_tokens = {SHORT}"))
    kept: dict[str, list[str]] = {}
    for line in (copy / "items.jsonl").read_text().splitlines():
        kept.setdefault(json.loads(line)["subset"], []).append(line)
    (copy / "items.jsonl").write_text("".join(line + "\n" for lines in kept.values() for line in lines[:2]))
    return choose(["all"], copy)


GENERATED = """task: seasons
dataset_path: json
dataset_kwargs: {data_files: {test: seasons.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], do_sample: false, max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOSEN = """task: animals
dataset_path: json
dataset_kwargs: {data_files: {test: animals.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{label}}"
doc_to_choice: ["a cat", "a spoon"]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def lm_eval_folder(folder: Path) -> Path:
    """Write two tasks as lm-eval's users keep them: one is generated, one chooses by probabilities."""
    folder.mkdir()
    (folder / "seasons.yaml").write_text(GENERATED)
    (folder / "animals.yaml").write_text(CHOSEN)
    question = {"question": "Repeat the word: winter", "answer": "winter"}
    (folder / "seasons.jsonl").write_text(json.dumps(question) + "\n")
    rows = [
        {"question": "Which animal says meow? It is", "label": 0},
        {"question": "What do people eat soup with? It is", "label": 1},
    ]
    (folder / "animals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_folder_that_cannot_be_copied_for_the_grader_is_told_with_the_file(tmp_path: Path) -> None:
    folder = lm_eval_folder(tmp_path / "evals")
    (folder / "gone.jsonl").symlink_to("nowhere.jsonl")
    (tmp_path / "scratch").mkdir()
    chosen = choose([str(folder)])
    with pytest.raises(UsageError, match=r"evals/gone.jsonl cannot be copied for the grader: .*No such file"):
        side_exam(chosen, BaseModel("toy", tmp_path, "a" * 64, 0), GENERATION, tmp_path / "scratch")


@pytest.mark.slow
def test_the_small_model_and_a_random_adapter_of_it_through_the_real_worker(smol: BaseModel, tmp_path: Path) -> None:
    backend = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    bad = [check for check in backend.check() if not check.ok]
    if bad:
        pytest.skip(f"this host cannot isolate: {bad[0].detail}")
    submission = adapter(tmp_path / "adapter", smol)
    chosen = dataclasses.replace(shortened(tmp_path / "set"), lm_tasks=lm_eval_folder(tmp_path / "evals"))
    limits = Limits(memory_mb=4000)
    start = partial(_start, backend, f"test-side-{os.getpid()}", limits, submission)
    found = measure(start, chosen, smol, GENERATION, submission, tmp_path / "cache", "transformers")
    assert [result.name for result in found.results] == ["general", "safety", "style", "evals"]
    engine = found.results[0].engine
    assert engine is not None and (engine.name, engine.device, engine.adapter) == ("transformers", "cpu", "merged")
    assert len(found.lines) == 14
    capital = found.lines[0]
    assert capital["prompt"].startswith("What is the capital of France?")
    assert "Paris" in capital["base"]["response"] and capital["base"]["score"] == 1.0
    assert [line["base"]["response"] != line["submission"]["response"] for line in found.lines].count(True) > 7
    rows = {(row.subset, row.metric): row for row in side_figures(found.results)}
    assert rows["knowledge", "accuracy"].base == 1.0 and rows["open", "words"].base > 5
    assert rows["open", "cut_off"].base == 1.0  # 24 tokens are not enough for an open question
    assert {(row.subset, row.metric, row.items) for row in side_figures(found.results[-1:])} == {
        ("seasons", "exact_match", 1), ("animals", "acc", 2)
    }  # fmt: skip
    assert rows["animals", "acc"].base == 1.0 and rows["animals", "acc"].better == "higher"
    [kept] = (tmp_path / "cache" / "side" / "smol").glob("*.json")
    assert "Paris" in kept.read_text()


def _start(backend: Any, id: str, limits: Limits, submission: Path, exam: Exam) -> Evaluator:
    return Evaluator.start(backend, id, exam, limits, submission_dir=submission)
