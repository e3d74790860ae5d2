"""Finding and removing what dead harnesses left on this host. What can still be resumed is left alone."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.sandbox.base import Backend
from harness.sandbox.runtime import runtime_root
from harness.session.collect import unseal_and_remove
from harness.session.record import fold
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.store.base import RunFilter, Store

_OF_RUN = re.compile(r"^(r\d{8}-\d{6}-[a-z0-9]{5})-\d+-(task|agent|dev|grade)$")
_OF_PROCESS = re.compile(r"^pid(\d+)-")
_OPEN = frozenset(state for state in RunState if not state.final)


def remove_leftovers(store: Store, home: Path, backends: Sequence[Backend], *, dry_run: bool) -> list[dict[str, str]]:
    """Remove sandboxes, runtime folders and half-collected files whose run is over or whose owner is gone.

    Returns:
        One ``{kind, id, detail}`` for each thing that was, or with ``dry_run`` would be, removed; of kind ``unreachable`` for a
        backend that cannot be asked.
    """
    states = {run.id: run.state for run in store.runs()}
    found: list[dict[str, str]] = []
    for backend in backends:
        try:
            listed = backend.list()
        except DojoError as exc:  # a cluster that is away is no reason to leave this host as it is
            found.append({"kind": "unreachable", "id": backend.name, "detail": exc.message})
            continue
        for sandbox in listed:
            if reason := _reason(sandbox, states, home):
                kept = "" if dry_run else _destroy(backend, sandbox)
                found.append({"kind": "sandbox", "id": sandbox, "detail": f"{backend.name}: {reason}{kept}"})
    for folder in sorted((runtime_root() / "runs").glob("*")):
        if reason := _run_reason(folder.name, states, home):
            found.append({"kind": "runtime", "id": folder.name, "detail": reason})
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
    for id in states:
        halves = sorted(store.files(id).private.glob("incoming-*"))
        if halves and store.holder(id) is None:
            for folder in halves:
                found.append({"kind": "files", "id": id, "detail": f"half-collected {folder.name}"})
                if not dry_run:
                    unseal_and_remove(folder)
    return found


def overdue(store: Store) -> list[dict[str, str]]:
    """Return the runs whose agent's budget is over and that nobody drives: their sandboxes wait to be collected and graded."""
    found = []
    for run in store.runs(RunFilter(states=_OPEN)):
        if store.holder(run.id) is not None:
            continue
        try:
            files = store.files(run.id)
            spec, record = files.spec(), fold(files.events())
        except DojoError:
            continue  # a damaged run is said by every listing
        if record.clock_started is None:
            continue
        end = record.clock_started + timedelta(seconds=spec.budget.wall)
        if end <= datetime.now(UTC):
            detail = f"its budget was over at {end.astimezone():%Y-%m-%d %H:%M:%S}; `dojo resume {run.batch}` ends and grades it"
            found.append({"kind": "overdue", "id": run.id, "detail": detail})
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
