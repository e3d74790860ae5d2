"""Durations, times, sizes and scores as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def duration(seconds: float | None) -> str:
    """Return ``42s``, ``3m 05s``, ``2h 10m`` or ``3d 4h``; a dash for None."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def when(moment: datetime | str | None, now: datetime | None = None) -> str:
    """Return ``just now``, ``5m 00s ago`` within a day, and the local date and minute before that."""
    if moment is None:
        return "–"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ago = ((now or datetime.now(UTC)) - moment).total_seconds()
    if 0 <= ago < 5:
        return "just now"
    if 0 <= ago < 86400:
        return f"{duration(ago)} ago"
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def age(moment: datetime | str, now: datetime | None = None) -> str:
    """Return how long ago something was in its largest unit, for a narrow column: ``42s``, ``5m``, ``3h``, ``12d``."""
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    ago = ((now or datetime.now(UTC)) - moment).total_seconds()
    return duration(ago).partition(" ")[0]


def size(count: float | None) -> str:
    """Return a number of bytes as ``512 B``, ``1.5 MB``, ``2.0 GB``."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def score(value: float | None) -> str:
    """Return a score with three decimals, a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return ``0.120–0.340``, a dash where there is none."""
    return "–" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def count(number: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def time_limits(budget: Mapping[str, Any]) -> str:
    """Return a budget's limits on time: ``40m 00s, 4m 00s CPU``."""
    others = [f"{amount(name, budget[name])} {name.upper()}" for name in ("cpu", "gpu") if budget.get(name)]
    return ", ".join([amount("wall", budget["wall"]), *others])


def amount(dimension: str, value: float | None) -> str:
    """Return a budget figure in its dimension's unit."""
    if value is None:
        return "no limit"
    if dimension in ("wall", "cpu", "gpu"):
        return duration(value)
    if dimension == "disk_mb":
        return size(value * 1e6)
    if dimension == "dollars":
        return f"${value:.2f}"
    return f"{value:,.0f}"
