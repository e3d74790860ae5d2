"""Tables of item values, a row a run and a column an item, scaled so that a row's mean is the run's primary score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis import stats
from harness.analysis.measurement import Measurement, require_same_items

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Item scores that are closer than this are a tie (rounding only).
_TIE = 1e-9


def score_of(runs: Sequence[Measurement]) -> stats.Estimate:
    """Estimate an agent's expected primary score from its runs on one task.

    Raises:
        UsageError: the runs were scored on different items.
    """
    return stats.score(score_table(runs), strata_of(runs))


def difference_of(a: Sequence[Measurement], b: Sequence[Measurement]) -> stats.Estimate:
    """Estimate agent A's expected primary score minus B's from their runs on one task.

    Raises:
        UsageError: the runs were scored on different items.
    """
    require_same_items([*a, *b])
    return stats.difference(score_table(a), score_table(b), strata_of(a, b))


def score_table(runs: Sequence[Measurement]) -> NDArray[np.float64]:
    """Return the K×N table of an agent's runs, scaled so that a row's mean is the run's primary score.

    The primary score is the unweighted mean over S sub-sets, so an item of a sub-set of n_s items weighs w = N/(S·n_s). The
    sub-sets are fixed, hence only the spread of items *within* each is sampling: X = primary + w·c·(value − sub-set mean) with
    c² = n_s(N−1)/((n_s−1)N), which makes var(X over items)/N the stratified Σ var_s/(S²·n_s). With one sub-set X is the values
    themselves (moved to the graded score where they are pseudo-values, whose mean is bias-corrected). Columns go by item id.

    Raises:
        UsageError: the runs were scored on different items.
    """
    import numpy as np

    values = table_of(runs)
    primary = np.array([[m.primary] for m in runs], dtype=np.float64)
    total = values.shape[1]
    table = np.empty_like(values)
    for columns, weights in _strata(runs[0]):
        count = len(columns)
        weight = weights * total
        centre = (values[:, columns] * weight).sum(axis=1, keepdims=True) / weight.sum()
        correction = np.sqrt(count * (total - 1) / ((count - 1) * total)) if count > 1 else 1.0
        table[:, columns] = primary + weight * correction * (values[:, columns] - centre)
    return table


def strata_of(a: Sequence[Measurement], b: Sequence[Measurement] = ()) -> list[stats.Stratum]:
    """Return the sub-sets of an agent's runs, or of the difference of two agents' runs, as `stats` takes them."""
    found = []
    level = table_of(a).mean(axis=0) - (table_of(b).mean(axis=0) if b else 0.0)
    for columns, weights in _strata(a[0]):
        share = float(weights.sum())
        found.append(stats.Stratum(columns, share, float((level[columns] * weights).sum() / share)))
    return found


def won_and_lost(a: Sequence[Measurement], b: Sequence[Measurement]) -> tuple[float, float]:
    """Return on how many items a run of A scores more than a run of B, and less: the mean over all pairs of their runs.

    By item scores, whatever the task's metric is.

    Raises:
        UsageError: the runs were scored on different items.
    """
    import numpy as np

    require_same_items([*a, *b])
    ours, theirs = (np.stack([m.items.scores(m.row) for m in runs]) for runs in (a, b))
    gaps = ours[:, None, :] - theirs[None, :, :]
    pairs = len(a) * len(b)
    return float((gaps > _TIE).sum()) / pairs, float((gaps < -_TIE).sum()) / pairs


def table_of(runs: Sequence[Measurement]) -> NDArray[np.float64]:
    """Return the values of runs, a row a run and a column an item, by item id.

    Raises:
        UsageError: the runs were scored on different items.
    """
    import numpy as np

    require_same_items(runs)
    items = runs[0].items
    if all(m.items is items for m in runs):
        return items.table[[m.row for m in runs]]
    return np.array([m.items.table[m.row] for m in runs], dtype=np.float64)


def _strata(run: Measurement) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return the columns of each stratum with their items' weights in the primary score."""
    import numpy as np

    names = run.items.subsets
    sizes = {name: names.count(name) for name in sorted(set(names))}
    weights = np.array([1.0 / (len(sizes) * sizes[name]) for name in names])
    found = []
    for members in _join_single_items(sizes):
        columns = np.flatnonzero([name in members for name in names])
        found.append((columns, weights[columns]))
    return found


def _join_single_items(sizes: Mapping[str, int]) -> list[set[str]]:
    """Join sub-sets of a single item with the next smallest: one item alone shows no spread."""
    strata: list[set[str]] = []
    for name in sorted(sizes, key=lambda n: (sizes[n], n)):
        if strata and sum(sizes[n] for n in strata[-1]) < 2:
            strata[-1].add(name)
        else:
            strata.append({name})
    if len(strata) > 1 and sum(sizes[n] for n in strata[-1]) < 2:
        last = strata.pop()
        strata[-1] |= last
    return strata
