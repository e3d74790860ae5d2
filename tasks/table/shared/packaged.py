"""Real tables that come with the package ``vega_datasets``, cut into small ones for mini profiles."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.taskkit.building.package import PackageFile

from .table import Table

VEGA = PackageFile(
    "vega_datasets",
    "0.9.0",
    "3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d",
    ("vega_datasets/_data/*", "*LICENSE*", "vega_datasets/dataset_info.json"),
    "MIT (package; the tables are of public sources named in its dataset_info.json)",
    size=210_822,
)

# Which sixteenths of all blocks of rows belong to which split: no row of one is ever shown in another.
_SHARES = {"hidden": range(0, 4), "dev": range(4, 6), "few_shot": range(6, 7), "sources": range(7, 16)}
_MAX_NAME = 24
_SERIES_BLOCK = 6


@dataclass(frozen=True)
class Sample:
    """A few rows of a packaged table.

    Attributes:
        table: the first column names the rows, the others hold numbers.
        keys: the blocks of rows that it was taken from.
        name: of the packaged table.
    """

    table: Table
    keys: tuple[str, ...]
    name: str

    @property
    def names(self) -> list[str]:
        """The names of the rows."""
        return [str(row[0]) for row in self.table.rows]

    def numbers(self, column: int) -> list[float]:
        """The numbers of a column, from 1 on."""
        return [row[column] for row in self.table.rows]


@dataclass(frozen=True)
class _Dataset:
    """A packaged table: its columns after the name, its rows, and whether neighbouring rows follow each other in time."""

    name: str
    head: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    in_order: bool

    def blocks(self) -> dict[str, list[tuple[Any, ...]]]:
        """Key → rows that stay together: one row, or some that follow each other."""
        size = _SERIES_BLOCK if self.in_order else 1
        starts = range(0, len(self.rows), size)
        return {f"{self.name}:{self.rows[start][0]}": list(self.rows[start : start + size]) for start in starts}


class PackagedTables:
    """Draws samples of the rows of one split."""

    def __init__(self, folder: Path, split: str, rng: random.Random) -> None:
        self._rng = rng
        self._data = [
            (data, {key: rows for key, rows in data.blocks().items() if split_of(key) == split}) for data in _datasets(folder)
        ]

    def draw(self, rows: int, columns: int, *, in_order: bool = False, distinct: bool = True) -> Sample:
        """Draw a table of ``rows`` rows with ``columns`` columns of numbers.

        Args:
            rows: number of rows, at most 6.
            columns: number of columns besides the names.
            in_order: rows that follow each other in time.
            distinct: no number occurs twice in a column.
        """
        fit = [
            (d, b) for d, b in self._data if len(d.columns) >= columns and (d.in_order and b if in_order else len(b) >= 2 * rows)
        ]
        while True:
            data, blocks = self._rng.choice(fit)
            keys = [self._rng.choice(sorted(blocks))] if in_order else sorted(self._rng.sample(sorted(blocks), rows))
            chosen = blocks[keys[0]][:rows] if in_order else [self._rng.choice(blocks[key]) for key in keys]
            places = sorted(self._rng.sample(range(len(data.columns)), columns))
            picked = tuple((row[0], *(row[1 + place] for place in places)) for row in chosen)
            if not in_order:
                picked = tuple(self._rng.sample(picked, len(picked)))
            lists = [[row[n] for row in picked] for n in range(columns + 1)]
            if len(picked) == rows and (not distinct or all(len(set(values)) == rows for values in lists)):
                heads = (data.head, *(data.columns[place] for place in places))
                return Sample(Table(heads, picked), tuple(keys), data.name)


def split_of(key: str) -> str:
    """The one split that may show a block of rows."""
    share = hashlib.sha256(key.encode()).digest()[0] % 16
    return next(split for split, shares in _SHARES.items() if share in shares)


def _datasets(folder: Path) -> list[_Dataset]:
    data = folder / "vega_datasets" / "_data"
    return [_cars(data), _airports(data), _weather(data), _employment(data), _driving(data), _prices(data)]


def _cars(data: Path) -> _Dataset:
    fields = {"Miles_per_Gallon": "MPG", "Cylinders": "Cylinders", "Displacement": "Displacement", "Horsepower": "Horsepower"}
    fields |= {"Weight_in_lbs": "Weight"}
    return _table("cars", "Car", fields, json.loads((data / "cars.json").read_text(encoding="utf-8")), lambda row: row["Name"])


def _airports(data: Path) -> _Dataset:
    rows = [
        {"name": row["name"], "latitude": round(float(row["latitude"])), "longitude": round(float(row["longitude"]))}
        for row in _csv(data / "airports.csv")
    ]
    return _table("airports", "Airport", {"latitude": "Latitude", "longitude": "Longitude"}, rows, lambda row: row["name"])


def _weather(data: Path) -> _Dataset:
    fields = {"precipitation": "Rain", "temp_max": "High", "temp_min": "Low", "wind": "Wind"}
    rows = _csv(data / "seattle-weather.csv")
    return _table("weather", "Date", fields, rows, lambda row: row["date"].replace("/", "-"), in_order=True)


def _employment(data: Path) -> _Dataset:
    fields = {
        "construction": "Construction",
        "manufacturing": "Manufacturing",
        "government": "Government",
        "information": "Media",
    }
    rows = _csv(data / "us-employment.csv")
    return _table("employment", "Month", fields, rows, lambda row: row["month"][:7], in_order=True)


def _driving(data: Path) -> _Dataset:
    rows = json.loads((data / "driving.json").read_text(encoding="utf-8"))
    return _table("driving", "Year", {"miles": "Miles", "gas": "Gas"}, rows, lambda row: str(row["year"]), in_order=True)


def _prices(data: Path) -> _Dataset:
    rows = json.loads((data / "ohlc.json").read_text(encoding="utf-8"))
    fields = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}
    return _table("prices", "Day", fields, rows, lambda row: row["date"], in_order=True)


def _table(
    name: str,
    head: str,
    fields: dict[str, str],
    rows: Sequence[dict[str, Any]],
    name_of: Callable[[dict[str, Any]], str],
    *,
    in_order: bool = False,
) -> _Dataset:
    """Rows with a short name of their own and a number in every field."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        key, cells = name_of(row), [row[field] for field in fields]
        if len(key) <= _MAX_NAME and key not in found and "|" not in key and all(cell not in (None, "") for cell in cells):
            found[key] = (key, *(_number(cell) for cell in cells))
    return _Dataset(name, head, tuple(fields.values()), tuple(found.values()), in_order)


def _number(cell: Any) -> int | float:
    value = float(cell)
    return int(value) if value.is_integer() else round(value, 2)


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
