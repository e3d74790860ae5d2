"""Rows of runs as text: shared by submit, resume and status. Made from the JSON document: people and programs see one value."""

from __future__ import annotations

from typing import Any

from harness.cli.humanise import amount, duration, interval, score
from harness.cli.output import Output
from harness.cli.sanitise import one_line

# Causes for which the agent is not to blame; the table in docs/architecture.md.
_NOT_THE_AGENTS = {"sandbox", "scheduling", "evicted", "harness", "model_provider", "grader"}
_MOVING = {"preparing", "running", "collecting", "sealed", "grading"}


def cause(row: dict[str, Any]) -> str:
    """Return the outcome's cause, or an empty string while the run has none."""
    outcome = row.get("outcome")
    return str(outcome.get("cause", "")) if isinstance(outcome, dict) else str(outcome or "")


def failed(row: dict[str, Any]) -> bool:
    """Whether the run did not give what was asked for, for a reason that is not the agent's."""
    return row["state"] == "failed" or cause(row) in _NOT_THE_AGENTS


def exit_code(rows: list[dict[str, Any]]) -> int:
    """Return 0 when no run failed, 1 when all did, 4 when some did."""
    bad = sum(failed(row) for row in rows)
    return 0 if not bad else 1 if bad == len(rows) else 4


def batch_rows(data: Any, output: Output) -> None:
    """Print where the runs of a batch stand."""
    name = f" ({one_line(data['name'])})" if data.get("name") else ""
    moving = [row for row in data["runs"] if row["state"] in _MOVING]
    rows = []
    for row in data["runs"]:
        state = row["state"] if cause(row) in ("", "completed", row["state"]) else f"{row['state']}: {cause(row)}"
        scored = score(row["score"])
        if row["ci_low"] is not None:
            scored += f" ({interval(row['ci_low'], row['ci_high'])})"
        dev = f"{score(row['dev_score'])} in {row['evaluations']}" if row["evaluations"] else "–"
        rows.append([row["id"], row["agent"], row["task"], row["seed"], state, scored, dev, spent(row)])
    columns = ["run", "agent", "task", "seed>", "state", "score (95 %)", "best dev", "time>"]
    output.table(columns, rows, title=f"batch {data['batch']}{name}")
    for row in data["runs"]:
        note = row["why"] or (row["last_event"] if row in moving else "")
        if note and cause(row) != "completed":
            output.line(f"  {row['id']}: {one_line(note, 200)}")


def spent(row: dict[str, Any]) -> str:
    """Return time used, with its limit where there is one: ``1m 05s of 10m 00s``."""
    wall = row["budget"].get("wall") or {}
    limit = wall.get("limit")
    return duration(row["elapsed_s"]) + (f" of {amount('wall', limit)}" if limit else "")
