"""Headings over rows: what was measured, so that no score is ever shown without it. Rows come from the JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.cli.sanitise import one_line
from harness.spec.measured import Measured, quick_look

# Narrow enough for a terminal of this many columns.
_WIDTH = 100


def heading(row: dict[str, Any], *before: str) -> str:
    """Return what a row measured, led by ``before``; below it that it is a quick look, and in what it differs from the newest."""
    lines = [wrapped(one_line(Measured(**facts_of(row)).heading(*before)))]
    mark = quick_look(row.get("limit"))
    lines += [f"  {mark}: never compared or ranked"] if mark else []
    lines += [wrapped(f"  other {one_line(row['differs'])}", "; ")] if row.get("differs") else []
    return "\n".join(lines)


def facts_of(row: dict[str, Any]) -> dict[str, str]:
    """Return what a row measured, in words (in a status, ``budget`` is the table of limits and use)."""
    return {name: row.get(f"{name}_words", row[name]) for name in Measured.model_fields}


def tables(rows: Iterable[dict[str, Any]], before: Sequence[str] = ("task",)) -> dict[str, list[dict[str, Any]]]:
    """Sort rows into the tables they belong in: heading → rows, in the order of the rows. ``before`` names the leading fields."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(heading(row, *(str(row[name]) for name in before)), []).append(row)
    return found


def wrapped(text: str, between: str = " · ") -> str:
    """Break a line that is too long at ``between``; what goes on below is indented."""
    lines = [""]
    for part in text.split(between):
        joined = lines[-1] + between + part if lines[-1] else part
        if lines[-1] and len(joined) > _WIDTH:
            lines[-1] += between.rstrip()
            joined = f"  {part}"
            lines.append(joined)
        else:
            lines[-1] = joined
    return "\n".join(lines)
