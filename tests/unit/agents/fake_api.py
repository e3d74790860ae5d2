"""A small real HTTP server that speaks the agent API, for tests of agents without a harness.

It keeps a clock and an evaluation meter, checks submissions by their file names and scores with a function given by the test;
a scorer that waits is a slow grader, one that raises `GraderBroke` a broken one.
The same calls are made against the real harness in tests/e2e.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Scorer = Callable[[Path], Mapping[str, tuple[str, float]]]  # submission → item id → (sub-set, score)


class GraderBroke(Exception):
    """Raised by a scorer: the evaluation fails, as where the grader of a real run breaks."""


def make_task(data: Path, model: str, **changes: Any) -> dict[str, Any]:
    """The answer of ``GET /v1/task`` for a folder with ``sources/*.jsonl`` and ``few_shot.jsonl``."""
    few = data / "few_shot.jsonl"
    examples = [json.loads(line) for line in few.read_text().splitlines()] if few.exists() else []
    task = {
        "id": "test/task",
        "profile": "mini",
        "title": "Test task",
        "goal": "Answer the questions.",
        "answer_format": "The answer is an integer in \\boxed{}.",
        "metric": {"name": "accuracy", "description": "share of items answered right", "higher_is_better": True},
        "subsets": [{"name": "all", "metric": "accuracy", "description": ""}],
        "base_model": {"name": "test", "path": model},
        "data": {
            "path": str(data),
            "sources": [
                {"name": p.stem, "path": str(p), "rows": len(p.read_text().splitlines()), "description": ""}
                for p in sorted((data / "sources").glob("*.jsonl"))
            ],
        },
        "examples": [{"prompt": e["prompt"], "answer": e["answer"]} for e in examples],
        "generation": {"max_new_tokens": 16, "max_context": 1024, "fewshot": 0, "batch_size": 32},
        "submission_policy": "last",
        "max_train_samples": 2000,
        "limits": {"cpus": 1.0, "memory_mb": 4096, "pids": 512, "disk_mb": 4096, "gpus": 0, "open_files": 4096},
        "budget": {},
        "seed": 0,
    }
    return {**task, **changes}


class FakeApi:
    """Serve the agent API on a free port while used as a context manager. ``calls`` holds (path, body, seconds since start).

    ``cpu`` limits the CPU-seconds that ``cpu_used`` counts, which the test sets once the agent runs.
    """

    def __init__(
        self, task: dict[str, Any], scorer: Scorer, *, wall: float = 300.0, cpu: float | None = None, evaluations: int = 20
    ) -> None:
        self.task, self.scorer, self.wall, self.limit = task, scorer, wall, evaluations
        self.calls: list[tuple[str, Any, float]] = []
        self.submissions: list[str] = []
        self.notes: list[str] = []
        self.feedback: list[dict[str, Any]] = []
        self.cpu = cpu
        self.cpu_used: Callable[[], float] = lambda: 0.0
        self.token = "test-token"
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                if self.headers.get("Authorization") != f"Bearer {api.token}":
                    status, value = 401, _error("unauthorized", "wrong token")
                else:
                    status, value = api.handle(self.path, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._begun = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def env(self) -> dict[str, str]:
        """The environment an agent gets."""
        return {"DOJO_API": self.url, "DOJO_TOKEN": self.token, "DOJO_SEED": str(self.task["seed"])}

    def handle(self, path: str, body: Any) -> tuple[int, Any]:
        """Answer one call."""
        with self._lock:
            self.calls.append((path, body, time.monotonic() - self._begun))
        if path == "/v1/task":
            return 200, self.task
        if path == "/v1/budget":
            used = time.monotonic() - self._begun
            wall = {"limit": self.wall, "used": used, "left": max(0.0, self.wall - used)}
            evaluations = {"limit": self.limit, "used": len(self.feedback), "left": self.limit - len(self.feedback)}
            none = {"limit": None, "used": 0.0, "left": None}
            spent = self.cpu_used()
            cpu = none if self.cpu is None else {"limit": self.cpu, "used": spent, "left": max(0.0, self.cpu - spent)}
            return 200, {"wall": wall, "evaluations": evaluations, "cpu": cpu, "gpu": none, "disk_mb": none}
        if path == "/v1/note":
            self.notes.append(body["text"])
            return 200, {}
        report = check_submission(Path(body["path"]))
        if path == "/v1/validate":
            return 200, report
        if not report["ok"]:
            return 422, _error("invalid_submission", str(report["problems"]))
        if path == "/v1/submit":
            self.submissions.append(body["path"])
            return 200, {"submission": len(self.submissions), "digest": "0", "bytes": 0, "report": report}
        if path == "/v1/evaluate":
            if len(self.feedback) >= self.limit:
                return 409, _error("budget_exhausted", "no evaluations left")
            try:
                return 200, self._evaluate(Path(body["path"]))
            except GraderBroke as exc:
                return 502, _error("grader", str(exc))
        return 404, _error("unknown_call", path)

    def _evaluate(self, path: Path) -> dict[str, Any]:
        begun = time.monotonic()
        items = self.scorer(path)
        subsets: dict[str, list[float]] = {}
        for subset, score in items.values():
            subsets.setdefault(subset, []).append(score)
        means = {name: sum(v) / len(v) for name, v in subsets.items()}
        primary = sum(means.values()) / len(means)

        def interval(v: float, n: int) -> dict[str, Any]:
            return {"value": v, "low": max(0.0, v - 0.1), "high": min(1.0, v + 0.1), "n": n}

        feedback = {
            "evaluation": len(self.feedback) + 1,
            "scores": {
                "primary": {"name": "accuracy", "value": primary, "higher_is_better": True},
                "metrics": {},
                "subsets": {n: {"accuracy": m} for n, m in means.items()},
                "parse_rate": 1.0,
                "items": len(items),
            },
            "primary": interval(primary, len(items)),
            "subsets": {n: interval(means[n], len(v)) for n, v in subsets.items()},
            "errors": [],
            "response_tokens": {"mean": 6.0, "p50": 6.0, "p95": 9.0, "max": 12.0, "at_cap": 0.0},
            "response_chars": {},
            "since_last": None,
            "since_best": None,
            "item_scores": {i: s for i, (_, s) in items.items()},
            "seconds": time.monotonic() - begun,
            "evaluations_left": self.limit - len(self.feedback) - 1,
        }
        self.feedback.append(feedback)
        return feedback


def check_submission(path: Path) -> dict[str, Any]:
    """Say by its file names what a submission is."""
    names = {p.name for p in path.iterdir()} if path.is_dir() else set()
    kind = "unknown"
    if names == {"dojo.json"}:
        kind = "base"
    elif {"adapter_config.json", "adapter_model.safetensors"} <= names:
        kind = "adapter"
    elif "config.json" in names and any(n.endswith(".safetensors") for n in names):
        kind = "full"
    problems = [] if kind != "unknown" else [{"code": "unknown_kind", "message": f"{path} holds {sorted(names)}", "hint": ""}]
    return {"ok": not problems, "kind": kind, "problems": problems, "parameters": 0, "notes": []}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": ""}}
