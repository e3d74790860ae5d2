"""A folder of lm-eval tasks (YAML and data, as lm-eval's users keep them), run on the model that an engine holds.

Metrics are the tasks' own; what leaves is a number for each document. Answers are greedy and end at the tasks' own stop texts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.grading.worker.engine import Engine
from harness.grading.worker.lm import Progress, make_lm
from harness.grading.worker.lm_task import simple_evaluate
from harness.spec.errors import GraderFailure

# lm-eval's own default for tasks that name no length.
_TOKENS = 256
# More context than this is room that tasks of general ability do not use, and memory that a grader may not have.
_CONTEXT = 4096


def run_folder(engine: Engine, folder: Path, batch_size: int, on_progress: Progress) -> dict[str, Any]:
    """Run every task of ``folder`` and return task → metric → ``{"higher_is_better", "values"}``, a value a document.

    Raises:
        GraderFailure: the folder has no task, a task cannot be run on this engine, or has no metric of single documents.
    """
    from lm_eval.tasks import TaskManager  # type: ignore[import-untyped, unused-ignore]

    context = min(_CONTEXT, int(getattr(engine.model.config, "max_position_embeddings", _CONTEXT)))
    lm = make_lm(engine, max_new_tokens=_TOKENS, max_context=context, batch_size=batch_size, on_progress=on_progress)
    lm.generate_until = lambda requests, **_: _generated(engine, requests, context, batch_size, on_progress)
    lm._model_call = _beating(lm._model_call, on_progress)
    if engine.model.device.type == "meta":  # it holds no weights here: vLLM has them
        lm.loglikelihood = lm.loglikelihood_rolling = _no_loglikelihood
    with chdir(folder):  # data files are named from where their task lies
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        names = sorted(manager.all_subtasks)
        if not names:
            raise GraderFailure(f"{folder.name} holds no lm-eval task", hint="a task is a YAML file with `task: NAME`")
        results = simple_evaluate(lm, names, manager)
    return {name: _figures(name, samples, results) for name, samples in results["samples"].items()}


def _generated(engine: Engine, requests: Sequence[Any], context: int, batch_size: int, on_progress: Progress) -> list[str]:
    """Answer greedily, requests of one length together, and cut each answer at the first of its stop texts."""
    texts: dict[int, str] = {}
    lengths: dict[int, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        lengths[int(request.args[1].get("max_gen_toks", _TOKENS))].append(number)
    for length, numbers in lengths.items():
        lm = make_lm(engine, max_new_tokens=length, max_context=context, batch_size=batch_size, on_progress=on_progress)
        asked = [
            SimpleNamespace(args=(requests[n].args[0], {"until": [], "do_sample": requests[n].args[1].get("do_sample", False)}))
            for n in numbers
        ]
        texts |= dict(zip(numbers, lm.generate_until(asked), strict=True))
    return [_cut(texts[number], request.args[1].get("until") or []) for number, request in enumerate(requests)]


def _cut(text: str, until: str | Sequence[str]) -> str:
    stops = [until] if isinstance(until, str) else until
    return text[: min((place for stop in stops if stop and (place := text.find(stop)) >= 0), default=len(text))]


def _beating(call: Callable[..., Any], on_progress: Progress) -> Callable[..., Any]:
    """Give a sign of life before each batch of probabilities, which lm-eval computes without telling anybody."""

    def called(*args: Any, **kwargs: Any) -> Any:
        on_progress(0, 1)
        return call(*args, **kwargs)

    return called


def _no_loglikelihood(*_: Any, **__: Any) -> None:
    raise GraderFailure(
        "a task asks for probabilities of given texts, and the engine vllm gives graders none",
        hint="take tasks with output_type: generate_until, or DOJO_GRADER_ENGINE=transformers",
    )


def _figures(task: str, samples: Sequence[dict[str, Any]], results: dict[str, Any]) -> dict[str, Any]:
    """Take the metrics of a task that are numbers of single documents, in the documents' order, one for each filter of it."""
    better = results.get("higher_is_better", {}).get(task, {})
    found: dict[str, Any] = {}
    for name in dict.fromkeys(sample["filter"] for sample in samples):
        ordered = sorted((s for s in samples if s["filter"] == name), key=lambda sample: int(sample["doc_id"]))
        for metric in ordered[0]["metrics"]:
            said = [sample.get(metric) for sample in ordered]
            values = [float(value) for value in said if isinstance(value, int | float) and math.isfinite(value)]
            if len(values) == len(said):
                called = metric if name == "none" else f"{metric},{name}"
                found[called] = {"higher_is_better": better.get(metric), "values": values}
    if not found:
        raise GraderFailure(f"the task {task} has no metric that is a number of single documents", hint="leave it out")
    return found
