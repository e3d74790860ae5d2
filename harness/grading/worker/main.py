"""The program inside a grader sandbox: loads the base model once, then checks and scores submissions as it is asked.

Runs as the sandbox's unprivileged user, without network. What it says is still checked by `verdict.read_verdict` outside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.grading.submission.check import Submission, read_submission
from harness.grading.worker.engine import open_engine
from harness.grading.worker.lm_folder import run_folder
from harness.grading.worker.lm_task import import_lm_eval, read_items, score_items
from harness.grading.worker.protocol import LM_TASKS, SUBMISSION, write_json
from harness.spec.engine import EngineRecord
from harness.spec.errors import DojoError, GraderFailure
from harness.spec.task import Generation
from harness.spec.verdict import Verdict
from harness.taskkit.scoring.contract import load_grader
from harness.taskkit.scoring.scores import aggregate

# How often the request directory is looked at; a score takes seconds at least.
POLL_S = 0.05
# Progress is written at most this often: each write is a file of its own on the sandbox's disk.
PROGRESS_S = 0.5


class Worker:
    """Answers the requests that lie in its directory, one after another."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.work, self.mounted = Path(options.dir), Path(options.submission).resolve()
        self.split = str(options.split)
        self.primary = str(options.primary)
        self.generation = Generation.model_validate_json(options.generation)
        self._said, self._beat = 0.0, 0
        self.say("starting")
        self.grader = load_grader(Path(options.task))
        self.items = read_items(Path(options.items))
        self.few_shot = read_items(Path(options.few_shot))
        self.lends = bool(options.lends)
        self.engine = open_engine(options.engine, Path(options.model), options.engine_python, self.work / "engine", self.lends)
        import_lm_eval()
        self.engine.warm_up(self.generation.max_context, self.generation.batch_size)
        self.rest()
        self.say("ready")

    def say(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Tell outside what is being done."""
        now = time.monotonic()
        if phase == "scoring" and done < total and now - self._said < PROGRESS_S:
            return
        self._said = now
        self._beat += 1
        write_json(self.work / "progress.json", {"phase": phase, "done": done, "total": total, "beat": self._beat})

    def serve(self) -> None:
        """Answer requests until one says stop."""
        requests, replies = self.work / "requests", self.work / "replies"
        requests.mkdir(parents=True, exist_ok=True)
        replies.mkdir(parents=True, exist_ok=True)
        while True:
            found = next_request(requests, replies)
            if found is None:
                time.sleep(POLL_S)
                continue
            name, request = found
            reply = self.answer(request)
            self.rest()  # who reads the reply goes on at once
            try:
                write_json(replies / name, reply)
            except (ValueError, TypeError, RecursionError) as exc:  # a number or an object that JSON has no way to say
                write_json(replies / name, _broken(exc))
            self.say("stopped" if request["op"] == "stop" else "ready")
            if request["op"] == "stop":
                return

    def rest(self) -> None:
        """Leave the card to those who work on it between requests."""
        if self.lends:
            self.engine.rest()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; whatever goes wrong becomes an error reply, never the end of the worker."""
        try:
            if request["op"] == "stop":
                return {"ok": True}
            self.say("checking")
            where = self.mounted if request["path"] is None else self.work / request["path"]
            submission = read_submission(where, self.engine.files)
            reply: dict[str, Any] = {"ok": True, "report": submission.report.model_dump(mode="json")}
            if request["op"] == "score" and submission.report.ok:
                verdict, responses = self.score(submission, request.get("fewshot"))
                reply |= {"verdict": verdict.model_dump(mode="json"), "responses": responses}
            if request["op"] == "lm_eval" and submission.report.ok:
                reply |= self.run_folder(submission)
            return reply
        except DojoError as exc:
            return {"ok": False, "error": exc.as_dict()}
        except (Exception, SystemExit) as exc:
            return _broken(exc)

    def score(self, submission: Submission, fewshot: int | None) -> tuple[Verdict, dict[str, str]]:
        """Score a checked submission on all items."""
        started = time.monotonic()
        generation = self.generation if fewshot is None else self._with_examples(fewshot)
        self.say("loading")
        with self.engine.loaded(submission):
            scored = score_items(
                self.engine,
                self.grader,
                self.items,
                self.few_shot,
                generation,
                lambda done, total: self.say("scoring", done, total),
            )
            record = self.engine.record()
        rows = {item["id"]: item["row"] for item in self.items}
        verdict = Verdict(
            split=self.split,
            scores=aggregate(scored.items, self.grader, self.primary, rows),
            items=scored.items,
            settings=_settings(generation, record),
            seconds=time.monotonic() - started,
            engine=record,
        )
        return verdict, scored.responses

    def run_folder(self, submission: Submission) -> dict[str, Any]:
        """Run the mounted folder of lm-eval tasks on a checked submission."""
        started = time.monotonic()
        self.say("loading")
        with self.engine.loaded(submission):
            tasks = run_folder(
                self.engine,
                Path(LM_TASKS),
                self.generation.batch_size,
                lambda done, total: self.say("scoring", done, total),
            )
            engine = self.engine.record()
        return {"tasks": tasks, "engine": engine.model_dump(mode="json"), "seconds": time.monotonic() - started}

    def _with_examples(self, count: int) -> Generation:
        """Return the generation settings with worked examples; they may need more context than the task's own prompts."""
        longest = int(getattr(self.engine.model.config, "max_position_embeddings", self.generation.max_context))
        context = max(longest, self.generation.max_context)
        return self.generation.model_copy(update={"fewshot": count, "max_context": context})


def next_request(requests: Path, replies: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the first request without a reply, with its file's name; None where there is none.

    The host may take a request and its reply away at any moment, also between two looks of ours.
    """
    for path in sorted(requests.glob("*.json")):
        if (replies / path.name).exists():
            continue
        with suppress(FileNotFoundError):
            return path.name, json.loads(path.read_bytes())
    return None


def _settings(generation: Generation, record: EngineRecord) -> dict[str, Any]:
    """Say how answers were made, so that a result can be compared with another."""
    packages = ("torch", "transformers", "lm-eval", "tokenizers", "numpy")
    return {
        "generation": generation.model_dump(exclude={"engine"}),
        "decoding": "greedy",
        "device": record.device,
        "dtype": record.dtype,
        "versions": {name: version(name) for name in packages} | record.versions,
    }


def _broken(exc: BaseException) -> dict[str, Any]:
    """Return the reply to what broke, and say in the log where it did."""
    traceback.print_exception(exc)
    return {"ok": False, "error": GraderFailure(f"{type(exc).__name__}: {exc}"[:2000]).as_dict()}


def prepare_process() -> None:
    """Fix threads, seeds and offline mode before torch is imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from transformers.utils import logging

    quiet: Any = logging
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()


def main(argv: list[str] | None = None) -> int:
    """Run the worker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m harness.grading.worker", description=__doc__)
    for name in ("dir", "model", "items", "few-shot", "task", "generation", "split", "primary"):
        parser.add_argument(f"--{name}", required=True)
    # where a request without a path looks; Harbor's test.sh names the path in its request
    parser.add_argument("--submission", default=SUBMISSION)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--lends", action="store_true", help="an agent works on the same GPUs between requests")
    parser.add_argument("--engine-python", default=sys.executable, help="the interpreter that has vLLM")
    options = parser.parse_args(argv)
    try:
        prepare_process()
        Worker(options).serve()
    except DojoError as exc:
        print(f"grader worker: {exc.message}\n{exc.hint}", file=sys.stderr)
        return 1
    return 0
