"""The page of ``dojo report`` in Markdown: a pure function of the batch's status, leaderboard and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.cli.humanise import duration, interval, score
from harness.cli.rows import cause
from harness.cli.sanitise import one_line


def page(data: dict[str, Any]) -> str:
    """Return the page for what `harness.cli.report.gather` collected."""
    status, board = data["status"], data["leaderboard"]
    parts = [f"# Batch {status['batch']}" + (f": {escape(status['name'])}" if status["name"] else "")]
    parts += _leaderboard(board)
    parts += _comparisons(data["comparisons"], data["refused"])
    parts += _runs(status["runs"])
    return "\n\n".join(parts) + "\n"


def _leaderboard(board: Any) -> list[str]:
    parts = ["## Leaderboard"]
    if not board["rows"]:
        parts.append("No run has been measured.")
    for task in dict.fromkeys(row["task"] for row in board["rows"]):
        rows = []
        for row in (r for r in board["rows"] if r["task"] == task):
            rank = f"{row['rank_low']}–{row['rank_high']}" if row["rank_low"] != row["rank_high"] else row["rank_low"]
            star = "*" if row["label"] else ""
            rows.append((rank, row["agent"] + star, row["runs"], score(row["score"]), interval(row["ci_low"], row["ci_high"])))
        for line in board["references"].get(task, []):
            rows.append(("", f"({line['name']})", "", score(line["score"]), interval(line["ci_low"], line["ci_high"])))
        parts.append(f"### {escape(task)}\n\n" + table(("rank", "agent", "runs", "score", "95 %"), rows))
    notes = [f"\\* {label}" for label in dict.fromkeys(row["label"] for row in board["rows"] if row["label"])]
    notes += [f"Warning: {warning}" for warning in board["warnings"]]
    if board["left_out"]:
        notes.append(f"{len(board['left_out'])} runs are no measurement of an agent and are left out.")
    return parts + ["\n".join(f"- {escape(note)}" for note in notes)] * bool(notes)


def _comparisons(comparisons: Sequence[Any], refused: Sequence[str]) -> list[str]:
    if not comparisons and not refused:
        return []
    rows = []
    for found in comparisons:
        for row in found["rows"]:
            difference = f"{row['difference']:+.3f} ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
            record = f"{row['win']}/{row['tie']}/{row['loss']}"
            verdict = f"{row['verdict'].replace('_', ' ')}: {row['reason']}"
            rows.append((f"{found['a']} against {found['b']}", row["task"], difference, record, verdict))
    parts = ["## Comparisons"]
    if rows:
        parts.append(table(("agents", "task", "difference (95 %)", "win/tie/loss", "verdict about the first"), rows))
    return parts + ["\n".join(f"- {escape(reason)}" for reason in refused)] * bool(refused)


def _runs(runs: Sequence[Any]) -> list[str]:
    rows = []
    for row in runs:
        ended = cause(row) or row["state"]
        figures = (score(row["score"]), score(row["dev_score"]), row["evaluations"], duration(row["elapsed_s"]))
        rows.append((row["id"], row["agent"], row["task"], row["seed"], ended, *figures))
    columns = ("run", "agent", "task", "seed", "outcome", "score", "best dev", "evaluations", "time")
    return ["## Runs", table(columns, rows)]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def escape(value: object) -> str:
    """Make text from elsewhere harmless in Markdown: one line, no cell ends, no HTML, no images or links."""
    text = one_line(value).replace("\\*", "\0")
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("[", "\\["), ("`", "\\`")):
        text = text.replace(old, new)
    return text.replace("\0", "\\*")
