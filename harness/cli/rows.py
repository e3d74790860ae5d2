"""Rows of runs as text: shared by submit, resume and status. Made from the JSON document: people and programs see one value."""

from __future__ import annotations

import textwrap
from typing import Any

from harness.cli import damage
from harness.cli.headings import tables
from harness.cli.humanise import amount, duration, interval, score
from harness.cli.output import Output
from harness.cli.sanitise import one_line

# Causes for which the agent is not to blame; the table in docs/architecture.md.
_NOT_THE_AGENTS = {"sandbox", "scheduling", "evicted", "harness", "model_provider", "grader"}
_MOVING = {"preparing", "running", "collecting", "sealed", "grading"}


def shown(row: dict[str, Any]) -> str:
    """Return the agent's name with what tells the variant apart."""
    return f"{row['agent']} {row['variant']}".strip()


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
    """Print where the runs of a batch stand: a table for each task and setting, under what was measured."""
    name = f" ({one_line(data['name'])})" if data.get("name") else ""
    output.line(f"batch {data['batch']}{name}")
    columns = ["run", "agent", "seed>", "state", "score (95 %)", "best dev", "time>"]
    for title, rows in tables(_together(data["runs"])).items():
        output.line()
        if any(map(thought, rows)):
            output.table([*columns, "tokens>"], [[*_cells(row), thought(row)] for row in rows], title=title)
        else:
            output.table(columns, [_cells(row) for row in rows], title=title)
    damage.tell(data, output)
    for run in data.get("driven_elsewhere") or []:
        output.line(f"  {run}: driven by another dojo process; this one left it alone")
    moving = [row for row in data["runs"] if row["state"] in _MOVING]
    for row in data["runs"]:
        if row.get("excluded"):
            output.line(f"  {row['id']}: excluded from comparisons: {one_line(row['excluded'], 200)}")
        note = row["why"] or (row["last_event"] if row in moving else "")
        # once its agent has completed nothing needs to be said of a run, unless it waits to be graded
        if note and (cause(row) != "completed" or (row in moving and row["why"])):
            for line in textwrap.wrap(f"{row['id']}: {one_line(note, 200)}", 98, initial_indent="  ", subsequent_indent="    "):
                output.line(line)


def _together(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name metric and backbone of runs that have none as those of the task's other runs: they stand in one table."""
    known = {row["task"]: row["metric"] for row in rows if row["metric"]}
    backbones = {row["task"]: row["backbone"] for row in rows if row["backbone"]}
    return [
        row
        | {"metric": row["metric"] or known.get(row["task"], ""), "backbone": row["backbone"] or backbones.get(row["task"], "")}
        for row in rows
    ]


def _cells(row: dict[str, Any]) -> list[object]:
    state = row["state"] if cause(row) in ("", "completed", row["state"]) else f"{row['state']}: {cause(row)}"
    scored = score(row["score"])
    if row["ci_low"] is not None:
        scored += f" ({interval(row['ci_low'], row['ci_high'])})"
    dev = f"{score(row['dev_score'])} in {row['evaluations']}" if row["evaluations"] else "–"
    return [row["id"], shown(row), row["seed"], state, scored, dev, spent(row)]


def spent(row: dict[str, Any]) -> str:
    """Return time used, with its limit where there is one: ``1m 05s of 10m 00s``; CPU-seconds where more of those is used up."""
    limited = {name: line for name in ("wall", "cpu") if (line := row["budget"].get(name) or {}).get("limit")}
    shares = {name: (row["elapsed_s"] if name == "wall" else line["used"]) / line["limit"] for name, line in limited.items()}
    if "cpu" in shares and shares["cpu"] > shares.get("wall", 0.0):
        return f"{duration(limited['cpu']['used'])} of {amount('cpu', limited['cpu']['limit'])} CPU"
    return duration(row["elapsed_s"]) + (f" of {amount('wall', limited['wall']['limit'])}" if "wall" in limited else "")


def thought(row: dict[str, Any]) -> str:
    """Return what was spent at the backbone: ``12,345 tokens, $0.02``; empty where nothing was."""
    tokens, dollars = ((row["budget"].get(name) or {}).get("used") or 0 for name in ("tokens", "dollars"))
    words = [f"{amount('tokens', tokens)}"] if tokens else []
    return ", ".join([*words, amount("dollars", dollars)] if dollars else words)
