"""Finding and removing what dead harnesses left on this host. What can still be resumed is left alone."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.sandbox.base import Backend
from harness.sandbox.runtime import runtime_root
from harness.session.collect import unseal_and_remove
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.store.database import Store

_OF_RUN = re.compile(r"^(r\d{8}-\d{6}-[a-z0-9]{5})-\d+-(task|agent|dev|grade)$")
_OF_PROCESS = re.compile(r"^pid(\d+)-")


def remove_leftovers(store: Store, backends: Sequence[Backend], *, dry_run: bool) -> list[dict[str, str]]:
    """Remove sandboxes, runtime folders and half-collected files whose run is over or whose owner is gone.

    Returns:
        One ``{kind, id, detail}`` for each thing that was, or with ``dry_run`` would be, removed.
    """
    states = {row.id: RunState(row.state) for row in store.runs()}
    found: list[dict[str, str]] = []
    for backend in backends:
        for sandbox in backend.list():
            if reason := _reason(sandbox, states, store.home):
                kept = "" if dry_run else _destroy(backend, sandbox)
                found.append({"kind": "sandbox", "id": sandbox, "detail": f"{backend.name}: {reason}{kept}"})
    for folder in sorted((runtime_root() / "runs").glob("*")):
        if reason := _run_reason(folder.name, states, store.home):
            found.append({"kind": "runtime", "id": folder.name, "detail": reason})
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
    for row in store.runs():
        run = store.run_dir(row.batch, row.id)
        for folder in sorted(run.private.glob("incoming-*")):
            if not run.driven():
                found.append({"kind": "files", "id": row.id, "detail": f"half-collected {folder.name}"})
                if not dry_run:
                    unseal_and_remove(folder)
    return found


def _destroy(backend: Backend, sandbox: str) -> str:
    """Remove a sandbox; say why it is still there where that failed."""
    try:
        backend.destroy(sandbox)
    except DojoError as exc:
        return f"; not removed: {exc.message} ({exc.hint})"
    return ""


def _reason(sandbox: str, states: dict[str, RunState], home: Path) -> str:
    if match := _OF_PROCESS.match(sandbox):
        return "" if Path(f"/proc/{match[1]}").exists() else f"process {match[1]} is gone"
    if match := _OF_RUN.match(sandbox):
        return _run_reason(match[1], states, home)
    return ""


def _run_reason(run: str, states: dict[str, RunState], home: Path) -> str:
    """Say why what belongs to ``run`` may go; "" when it may not. A run of another results directory is not ours to end."""
    if run in states:
        return "the run is over" if states[run].final else ""
    note = runtime_root() / "runs" / run / "home"
    owner = Path(note.read_text()) if note.exists() else None
    if owner is None or owner == home:
        return "" if owner is None else "no such run"
    return "" if os.path.isdir(owner) else f"its results directory {owner.name} is gone"
