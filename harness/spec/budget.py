"""What a run may spend, and what it has spent. The harness's clock only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.toml import did_you_mean

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)?")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, None: 1.0}


def parse_duration(value: Any) -> Any:
    """Read ``12h``, ``1h30m``, ``90s`` or a number as seconds.

    Raises:
        ValueError: the text is no duration; the message names it.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text.startswith("-"):
        raise ValueError(f"{value!r} is negative; a duration is more than 0, for example 12h, 90m or 300s")
    matches = list(_DURATION.finditer(text))
    if not matches or "".join(m.group(0) for m in matches).replace(" ", "") != text.replace(" ", ""):
        raise ValueError(f"{value!r} is no duration; write for example 12h, 90m or 300s")
    return sum(float(m.group(1)) * _SECONDS[m.group(2)] for m in matches)


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]


# What ends the agent phase when it is spent. Evaluations, tokens, dollars and disk only refuse what would go beyond: an agent
# that has spent them can still hand in.
ENDING = ("wall", "cpu", "gpu")


class Budget(Spec):
    """Limits of one run. ``None`` means: this dimension is not limited."""

    wall: Seconds = Field(description="wall time of the agent phase, seconds; written as 12h, 90m or 300")
    evaluations: int = Field(20, ge=0, description="metered dev evaluations")
    cpu: Seconds | None = Field(None, description="CPU-seconds of everything in the agent's sandboxes")
    gpu: Seconds | None = Field(None, description="GPU-seconds: GPUs held times wall seconds")
    disk_mb: int | None = Field(None, gt=0, description="megabytes the agent may write")
    tokens: int | None = Field(None, ge=0, description="backbone tokens, prompt and answer together (metered by the gateway)")
    output_tokens: int | None = Field(None, ge=0, description="backbone tokens of answers alone")
    requests: int | None = Field(None, ge=0, description="backbone calls")
    dollars: float | None = Field(None, ge=0, allow_inf_nan=False, description="backbone cost (metered by the gateway)")

    def at_full_speed(self, cpus: float) -> float:
        """Return the wall seconds that a run on ``cpus`` busy cores of a quiet machine lasts at most."""
        return self.wall if self.cpu is None else min(self.wall, self.cpu / cpus)

    def override(self, text: str) -> Budget:
        """Return this budget with ``wall=2h,evaluations=5`` applied.

        Raises:
            UsageError: an unknown or doubled dimension, or a value out of range; names both.
        """
        return self.overlay(limits_in(text))

    def overlay(self, limits: Mapping[str, Any]) -> Budget:
        """Return this budget with ``{"wall": "2h", "evaluations": 5}`` applied; ``none`` takes a limit away.

        Raises:
            UsageError: an unknown dimension, or a value out of range; names both.
        """
        unknown = [name for name in limits if name not in Budget.model_fields]
        if unknown:
            near = did_you_mean(unknown[0], Budget.model_fields)
            raise UsageError(
                f"budget {unknown[0]}={limits[unknown[0]]}: there is no dimension {unknown[0]!r}",
                hint=f"{near} for example wall=2h,evaluations=5",
            )
        changes = {
            name: None if str(value).strip().lower() == "none" and name != "wall" else value for name, value in limits.items()
        }
        try:
            return Budget.model_validate({**self.model_dump(), **changes})
        except ValueError as exc:
            first = exc.errors()[0] if hasattr(exc, "errors") else {"loc": ("?",), "msg": str(exc)}
            name = str(first["loc"][0])
            raise UsageError(
                f"budget {name}={changes.get(name)!r}: {str(first['msg']).removeprefix('Value error, ')}",
                hint="give a positive value, for example wall=2h,evaluations=5",
            ) from exc


def limits_in(text: str) -> dict[str, str]:
    """Read ``wall=2h,evaluations=5`` as dimension → what was written.

    Raises:
        UsageError: it is not of that form, or names a dimension twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sep, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if not sep:
            raise UsageError(
                f"budget {part!r} is not of the form dimension=value",
                hint=f"dimensions: {', '.join(Budget.model_fields)}; for example wall=2h,evaluations=5",
            )
        if name in found:
            raise UsageError(f"budget {text!r} names {name} twice", hint="give each dimension once")
        found[name] = value.strip()
    return found


class Usage(Spec):
    """What a run has spent so far, in the units of `Budget`."""

    wall: float = Field(0.0, ge=0)
    evaluations: int = Field(0, ge=0)
    cpu: float = Field(0.0, ge=0)
    gpu: float = Field(0.0, ge=0)
    disk_mb: float = Field(0.0, ge=0)
    tokens: int = Field(0, ge=0, description="of the backbone, as charged: prompt and answer together")
    output_tokens: int = Field(0, ge=0, description="of the answers alone, as charged")
    requests: int = Field(0, ge=0, description="backbone calls that were answered or may have been")
    dollars: float = Field(0.0, ge=0)
    memory_peak_mb: float = Field(0.0, ge=0, description="highest memory of the task sandbox; no budget dimension")


class BudgetLine(Spec):
    """One dimension as agents and people see it; ``limit`` and ``left`` are None when unlimited."""

    limit: float | None
    used: float
    left: float | None


def budget_lines(budget: Budget, usage: Usage) -> dict[str, BudgetLine]:
    """Set limits beside use, dimension by dimension."""
    lines = {}
    for name in Budget.model_fields:
        limit, used = getattr(budget, name), float(getattr(usage, name))
        left = None if limit is None else max(0.0, float(limit) - used)
        lines[name] = BudgetLine(limit=limit, used=used, left=left)
    return lines
