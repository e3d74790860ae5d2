"""dojo's agent API played by files, for the oracle of an exported task: under Harbor there is no server to ask.

`harness.assets.export` puts this file beside the agent `recipe` as ``dojo_tool.py``. Standard library only; it imports nothing of
the harness. It offers what a program that never asks for a score needs.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, cast

# Files of which one makes a folder a submission: an adapter, full weights, or the base model named.
_MARKS = ("adapter_config.json", "config.json", "dojo.json")


class Client:
    """Answers from ``task.json`` beside this file; what is handed in goes where the task's artefacts are collected."""

    def __init__(self, here: Path = Path(__file__).parent, submission: Path = Path("/workspace/submission")) -> None:
        self._facts = json.loads((here / "task.json").read_text(encoding="utf-8"))
        self._submission = submission
        self._begun = time.monotonic()

    def task(self) -> dict[str, Any]:
        """Return the task: answer format, base model, data, examples, sub-sets, limits."""
        return cast(dict[str, Any], self._facts["task"])

    def budget(self) -> dict[str, dict[str, float]]:
        """Return the time, in seconds since this client was made: Harbor keeps no other budget."""
        limit, used = float(self._facts["wall_s"]), time.monotonic() - self._begun
        return {"wall": {"limit": limit, "used": used, "left": max(0.0, limit - used)}}

    def validate(self, path: str) -> dict[str, Any]:
        """Say whether the folder looks like a submission; only the verifier can say that it loads."""
        ok = any((Path(path) / mark).is_file() for mark in _MARKS)
        return {"ok": ok, "problems": [] if ok else [f"{path} has none of {', '.join(_MARKS)}"]}

    def submit(self, path: str, note: str = "") -> dict[str, Any]:
        """Put the folder in the place of what was handed in before."""
        if self._submission.exists():
            shutil.rmtree(self._submission)
        shutil.copytree(path, self._submission)
        self.note(f"handed in {path}: {note}")
        return {"ok": True}

    def note(self, text: str, data: Any = None) -> None:
        """Print a line; Harbor keeps the oracle's output."""
        print(text if data is None else f"{text} {json.dumps(data)}", flush=True)
