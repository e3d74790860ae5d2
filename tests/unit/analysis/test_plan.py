from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.measurement import Measurement, measurements_from
from harness.analysis.plan import Components, components_of, expected, plan, runs_needed, smallest_difference
from harness.analysis.simulate import Cell, draw
from harness.analysis.tables import difference_of
from harness.spec import RunResult

Build = Callable[..., RunResult]
NOISY = Components(items=100, run_a=0.01, run_b=0.01, residual_a=0.1, residual_b=0.1, item=0.05, item_df=99)


def measured(result: Build, agent: str, table: np.ndarray, **more: object) -> list[Measurement]:
    return list(measurements_from([result(agent, s, row, **more) for s, row in enumerate(table)]).measurements)


def test_expected_components_give_back_the_variance_that_was_seen(result: Build) -> None:
    subsets = {f"i{n:03d}": "x" if n < 14 else "y" for n in range(20)}
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = (
            measured(result, name, rng.random((4, 20)) + rng.normal(0, 0.3, (4, 1)) + 2 * rng.random(20), subsets=subsets)
            for name in ("a", "b")
        )
        seen = difference_of(a, b)
        again = expected(components_of(a, b), 4)
        assert again.variance == pytest.approx(float(seen.variance))
        assert again.df == pytest.approx(float(seen.df))


def test_runs_needed_is_the_least_number_that_shows_the_difference() -> None:
    for difference in (0.08, 0.1, 0.2, 0.5):
        needed = runs_needed([NOISY], difference)
        assert needed is not None
        assert smallest_difference([NOISY], needed) <= difference
        assert needed == 2 or smallest_difference([NOISY], needed - 1) > difference
    assert runs_needed([NOISY], -0.2) == runs_needed([NOISY], 0.2)


def test_no_number_of_runs_shows_what_the_items_cannot() -> None:
    # The items' share alone is √(0.05/100) = 0.022, times t(99) = 1.98.
    assert runs_needed([NOISY], 0.044) is None
    assert runs_needed([NOISY], 0.0) is None
    assert runs_needed([NOISY.model_copy(update={"items": 1000})], 0.044) is not None


def test_more_runs_never_show_less() -> None:
    sizes = [smallest_difference([NOISY], k) for k in range(2, 60)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_difference_planned_for_is_shown_four_times_in_five(result: Build) -> None:
    # Plan from many draws' mean components, then simulate agents that differ by the planned size.
    cell = Cell(runs=8, items=200, run_sd=0.4, agent_item_sd=0.75)
    a, b = draw(cell, 1500, np.random.default_rng(3))
    pairs = zip(a[:200], b[:200], strict=True)
    parts = [components_of(measured(result, "a", x), measured(result, "b", y)) for x, y in pairs]
    names = ("run_a", "run_b", "residual_a", "residual_b", "item", "item_df")
    components = Components(items=cell.items, **{name: float(np.mean([getattr(p, name) for p in parts])) for name in names})
    planned = smallest_difference([components], cell.runs, power=0.8)
    estimate = stats.difference(a, b)
    shifted = estimate.value - estimate.value.mean() + planned
    shown = float((np.abs(shifted) >= estimate.half_width()).mean())
    assert shown == pytest.approx(0.8, abs=0.06)


def test_a_plan_says_where_its_variances_come_from(result: Build) -> None:
    rng = np.random.default_rng(8)
    runs = [result(agent, s, (rng.random(80) < 0.5).astype(float)) for agent in ("a", "b") for s in range(3)]
    runs += [result("base", s, [0] * 80) for s in range(3)]
    made = plan(runs, {"math/sums": 80, "chem/count": 40}, runs=3)
    known, assumed = made.rows
    assert known.basis == "6 earlier runs of a, b"
    assert assumed.basis.startswith("assumed")
    assert known.smallest_difference is not None and known.smallest_difference_80 is not None
    assert known.smallest_difference_80 > known.smallest_difference > 0
    assert made.overall is not None and made.overall.smallest_difference is not None
    assert made.overall.smallest_difference < max(known.smallest_difference, assumed.smallest_difference or 0)


def test_a_plan_of_one_run_shows_nothing_about_agents() -> None:
    made = plan([], {"math/sums": 80}, runs=1)
    assert made.rows[0].smallest_difference is None and "one run" in made.rows[0].basis
    assert made.overall is None
