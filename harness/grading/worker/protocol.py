"""How a host and the worker in its grader sandbox talk: files, written whole or not at all.

``<work>/requests/<id>.json``   {"op": "check" | "score" | "lm_eval" | "stop", "path": …}, written by the host; the path is
                                relative to the work directory, null for the mounted submission
``<work>/replies/<id>.json``    {"ok": true, …} or {"ok": false, "error": {code, message, hint}}, written by the worker
``<work>/progress.json``        {"phase", "done", "total", "beat"}: starting, ready, checking, loading, scoring, stopped; a sign
                                of life: ``beat`` grows with every generated token (twice a second at most)

Files need no network in the sandbox, outlive a crash of the host, and a half-written one never has its final name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Paths inside a grader sandbox.
WORK = "/workspace"
BASE = "/models/base"
ITEMS = "/private/items.jsonl"
FEW_SHOT = "/private/few_shot.jsonl"
DOMAIN = "/private/domain"
TASK = f"{DOMAIN}/task"
CODE = "/opt/grader"
SUBMISSION = "/submission"
LM_TASKS = "/private/lm_tasks"

# A reply holds every response of a split: 300 items of 8,192 tokens are about 10 MB.
MAX_REPLY = 256 * 1024 * 1024


def request_path(work: str, request: str) -> str:
    """Return where a request lies."""
    return f"{work}/requests/{request}.json"


def reply_path(work: str, request: str) -> str:
    """Return where a request's reply lies."""
    return f"{work}/replies/{request}.json"


def progress_path(work: str) -> str:
    """Return where the worker says how far it is."""
    return f"{work}/progress.json"


def write_json(path: Path, document: Any) -> None:
    """Write a file that appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document, ensure_ascii=True, allow_nan=False), encoding="ascii")
    draft.replace(path)
