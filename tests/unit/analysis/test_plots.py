from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.analysis.plots import dev_history, plot_comparison, plot_dev_scores, plot_leaderboard, write_plots
from harness.spec import Budget, Cause, Event, EventKind, RunResult
from tests.unit.spec.feedback import feedback

Build = Callable[..., RunResult]


def some_runs(result: Build) -> list[RunResult]:
    rng = np.random.default_rng(0)
    levels = {"ft_agent": 0.7, "recipe": 0.4}
    return [
        result(agent, s, (rng.random(60) < p).astype(float), references={"base": 0.05, "majority": 0.3}, task=task)
        for agent, p in levels.items()
        for task in ("math/sums", "chem/count")
        for s in range(3 if agent == "recipe" or task == "math/sums" else 1)
    ]


def evaluations(*scores: float) -> list[Event]:
    return [
        Event(seq=n, kind=EventKind.EVALUATE, elapsed_s=90.0 * n, data={"evaluation": n + 1, "feedback": feedback(n + 1, v)})
        for n, v in enumerate(scores)
    ]


def test_every_plot_is_written_as_png_and_svg(result: Build, tmp_path: Path) -> None:
    files = write_plots(some_runs(result), tmp_path / "plots", lambda _run: evaluations(0.1, 0.4))
    assert sorted(f.name for f in files) == sorted(
        f"{stem}.{kind}" for stem in ("leaderboard", "dev-scores", "compare-ft_agent-recipe") for kind in ("png", "svg")
    )
    for file in files:
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG\r\n") and file.stat().st_size > 5000
        else:
            assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_the_same_results_give_the_same_bytes(result: Build, tmp_path: Path) -> None:
    runs = some_runs(result)
    first, second = write_plots(runs, tmp_path / "a"), write_plots(runs, tmp_path / "b")
    assert [f.name for f in first] == [f.name for f in second]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True))


def test_nothing_measured_draws_nothing(result: Build, tmp_path: Path) -> None:
    assert write_plots([result("a", 0, [1], cause=Cause.SANDBOX, graded=False)], tmp_path, lambda _run: []) == []


def test_the_leaderboard_has_a_panel_a_task_and_one_over_tasks_with_a_row_an_agent_and_yardstick(result: Build) -> None:
    figure = plot_leaderboard(leaderboard(some_runs(result)))
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    what = "mini · smol\naccuracy · 1m, 20 evaluations · namespace · dojo 0.1.0"
    assert titles == [f"{task} · {what}" for task in ("chem/count", "math/sums", "all tasks")]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["ft_agent (1 run: this model)", "recipe (3 runs)", "base (yardstick)", "majority (yardstick)"]


def test_the_forest_plot_draws_what_the_comparison_says(result: Build) -> None:
    comparison = compare(some_runs(result), "ft_agent", "recipe")
    axis = plot_comparison(comparison).axes[0]
    drawn = [tuple(float(x) for x in line.get_xdata()) for line in axis.lines]
    for row in (*comparison.rows, comparison.overall):
        about = row.models or row
        assert (about.ci_low, about.ci_high) in drawn and (row.difference,) in drawn
        assert row.models or (row.ci_adjusted_low, row.ci_adjusted_high) in drawn


def test_dev_scores_are_drawn_on_the_runs_clock_with_hidden_scores_of_runs_that_count(result: Build) -> None:
    honest = result("a", 0, [1, 0, 0, 0])
    cheat = result("b", 0, [1, 1, 1, 1], cause=Cause.AGENT_INTEGRITY, references={"base": 0.0})
    histories = {run.spec.id: dev_history(evaluations(0.2, 0.5)) for run in (honest, cheat)}
    axis = plot_dev_scores([honest, cheat], histories).axes[0]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]
    assert lines.count(([0.0, 1.5], [0.2, 0.5])) == 2
    assert ([1.5], [0.25]) in lines
    assert all(1.0 not in y for _, y in lines)


def test_runs_of_another_setting_have_a_panel_that_says_so(result: Build) -> None:
    runs = [
        *(result("a", s, [1, 0, 1]) for s in range(2)),
        *(result("a", s, [1, 0, 1], budget=Budget(wall=60, evaluations=5)) for s in range(2)),
        result("a", 9, [1, 0, 1], budget=Budget(wall=60, evaluations=5), limit=3),
    ]
    titles = [axis.get_title(loc="left").splitlines()[2:] for axis in plot_leaderboard(leaderboard(runs)).axes]
    assert titles == [[], ["other budget 1m, 20 evaluations instead of 1m, 5 evaluations"]]
    axes = plot_dev_scores(runs, {run.spec.id: [(0.5, 0.3)] for run in runs}).axes
    titles = [" ".join(axis.get_title(loc="left").splitlines()[2:]) for axis in axes]
    older = "other budget 1m, 20 evaluations instead of 1m, 5 evaluations"
    assert titles == [older, "", "quick look at 3 items; never compared or ranked"]
