"""A task's items as private lm-eval tasks, run through `simple_evaluate`, and what came out item by item.

One lm-eval task a sub-set, so that worked examples come from the item's own sub-set. lm-eval's results carry documents and the
source of metric functions; only what is listed in `ItemScore` and the responses leave this module.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.grading.worker.engine import Engine
from harness.grading.worker.lm import Progress, make_lm
from harness.spec.errors import GraderFailure
from harness.spec.task import Generation
from harness.spec.verdict import ItemScore
from harness.taskkit.scoring.contract import TaskGrader
from harness.taskkit.scoring.plain import plain_value

Item = Mapping[str, Any]

# Answers longer than this (as JSON) are not kept beside an item's score; they are far beyond any answer format here.
MAX_VALUE_CHARS = 20_000


@dataclass(frozen=True)
class Scored:
    """Items in the order of the items file, with each one's response text."""

    items: tuple[ItemScore, ...]
    responses: dict[str, str]


@functools.cache
def import_lm_eval() -> None:
    """Import lm-eval and what it needs (seconds), so that a warm worker does not pay for it in its first score."""
    import datasets  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    from torch.utils import collect_env  # type: ignore[attr-defined, unused-ignore]

    # simple_evaluate describes the machine by running eleven programs (0.5 s) each time; once a process is enough.
    collect_env.get_pretty_env_info = functools.cache(collect_env.get_pretty_env_info)


def read_items(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file of items, or of worked examples.

    Raises:
        GraderFailure: the file is missing or broken; names the line.
    """
    items = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            item = json.loads(line)
            if not {"id", "subset", "type", "prompt", "row"} <= item.keys():
                raise ValueError(f"line {number} lacks one of id, subset, type, prompt, row")
            items.append(item)
    except (OSError, ValueError, AttributeError) as exc:
        raise GraderFailure(f"{path.name}: {exc}", hint="prepare the task's data again") from exc
    return items


def score_items(
    engine: Engine,
    grader: TaskGrader,
    items: Sequence[Item],
    few_shot: Sequence[Item],
    generation: Generation,
    on_progress: Progress,
) -> Scored:
    """Let the model that is in ``engine`` answer ``items`` and score each answer, once.

    Raises:
        GraderFailure: lm-eval's metric and the grader disagree on an item, or the task's YAML cannot be used.
    """
    with grader.scoring_once():
        return _scored(engine, grader, items, few_shot, generation, on_progress)


def simple_evaluate(lm: Any, tasks: Sequence[Any], manager: Any) -> dict[str, Any]:
    """Return what lm-eval says of its tasks, with every sample: chat template, fixed seeds, no bootstrap of its own."""
    import lm_eval  # type: ignore[import-untyped, unused-ignore]

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found: dict[str, Any] = lm_eval.simple_evaluate(
        model=lm,
        tasks=tasks,
        task_manager=manager,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
        log_samples=True,
        random_seed=0,
        numpy_random_seed=0,
        torch_random_seed=0,
        fewshot_random_seed=0,
    )
    return found


def _scored(
    engine: Engine,
    grader: TaskGrader,
    items: Sequence[Item],
    few_shot: Sequence[Item],
    generation: Generation,
    on_progress: Progress,
) -> Scored:
    from lm_eval.tasks import TaskManager  # type: ignore[import-untyped, unused-ignore]

    directory = grader.path.parent
    lm = make_lm(
        engine,
        max_new_tokens=generation.max_new_tokens,
        max_context=generation.max_context,
        batch_size=generation.batch_size,
        on_progress=on_progress,
    )
    tasks = _lm_tasks(directory / "task.yaml", grader, items, few_shot, generation.fewshot)
    manager = TaskManager(include_path=str(directory), include_defaults=False)
    results = simple_evaluate(lm, [config for config, _ in tasks], manager)
    on_progress(len(items), len(items))
    scored: dict[str, ItemScore] = {}
    responses: dict[str, str] = {}
    for config, group in tasks:
        for sample in results["samples"][config["task"]]:
            item = group[sample["doc_id"]]
            response = sample["filtered_resps"][0]
            item_score = score_answer(grader, item, response, len(lm.continuations[sample["arguments"][0][0]].tokens))
            if abs(float(sample["score"]) - item_score.score) > 1e-9:
                raise GraderFailure(
                    f"process_results() gave {sample['score']} where score() gave {item_score.score}",
                    hint="both must score through the same function in tests/grader.py",
                )
            scored[item_score.id] = item_score
            responses[item_score.id] = response
    return Scored(tuple(scored[item["id"]] for item in items), responses)


def score_answer(grader: TaskGrader, item: Item, response: str, tokens: int) -> ItemScore:
    """Score one answer and keep what may be kept of it."""
    answer = grader.score(item["row"], response, item["subset"])
    return ItemScore(
        id=item["id"],
        subset=item["subset"],
        parsed=answer.parsed,
        score=answer.score,
        metrics=dict(answer.metrics),
        value=_stored(answer.value),
        failure=answer.failure,
        response_sha256=hashlib.sha256(response.encode("utf-8", "surrogatepass")).hexdigest(),
        response_chars=len(response),
        response_tokens=tokens,
    )


def _stored(value: Any) -> Any:
    """Return an answer as it is kept, plain; None where it is no JSON or too long to keep."""
    found = plain_value(value)
    return found if len(json.dumps(found)) <= MAX_VALUE_CHARS else None


def _lm_tasks(
    yaml_path: Path, grader: TaskGrader, items: Sequence[Item], few_shot: Sequence[Item], shots: int
) -> list[tuple[dict[str, Any], list[Item]]]:
    """Make one lm-eval configuration a sub-set from the task's YAML."""
    from lm_eval.tasks._yaml_loader import load_yaml  # type: ignore[import-untyped, unused-ignore]

    try:
        base = _with_functions(load_yaml(yaml_path, resolve_func=False), yaml_path.parent, grader)
    except Exception as exc:
        raise GraderFailure(f"{yaml_path.name} cannot be read: {exc}", hint="docs/write-a-task.md shows one") from exc
    if shots > len(few_shot):
        raise GraderFailure(f"{shots} worked examples are asked for, few_shot.jsonl has {len(few_shot)}", hint="add some")
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item["subset"], []).append(item)
    return [(_config(base, subset, group, _examples(few_shot, subset, shots)), group) for subset, group in groups.items()]


