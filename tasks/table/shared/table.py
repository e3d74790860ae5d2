"""A small table as TableBench writes it: ``{"columns": [text], "data": [[cell]]}``, an object or JSON text of one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Columns and rows; a cell is text, a number or nothing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def read(cls, value: Any) -> Table:
        """Read a table from an object or from JSON text of one.

        Raises:
            ValueError: it is no table, or a row has another number of cells than there are columns.
        """
        if isinstance(value, str):
            value = json.loads(value)
        if (
            not isinstance(value, Mapping)
            or not isinstance(value.get("columns"), list)
            or not isinstance(value.get("data"), list)
        ):
            raise ValueError("a table is {columns: [text], data: [[cell]]}")
        columns = tuple(str(name) for name in value["columns"])
        rows = tuple(tuple(row) for row in value["data"])
        if any(len(row) != len(columns) for row in rows):
            raise ValueError("every row of a table has one cell a column")
        return cls(columns, rows)

    def as_json(self) -> dict[str, Any]:
        """The table in TableBench's layout."""
        return {"columns": list(self.columns), "data": [list(row) for row in self.rows]}

    def as_text(self) -> str:
        """The table as lines with bars between the cells, as prompts show it."""
        lines = [self.columns, *self.rows]
        return "\n".join("| " + " | ".join(" ".join(_shown(cell).split()) for cell in line) + " |" for line in lines)

    def as_csv(self) -> str:
        """The table as CSV with a header and without an index."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_shown(cell) for cell in row] for row in self.rows)
        return stream.getvalue()

    def key(self) -> str:
        """Equal for tables with the same cells, whatever the case, spacing and way of writing numbers (12 and 12.0)."""
        cells = [[_folded(cell) for cell in line] for line in (self.columns, *self.rows)]
        return "table:" + hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:24]


def _shown(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _folded(cell: Any) -> str:
    text = " ".join(_shown(cell).casefold().split())
    try:
        return repr(float(text.replace(",", "")))
    except ValueError:
        return text
