"""Which runs are compared and ranked: not quick looks, and not what somebody excluded; both stay visible with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.analysis.measurement import Measurements, measurements_from
from harness.spec.measured import quick_look
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.summary import Summaries, gather


def counted_measurements(runs: Summaries | Iterable[RunResult], excluded: Mapping[str, str] | None = None) -> Measurements:
    """Turn finished runs into measurements, leaving out quick looks and excluded runs.

    Args:
        runs: results, or the summaries of an index, which knows what was excluded itself.
        excluded: run id → why it was excluded.

    Raises:
        UsageError: as `measurements_from`.
    """
    found = runs if isinstance(runs, Summaries) else gather(runs)
    if excluded:
        rows = [row._replace(why_not=f"excluded: {excluded[row.run]}") if row.run in excluded else row for row in found.runs]
        found = replace(found, runs=rows)
    return measurements_from(found)


def why_aside(spec: RunSpec, excluded: Mapping[str, str]) -> str:
    """Return why a run is not compared whatever its outcome, or an empty string."""
    if spec.id in excluded:
        return f"excluded: {excluded[spec.id]}"
    return quick_look(spec.limit)
