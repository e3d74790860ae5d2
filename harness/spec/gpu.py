"""What was seen of a run's GPUs: single looks, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from harness.spec.base import Spec


class GpuFigures(Spec):
    """One GPU at one moment. None: the driver does not say it of this GPU."""

    index: int = Field(description="place among the host's GPUs, in the order of the bus")
    name: str = ""
    utilisation: float | None = Field(None, description="per cent of the last moment in which a kernel ran")
    memory_mb: float | None = Field(None, description="MiB in use, by anybody")
    memory_total_mb: float | None = Field(None, description="MiB")
    power_w: float | None = None
    temperature_c: float | None = None


class GpuUse(Spec):
    """One GPU over an agent phase: means and peaks of the looks that had the figure; None where none had."""

    index: int
    name: str = ""
    samples: int
    utilisation_mean: float | None = Field(None, description="per cent")
    memory_peak_mb: float | None = Field(None, description="MiB")
    memory_total_mb: float | None = Field(None, description="MiB")
    power_mean_w: float | None = None
    temperature_max_c: float | None = None


class GpuProcess(Spec):
    """A process of the host with memory on a GPU."""

    pid: int
    memory_mb: float | None = Field(None, description="MiB; None: not said")
    name: str = ""


def summed_up(looks: Iterable[Iterable[GpuFigures]]) -> tuple[GpuUse, ...]:
    """Return each GPU's use over all looks, in the order of their indices."""
    seen: dict[int, list[GpuFigures]] = {}
    for look in looks:
        for figures in look:
            seen.setdefault(figures.index, []).append(figures)
    return tuple(
        GpuUse(
            index=index,
            name=found[-1].name,
            samples=len(found),
            utilisation_mean=_mean([f.utilisation for f in found]),
            memory_peak_mb=max((f.memory_mb for f in found if f.memory_mb is not None), default=None),
            memory_total_mb=found[-1].memory_total_mb,
            power_mean_w=_mean([f.power_w for f in found]),
            temperature_max_c=max((f.temperature_c for f in found if f.temperature_c is not None), default=None),
        )
        for index, found in sorted(seen.items())
    )


def _mean(figures: list[float | None]) -> float | None:
    said = [figure for figure in figures if figure is not None]
    return round(sum(said) / len(said), 2) if said else None
