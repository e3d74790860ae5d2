"""Side evaluations under a grade: a small table, base beside submission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line
from harness.spec.side import SideResult

_SAID = {"lost": "lost", "gained": "gained", "changed": "changed", "not_distinguishable": ""}


def figures(grade: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the figures of a grade's side evaluations; empty where it has none."""
    from harness.analysis.side import side_figures

    found = [SideResult.model_validate(result) for result in (grade or {}).get("side", ())]
    return list(plain(side_figures(found))) if found else []


def render(rows: list[dict[str, Any]], output: Output) -> None:
    """Print one line a figure; nothing where there are none."""
    if not rows:
        return
    output.line("side evaluations, reported and never ranked (95 % of this model and its base, on these items):")
    table = [
        (
            row["evaluation"],
            row["subset"],
            row["metric"],
            f"{row['items']}",
            _between(row["base"], row["base_low"], row["base_high"]),
            _between(row["submission"], row["low"], row["high"]),
            _between(row["difference"], row["difference_low"], row["difference_high"], sign="+"),
            _SAID[row["verdict"]],
        )
        for row in rows
    ]
    columns = ("evaluation", "sub-set", "metric", "items>", "base", "submission", "difference", "")
    output.table(columns, [tuple(one_line(cell) for cell in row) for row in table])


def _between(value: float, low: float, high: float, sign: str = "") -> str:
    digits = 1 if max(abs(value), abs(low), abs(high)) > 2 else 3  # words are counted, shares are not
    return f"{value:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"
