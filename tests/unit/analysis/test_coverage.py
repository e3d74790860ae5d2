"""The claim that users' intervals cover, checked by simulation through the code that makes them."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.simulate import Cell, coverage, draw, truth

DRAWS = 1500
# Three standard errors of a coverage near 94 % over the draws.
NOISE = 3 * (0.94 * 0.06 / DRAWS) ** 0.5

CELLS = [
    Cell(2, 15, 0.0, 0.0),
    Cell(2, 50, 0.8, 0.0),
    Cell(2, 200, 0.8, 1.5),
    Cell(3, 15, 0.8, 1.5),
    Cell(3, 200, 0.4, 1.5),
    Cell(5, 50, 0.4, 0.75),
    Cell(10, 15, 0.8, 1.5),
    Cell(10, 200, 0.8, 0.0),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_crossed_interval_keeps_what_it_promises(cell: Cell) -> None:
    share = coverage(cell, DRAWS, seed=7, methods=("crossed",))["crossed"]
    assert share >= 0.93 - NOISE
    assert share <= 0.995, "an interval that always covers says nothing"


def test_items_alone_promise_too_much_where_runs_differ() -> None:
    shares = coverage(Cell(5, 200, 0.8, 0.0), DRAWS, seed=7, methods=("items_only", "crossed"))
    assert shares["items_only"] < 0.6 < 0.93 < shares["crossed"]


def test_run_means_alone_promise_too_much_where_agents_differ_by_item() -> None:
    shares = coverage(Cell(10, 15, 0.4, 1.5), DRAWS, seed=7, methods=("welch", "crossed"))
    assert shares["welch"] < 0.85 < 0.93 < shares["crossed"]


def test_the_truth_is_what_draws_average_to() -> None:
    cell = Cell(2, 50, 0.8, 1.5)
    a, b = draw(cell, 20_000, np.random.default_rng(0))
    differences = a.mean(axis=(1, 2)) - b.mean(axis=(1, 2))
    assert differences.mean() == pytest.approx(truth(cell), abs=4 * differences.std() / 20_000**0.5)
