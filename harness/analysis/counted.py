"""Which runs are compared and ranked: not quick looks, and not what somebody excluded; both stay visible with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.analysis.measurement import LeftOut, Measurements, measurements_from
from harness.spec.measured import quick_look
from harness.spec.result import RunResult
from harness.spec.run import RunSpec


def counted_measurements(results: Iterable[RunResult], excluded: Mapping[str, str] | None = None) -> Measurements:
    """Turn results into measurements, leaving out quick looks and excluded runs.

    Args:
        results: finished runs.
        excluded: run id → why it was excluded.

    Raises:
        UsageError: as `measurements_from`.
    """
    counted: list[RunResult] = []
    aside: list[LeftOut] = []
    for result in results:
        spec, reason = result.spec, why_aside(result.spec, excluded or {})
        if reason:
            aside.append(LeftOut(run=spec.id, agent=spec.agent.name, task=spec.task.id, reason=reason))
        else:
            counted.append(result)
    found = measurements_from(counted)
    return found.model_copy(update={"left_out": (*found.left_out, *aside)})


def why_aside(spec: RunSpec, excluded: Mapping[str, str]) -> str:
    """Return why a run is not compared whatever its outcome, or an empty string."""
    if spec.id in excluded:
        return f"excluded: {excluded[spec.id]}"
    return quick_look(spec.limit)
