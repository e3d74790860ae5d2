"""Plots of a set of runs: leaderboard, dev score over time, comparison. PNG and SVG, without a display."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from harness.analysis.compare import compare_all
from harness.analysis.comparison import Comparison, ComparisonRow
from harness.analysis.headings import Heading, run_headings
from harness.analysis.leaderboard import Leaderboard, leaderboard
from harness.extras import require
from harness.spec.event import Evaluated, Event
from harness.spec.outcome import Cause
from harness.spec.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common form of colour blindness. Shapes repeat what colours say.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
GREY = "#777777"
_SERIES = [(BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"), (BLACK, "X")]
_VERDICT = {"better": (BLUE, "^"), "worse": (VERMILION, "v"), "not_distinguishable": (GREY, "o")}
_INCHES_A_ROW = 0.34
# What a title needs, and how it is broken: task, profile and model on the first line; so many characters fit above a panel.
_INCHES_A_PANEL = 1.2
_TITLE = 3
_COLUMNS = 70
_DPI = 150


def write_plots(
    results: Sequence[RunResult],
    folder: Path,
    events: Callable[[str], Iterable[Event]] | None = None,
    excluded: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write every plot that the results allow, each as PNG and SVG, and return the files.

    Args:
        results: finished runs.
        folder: where to write; made if it is not there.
        events: run id → the run's events; without it the dev scores over time are not drawn.
        excluded: run id → why it is not compared although it is a measurement.

    Raises:
        MissingError: matplotlib is not installed.
    """
    require("matplotlib")
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    board = leaderboard(results, excluded=excluded)
    if board.rows:
        files += _save(plot_leaderboard(board), folder / "leaderboard")
    if events is not None:
        histories = {r.spec.id: dev_history(events(r.spec.id)) for r in results}
        if any(histories.values()):
            files += _save(plot_dev_scores(results, histories, excluded), folder / "dev-scores")
    for comparison in compare_all(results, excluded=excluded)[0]:
        files += _save(plot_comparison(comparison), folder / re.sub(r"[^\w.=-]+", "-", f"compare-{comparison.a}-{comparison.b}"))
    return files


def dev_history(events: Iterable[Event]) -> list[tuple[float, float]]:
    """Return (minutes on the run's clock, dev score) for each metered evaluation."""
    return [
        (event.elapsed_s / 60, event.data.feedback.scores.primary.value) for event in events if isinstance(event.data, Evaluated)
    ]


