"""A batch on one page of Markdown: leaderboard, comparisons, every run with its outcome, timeline and folder, plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.compare import compare_all
from harness.analysis.comparison import Comparison, headings
from harness.analysis.headings import Heading, run_headings
from harness.analysis.leaderboard import Leaderboard, Table, leaderboard
from harness.spec.measured import measured, measured_together
from harness.spec.result import RunResult

# What Markdown or HTML would take as its own; text from agents (outcome messages) must stay text.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#!&~$])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def markdown_report(
    title: str,
    results: Sequence[RunResult],
    folders: Mapping[str, str] | None = None,
    plots: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    excluded: Mapping[str, str] | None = None,
    damaged: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        title: its heading.
        results: the batch's runs that have ended.
        folders: run id → link to the run's folder, relative to where the page will lie.
        plots: links to pictures, relative to where the page will lie.
        unfinished: a line for each run that has not ended.
        excluded: run id → why it is not compared although it is a measurement.
        damaged: a line for each run whose folder cannot be read.
    """
    board = leaderboard(results, excluded=excluded)
    comparisons, refused = compare_all(results, excluded=excluded)
    parts = [f"# {_text(title)}", _summary(results, board)]
    parts += ["Not ended yet:\n\n" + _bullets(unfinished)] if unfinished else []
    parts += ["Damaged, so not (wholly) on this page:\n\n" + _bullets(damaged)] if damaged else []
    parts += ["## Leaderboard", *_boards(board)]
    if comparisons or refused:
        parts += ["## Comparisons", *_comparisons(comparisons, refused)]
    warnings = dict.fromkeys((*board.warnings, *(w for c in comparisons for w in c.warnings)))
    parts += ["## Warnings", _bullets(warnings)] if warnings else []
    parts += ["## Runs", *_runs(results, folders or {}, excluded or {}), "## Timelines", _timelines(results)]
    parts += ["## Plots", *(f"![{_text(link)}](<{link}>)" for link in plots)] if plots else []
    return "\n\n".join(parts) + "\n"


def _summary(results: Sequence[RunResult], board: Leaderboard) -> str:
    agents = sorted({r.spec.shown for r in results})
    tasks = sorted({r.spec.task.id for r in results})
    text = f"{len(results)} runs of {_text(', '.join(agents))} on {_text(', '.join(tasks))}"
    text += f" ({_text(measured_together(measured(r.spec) for r in results).heading())})" if results else ""
    left = [f"{_text(out.run)} ({_text(out.agent)}, {_text(out.task)}): {_text(out.reason)}" for out in board.left_out]
    if not left:
        return f"{text}; all count."
    return f"{text}; {len(left)} no measurement of an agent:\n\n" + "\n".join(f"- {line}" for line in left)


def _boards(board: Leaderboard) -> list[str]:
    if not board.rows:
        return ["No run has been measured."]
    return [_board(table) for table in board.tables()]


def _board(table: Table) -> str:
    cells: list[tuple[object, ...]] = []
    for row in table.rows:
        rank = f"{row.rank_low}–{row.rank_high}" if row.rank_low != row.rank_high else row.rank_low
        notes = [row.label, f"{row.flagged} cheating" if row.flagged else ""]
        notes += [f"normalised {row.normalised:.2f}" if row.normalised is not None else ""]
        interval = f"{row.ci_low:.3f} to {row.ci_high:.3f}"
        cells.append((rank, row.agent, row.runs, f"{row.score:.3f}", interval, "; ".join(filter(None, notes))))
    for line in table.lines:
        cells.append(("", f"({line.name})", "", f"{line.score:.3f}", f"{line.ci_low:.3f} to {line.ci_high:.3f}", ""))
    return _headed(table.heading) + _table(("rank", "agent", "runs", "score", "95 %", "note"), cells)


def _headed(heading: Heading) -> str:
    note = f"{_text(heading.note)}\n\n" if heading.note else ""
    return f"### {_text(heading.title)}\n\n{note}"


def _comparisons(comparisons: Sequence[Comparison], refused: Sequence[str]) -> list[str]:
    tables: dict[Heading, list[tuple[object, ...]]] = {}
    for found in comparisons:
        for row in found.shown:
            reason = row.reason if row.models else f"{row.judged()}: {row.reason}"
            tables.setdefault(Heading(row.heading()), []).append(
                (
                    f"{found.a} against {found.b}",
                    row.named(found.adjusted),
                    f"{row.difference:+.3f}",
                    row.interval(),
                    row.chance(),
                    row.counts(),
                    f"{row.runs_a}+{row.runs_b}",
                    "; ".join(filter(None, [reason, row.left_out])),
                )
            )
    interval, p = headings(max((found.adjusted for found in comparisons), default=0))
    columns = ("agents", "task", "difference", interval, p, "win/tie/loss", "runs", "verdict about the first")
    parts = [_headed(heading) + _table(columns, cells) for heading, cells in tables.items()]
    return [*parts, _bullets(refused)] if refused else parts


def _runs(results: Sequence[RunResult], folders: Mapping[str, str], excluded: Mapping[str, str]) -> list[str]:
    """Make a table for each thing that was measured."""
    tables: dict[Heading, list[tuple[object, ...]]] = {}
    headings = run_headings(results, excluded)
    for r in results:
        folder = folders.get(r.spec.id)
        hidden = f"{r.grade.scores.primary.value:.3f}" if r.grade else "–"
        dev = f"{r.best_dev:.3f}" if r.best_dev is not None else "–"
        outcome = r.outcome.cause.value + (f": {r.outcome.message}" if r.outcome.message else "")
        figures = (hidden, dev, r.evaluations, r.submissions, _minutes(r.usage.wall))
        link = _Link(folder) if folder else ""
        row = (r.spec.id, r.spec.shown, r.spec.task.id, r.spec.seed, outcome, *figures, link)
        tables.setdefault(headings[r.spec.id], []).append(row)
    columns = (
        "run",
        "agent",
        "task",
        "seed",
        "outcome",
        "hidden",
        "best dev",
        "evaluations",
        "submissions",
        "agent's time",
        "folder",
    )
    return [_headed(heading) + _table(columns, cells) for heading, cells in tables.items()]


def _timelines(results: Sequence[RunResult]) -> str:
    """Say for each run how long it was in each state; a state entered again after a crash appears again."""
    lines = []
    for r in results:
        phases = [f"{p.state.value} {_minutes(p.seconds)}" if p.seconds is not None else p.state.value for p in r.timeline]
        start = f"{r.timeline[0].entered:%Y-%m-%d %H:%M:%S} UTC: " if r.timeline else ""
        lines.append(f"- {_text(r.spec.id)}: {start}{' → '.join(phases) or 'nothing recorded'}")
    return "\n".join(lines)


class _Link(str):
    """A link that was made here, not text from elsewhere."""


def _minutes(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(f"[open](<{c}>)" if isinstance(c, _Link) else _text(c) for c in row) + " |")
    return "\n".join(lines)


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_text(text)}" for text in texts)


def _text(value: object) -> str:
    """Make text from anywhere harmless in Markdown: one line, no markup, no control characters, no bare address."""
    plain = _CONTROL.sub(" ", str(value)).replace("://", ":\u200b//")
    return _MARKUP.sub(r"\\\1", plain).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")
