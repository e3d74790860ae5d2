"""Figures that a reader takes for something else: each as STATISTICS.md, second part, section 6 wants it said."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from harness.analysis.compare import compare, compare_all
from harness.analysis.comparison import Comparison, headings
from harness.analysis.leaderboard import leaderboard
from harness.analysis.plan import Components, _plan_row
from harness.analysis.plots import plot_comparison
from harness.analysis.report import markdown_report
from harness.spec import Cause, RunResult

Build = Callable[..., RunResult]


def drawn(result: Build, agent: str, levels: list[float], n: int = 120, key: int = 0, **more: object) -> list[RunResult]:
    rng = np.random.default_rng([n, len(levels), key, *agent.encode()])
    return [result(agent, seed, (rng.random(n) < p).astype(float), **more) for seed, p in enumerate(levels)]


def one_run_each(result: Build) -> Comparison:
    return compare([*drawn(result, "good", [0.9]), *drawn(result, "base", [0.05])], "good", "base")


def test_one_run_each_says_what_the_models_are_and_nothing_of_the_agents(result: Build) -> None:
    row = one_run_each(result).rows[0]
    told = json.loads(row.model_dump_json())
    for name in (
        "p",
        "p_adjusted",
        "ci_low",
        "ci_high",
        "ci_adjusted_low",
        "ci_adjusted_high",
        "smallest_difference",
        "runs_needed",
    ):
        assert told[name] is None, name
    assert told["verdict"] == "not_distinguishable"
    assert told["models"]["verdict"] == "better" and told["models"]["p"] < 1e-9 and told["models"]["ci_low"] > 0.5
    assert row.reason.startswith("these two models differ: +0.")
    assert "the agents are open" in row.reason and "dojo submit --agent good --agent base --task math/sums --seed 1" in row.reason
    assert (row.chance(), row.interval(), row.judged()) == ("–", "–", "open: one run")


def test_the_runs_that_it_says_settle_it_make_a_row_that_is_judged(result: Build) -> None:
    runs = [*drawn(result, "good", [0.9]), *drawn(result, "base", [0.05])]
    again = [result(agent, 1, r.grade.item_scores) for agent, r in zip(("good", "base"), runs, strict=True) if r.grade]
    row = compare([*runs, *again], "good", "base").rows[0]
    assert row.models is None and row.verdict == "better" and row.p is not None


def test_two_models_that_may_be_alike_are_not_said_to_differ(result: Build) -> None:
    row = compare([*drawn(result, "a", [0.5]), *drawn(result, "b", [0.5])], "a", "b").rows[0]
    assert row.models is not None and row.models.verdict == "not_distinguishable" and "do not surely differ" in row.reason


def test_no_page_shows_a_p_beside_a_verdict_that_is_open(result: Build) -> None:
    runs = [*drawn(result, "good", [0.9]), *drawn(result, "base", [0.05])]
    page = markdown_report("b", runs)
    line = next(line for line in page.splitlines() if "good against base" in line)
    assert "e-" not in line and "open" in line and "these two models differ" in line
    axis = plot_comparison(one_run_each(result)).axes[0]
    assert any("models differ; agents open" in text.get_text() for text in axis.texts)
    assert any(line.get_linestyle() == "--" for line in axis.lines)


def test_rows_that_a_single_run_leaves_open_cost_the_others_no_level(result: Build) -> None:
    runs = [*drawn(result, "a", [0.66, 0.62, 0.64]), *drawn(result, "b", [0.5, 0.46, 0.48])]
    alone = compare(runs, "a", "b").rows[0]
    for number in range(5):
        task = f"chem/t{number}"
        runs += [*drawn(result, "a", [0.9], task=task, key=number), *drawn(result, "b", [0.1], task=task, key=number)]
    together = compare(runs, "a", "b")
    row = next(row for row in together.rows if row.task == "math/sums")
    assert (row.p_adjusted, row.ci_adjusted_low) == (alone.p_adjusted, alone.ci_adjusted_low)
    assert together.adjusted == 1 and headings(together.adjusted) == ("95 %", "p")


def test_interval_and_p_are_adjusted_alike_and_the_headings_say_over_how_many_rows(result: Build) -> None:
    runs = []
    for number in range(3):
        task = f"chem/t{number}"
        runs += [*drawn(result, "a", [0.6, 0.63, 0.58], task=task, key=number), *drawn(result, "b", [0.5, 0.47, 0.52], task=task)]
    comparison = compare(runs, "a", "b")
    assert comparison.adjusted == 3 and headings(3) == ("adjusted 95 %", "p (Holm, 3 rows)")
    for row in comparison.rows:
        assert row.p_adjusted is not None and row.ci_adjusted_low is not None and row.ci_low is not None
        assert (row.p_adjusted > 0.05) == (row.ci_adjusted_low <= 0 <= (row.ci_adjusted_high or 0))
        assert row.interval() == f"{row.ci_adjusted_low:+.3f} to {row.ci_adjusted_high:+.3f}"
    assert (
        comparison.overall.named(comparison.adjusted) == "all tasks (not adjusted)" and comparison.overall.named(1) == "all tasks"
    )
    assert "p (Holm, 3 rows)" in markdown_report("b", runs) and "adjusted 95 %" in markdown_report("b", runs)
    pairs, _ = compare_all([*runs, *drawn(result, "c", [0.5, 0.5], task="chem/t0")])
    assert {found.adjusted for found in pairs} == {sum(len(found.rows) for found in pairs)}


F1 = [
    # Item scores of two fixed models, and pseudo-values as a macro-F1 has them: no two items of one model are alike.
    ([1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0], (1, 4, 1)),
    ([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], (0, 6, 0)),
    ([1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], (3, 3, 0)),
]


@pytest.mark.parametrize(("a", "b", "counts"), F1)
def test_items_are_won_by_their_scores_where_the_metric_is_no_mean(
    result: Build, a: list[float], b: list[float], counts: tuple[int, int, int]
) -> None:
    def run(agent: str, seed: int, scores: list[float], shift: float) -> RunResult:
        shares = {f"i{n:03d}": s * (1 + shift * n) - 0.1 * shift * n for n, s in enumerate(scores)}
        return result(agent, seed, scores, primary=sum(shares.values()) / len(shares), pseudo_values=shares)

    for seeds in (1, 2):
        runs = [*(run("a", s, a, 0.07) for s in range(seeds)), *(run("b", s, b, 0.11) for s in range(seeds))]
        row = compare(runs, "a", "b").rows[0]
        assert (row.win, row.tie, row.loss) == counts
        assert row.counts() == "/".join(map(str, counts))


def test_won_and_lost_are_those_of_a_run_against_a_run_and_not_of_means(result: Build) -> None:
    a, b = [[1, 1, 0, 0], [1, 0, 0, 0]], [[0, 1, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]]
    runs = [*(result("a", s, x) for s, x in enumerate(a)), *(result("b", s, x) for s, x in enumerate(b))]
    row = compare(runs, "a", "b").rows[0]
    mean_a, mean_b = np.mean(a, axis=0), np.mean(b, axis=0)
    assert row.win == pytest.approx((mean_a * (1 - mean_b)).sum()) and row.loss == pytest.approx(((1 - mean_a) * mean_b).sum())
    assert row.win + row.tie + row.loss == pytest.approx(4)


def test_over_tasks_tasks_are_won_and_not_items_added_up(result: Build) -> None:
    runs = []
    for number, level in enumerate((0.7, 0.6, 0.3)):
        task = f"chem/t{number}"
        runs += [*drawn(result, "a", [level, level], task=task, key=number), *drawn(result, "b", [0.5, 0.5], task=task, key=9)]
    overall = compare(runs, "a", "b").overall
    assert (overall.win, overall.tie, overall.loss) == (2, 0, 1) and overall.counts() == "2/0/1 tasks"


@pytest.mark.parametrize(
    ("dead_a", "dead_b", "said"),
    [
        (0, 0, ""),
        (3, 0, "a: 3 of 5 runs left out (sandbox)"),
        (0, 1, "b: 1 of 4 runs left out (sandbox)"),
        (1, 2, "a: 1 of 3 runs left out (sandbox); b: 2 of 5 runs left out (sandbox)"),
    ],
)
def test_runs_left_out_are_told_with_what_they_could_change(result: Build, dead_a: int, dead_b: int, said: str) -> None:
    runs = [*drawn(result, "a", [0.8, 0.8]), *drawn(result, "b", [0.4, 0.4, 0.4])]
    lost = [
        result(agent, 10 + n, [1], cause=Cause.SANDBOX, graded=False)
        for agent, k in (("a", dead_a), ("b", dead_b))
        for n in range(k)
    ]
    row = compare([*runs, *lost], "a", "b").rows[0]
    assert row.left_out.startswith(said) and bool(row.left_out) == bool(said)
    if not said:
        assert row.difference_if_zero is None
        return
    score_a, score_b = (np.mean([r.grade.scores.primary.value for r in runs if r.spec.shown == agent]) for agent in "ab")
    assert row.difference_if_zero == pytest.approx(score_a * 2 / (2 + dead_a) - score_b * 3 / (3 + dead_b))
    assert f"were they all 0 the difference would be {row.difference_if_zero:+.3f}" in row.left_out
    assert row.left_out.split(";")[0] in markdown_report("b", [*runs, *lost]).replace("\\", "")


def test_what_somebody_excluded_is_no_run_that_died(result: Build) -> None:
    runs = [*drawn(result, "a", [0.8, 0.8, 0.8]), *drawn(result, "b", [0.4, 0.4])]
    row = compare(runs, "a", "b", excluded={runs[0].spec.id: "a test"}).rows[0]
    assert row.runs_a == 2 and row.left_out == ""


@pytest.mark.parametrize(
    ("a", "b"), [([1.0] * 15, [0.0] * 15), ([1.0], [0.0]), ([1.0, 1.0], [0.0, 0.0]), ([1.0, 0.0], [0.0, 0.0])]
)
@pytest.mark.parametrize("runs", [1, 2, 3])
def test_nothing_lies_beyond_a_difference_of_1(result: Build, a: list[float], b: list[float], runs: int) -> None:
    made = [result(agent, seed, values) for agent, values in (("a", a), ("b", b)) for seed in range(runs)]
    row = compare(made, "a", "b").rows[0]
    shown = [row.models] if row.models else [row]
    for about in shown:
        assert -1 <= about.ci_low <= about.ci_high <= 1
    assert row.smallest_difference is None or row.smallest_difference <= 1
    assert row.models or row.smallest_difference is not None or "could have shown no difference" in row.reason


def test_a_plan_names_no_difference_that_cannot_be() -> None:
    noisy = Components(items=3, run_a=0.25, run_b=0.25, residual_a=0.2, residual_b=0.2, item=0.2, item_df=2)
    row = _plan_row("t/x", [noisy], 2, "assumed")
    assert row.smallest_difference is None and row.smallest_difference_80 is None


def test_agents_that_are_missing_from_all_tasks_are_named_with_the_tasks(result: Build) -> None:
    runs = [*drawn(result, "a", [0.5, 0.5]), *drawn(result, "b", [0.4, 0.4]), *drawn(result, "c", [0.9, 0.9])]
    runs += [*drawn(result, "a", [0.5, 0.5], task="chem/x"), *drawn(result, "b", [0.4, 0.4], task="chem/x")]
    board = leaderboard(runs)
    assert {row.agent for row in board.overall} == {"a", "b"}
    assert [w for w in board.warnings if "all tasks" in w] == [
        "c is not among all tasks: not measured on chem/x in the newest setting there"
    ]


def test_where_no_agent_ran_everywhere_the_missing_table_is_explained(result: Build) -> None:
    runs = [*drawn(result, "a", [0.5, 0.5]), *drawn(result, "b", [0.4, 0.4], task="chem/x")]
    board = leaderboard(runs)
    assert board.overall == () and len([w for w in board.warnings if "not among all tasks" in w]) == 2
    assert not [w for w in leaderboard(runs, task="chem/*").warnings if "all tasks" in w]