def _with_functions(value: Any, folder: Path, grader: TaskGrader) -> Any:
    """Put functions in the place of ``!function module.name``, which the YAML's loader gives as ``folder/module.name``.

    lm-eval would load the module by itself, without the package that relative imports need.
    """
    if isinstance(value, Mapping):
        return {key: _with_functions(part, folder, grader) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_functions(part, folder, grader) for part in value]
    prefix = f"{folder.resolve()}/"
    if not isinstance(value, str) or not value.startswith(prefix):
        return value
    module, _, name = value.removeprefix(prefix).rpartition(".")
    return getattr(importlib.import_module(f".{module}", grader.module.__package__), name)


def _examples(few_shot: Sequence[Item], subset: str, shots: int) -> list[Item]:
    """Take the first examples of the same sub-set, and where there are too few the first of the others."""
    own = [example for example in few_shot if example["subset"] == subset]
    others = [example for example in few_shot if example["subset"] != subset]
    return (own + others)[:shots]


def _config(base: Mapping[str, Any], subset: str, group: Sequence[Item], examples: Sequence[Item]) -> dict[str, Any]:
    config = dict(base)
    for name in ("dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "fewshot_split"):
        config.pop(name, None)
    return config | {
        "task": f"{base['task']}/{subset}",
        "custom_dataset": _Documents([_document(item) for item in group]),
        "test_split": "test",
        "num_fewshot": len(examples),
        "fewshot_config": {
            "sampler": "first_n",
            "samples": [_document(example) for example in examples],
            "doc_to_target": "answer",
        },
        "generation_kwargs": dict(base.get("generation_kwargs") or {}) | {"until": [], "do_sample": False},
    }


class _Documents:
    """Gives lm-eval its documents from memory; nothing is written to a dataset cache."""

    def __init__(self, documents: list[dict[str, str]]) -> None:
        self._documents = documents

    def __call__(self, **_ignored: Any) -> dict[str, Any]:
        from datasets import Dataset  # type: ignore[import-untyped, unused-ignore]

        return {"test": Dataset.from_list(self._documents)}


def _document(item: Item) -> dict[str, str]:
    """Return an item as lm-eval sees it: text only, because one table column has one type."""
    texts = {name: item[name] for name in ("id", "subset", "type", "prompt")}
    texts["row"] = json.dumps(item["row"], ensure_ascii=False)
    texts["answer"] = str(item.get("answer", ""))
    gold = item.get("gold")
    texts["gold"] = gold if isinstance(gold, str) else json.dumps(gold, ensure_ascii=False)
    return texts