def plot_leaderboard(board: Leaderboard) -> Figure:
    """Draw a panel for each task and setting: agents with 95 % intervals (hollow: one run), yardsticks in grey below them."""
    tables = board.tables()
    figure, axes = _panels([len(table.rows) + len(table.lines) for table in tables])
    for axis, table in zip(axes, tables, strict=True):
        names = []
        for place, row in enumerate(table.rows):
            _interval(axis, place, row.score, row.ci_low, row.ci_high, BLUE, "o", hollow=bool(row.label))
            runs = "1 run: this model" if row.runs == 1 else f"{row.runs} runs" + (", single on a task" if row.label else "")
            names.append(f"{row.agent} ({runs})")
        for place, line in enumerate(table.lines, start=len(table.rows)):
            _interval(axis, place, line.score, line.ci_low, line.ci_high, GREY, "D")
            axis.axvline(line.score, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
            names.append(f"{line.name.replace('_', ' ')} (yardstick)")
        _rows_axis(axis, names, table.heading)
        axis.set_xlim(-0.02, 1.02)
    axes[-1].set_xlabel("score on the hidden split, with 95 % interval")
    return figure


def plot_dev_scores(
    results: Sequence[RunResult],
    histories: Mapping[str, Sequence[tuple[float, float]]],
    excluded: Mapping[str, str] | None = None,
) -> Figure:
    """Draw a panel for each task and setting: each run's dev scores over its clock.

    A run's hidden score stands at its end (hollow), where it counts.
    """
    headings = run_headings(results, excluded, with_task=True)
    panels: dict[Heading, list[RunResult]] = {}
    for r in sorted((r for r in results if histories[r.spec.id]), key=lambda r: r.spec.task.id):
        panels.setdefault(headings[r.spec.id], []).append(r)
    agents = sorted({r.spec.shown for r in results if histories[r.spec.id]})
    style = {agent: _SERIES[number % len(_SERIES)] for number, agent in enumerate(agents)}
    figure, axes = _panels([8] * len(panels))
    for axis, (heading, shown) in zip(axes, panels.items(), strict=True):
        named: set[str] = set()
        for result in shown:
            points = histories[result.spec.id]
            agent = result.spec.shown
            colour, marker = style[agent]
            minutes, scores = zip(*points, strict=True)
            label = None if agent in named else agent
            axis.plot(minutes, scores, color=colour, marker=marker, markersize=4, linewidth=1.2, alpha=0.8, label=label)
            if result.grade is not None and result.outcome.counts and result.outcome.cause is not Cause.AGENT_INTEGRITY:
                end, hidden = max(minutes[-1], result.usage.wall / 60), result.grade.scores.primary.value
                axis.plot([minutes[-1], end], [scores[-1], hidden], color=colour, linewidth=0.8, linestyle=":")
                axis.plot([end], [hidden], color=colour, marker=marker, markersize=7, markerfacecolor="white", linestyle="none")
            named.add(agent)
        _title(axis, heading)
        axis.set_ylabel("score")
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(left=0)
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
    axes[-1].set_xlabel("minutes on the run's clock (small: dev split; hollow: hidden split)")
    return figure


def plot_comparison(comparison: Comparison) -> Figure:
    """Draw a forest plot, a panel for each thing measured: a row a task and one over the tasks.

    Thick: 95 % interval of the row alone; thin: adjusted for the rows shown together, which the verdict looks at. Hollow and
    dashed: one run of an agent, so the interval is of these models and the agents are open. At the right win/tie/loss by item.
    """
    panels: dict[Heading, list[ComparisonRow]] = {}
    for row in comparison.shown:
        panels.setdefault(Heading(row.heading(f"{comparison.a} against {comparison.b}")), []).append(row)
    figure, axes = _panels([len(rows) for rows in panels.values()])
    widest = max(abs(bound) for row in comparison.shown for bound in _reach(row))
    for axis, (heading, rows) in zip(axes, panels.items(), strict=True):
        _forest(axis, heading, rows)
        axis.set_xlim(-1.1 * widest, 1.1 * widest)
    label = f"score of {comparison.a} minus {comparison.b}: 95 % interval (thick), adjusted (thin)"
    axes[-1].set_xlabel(label, parse_math=False)
    return figure


def _reach(row: ComparisonRow) -> tuple[float, float]:
    """Return the widest interval of a row: the adjusted one, or that of the models where the agents have none."""
    if row.models or row.ci_adjusted_low is None or row.ci_adjusted_high is None:
        return (row.models.ci_low, row.models.ci_high) if row.models else (row.difference, row.difference)
    return row.ci_adjusted_low, row.ci_adjusted_high


def _forest(axis: Any, heading: Heading, rows: Sequence[ComparisonRow]) -> None:
    for place, row in enumerate(rows):
        colour, marker = _VERDICT[row.verdict]
        if row.models or row.ci_low is None or row.ci_high is None:
            axis.plot(_reach(row), [place, place], color=colour, linewidth=1.2, linestyle="--")
            axis.plot(
                [row.difference], [place], color=colour, marker=marker, markersize=7, markerfacecolor="white", linestyle="none"
            )
        else:
            axis.plot(_reach(row), [place, place], color=colour, linewidth=0.9)
            _interval(axis, place, row.difference, row.ci_low, row.ci_high, colour, marker)
        axis.annotate(_beside(row), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axis.axvline(0, color=BLACK, linewidth=0.8)
    _rows_axis(axis, [f"{row.task} ({row.runs_a}+{row.runs_b} runs)" for row in rows], heading)


def _beside(row: ComparisonRow) -> str:
    said = "models differ; agents open" if row.models and row.models.verdict != "not_distinguishable" else row.judged()
    return f"{said}; win/tie/loss {row.counts()}"


def _panels(heights: Sequence[int]) -> tuple[Figure, list[Any]]:
    """Make a figure with a panel below the other, ``heights`` in rows. No pyplot: nothing global, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = sum(h * _INCHES_A_ROW + _INCHES_A_PANEL for h in heights) + 0.4
    figure = Figure(figsize=(8.5, inches), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": [h + 0.6 for h in heights]})
    return figure, list(axes[:, 0])


def _interval(
    axis: Any, place: int, value: float, low: float, high: float, colour: str, marker: str, hollow: bool = False
) -> None:
    axis.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    face = "white" if hollow else colour
    axis.plot([value], [place], color=colour, marker=marker, markersize=7, markerfacecolor=face, linestyle="none")


def _rows_axis(axis: Any, names: Sequence[str], heading: Heading) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    _title(axis, heading)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _title(axis: Any, heading: Heading) -> None:
    """Write what was measured above a panel: first what and with which data and model, below it the rest, then the difference."""
    words = heading.title.split(" · ")
    lines = [" · ".join(words[:_TITLE]), " · ".join(words[_TITLE:])]
    lines += [heading.note] if heading.note else []
    axis.set_title("\n".join(fill(line, _COLUMNS) for line in lines), loc="left", fontsize=10, parse_math=False)


def _save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG. The same results give the same bytes."""
    import matplotlib

    files = [stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"]
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(files[0], dpi=_DPI, metadata={"Software": None})
        figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files
