"""What a command prints: one JSON envelope or text, both from the same value.

Results go to standard output; progress, warnings and errors for people to standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import IO, Any

from harness.cli.sanitise import one_line, sanitise
from harness.cli.streams import silence

# Words up to this length stay whole in a table on a terminal, where all columns find room so.
_WHOLE = 13


def plain(value: Any) -> Any:
    """Turn models, dataclasses, paths, times, enums and arrays into what JSON can hold; NaN and infinities become null."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(v) for v in value]
    return str(value)


class Output:
    """The two streams of one command.

    Args:
        schema: name in the envelope, as ``dojo/status/v1``.
        as_json: print the envelope instead of text.

    Attributes:
        closed: standard output takes nothing more; writing goes on into nothing, streams should end.
        lost: why it does not, where somebody still wants it: a full disk, a closed descriptor. None where whoever read it went
            away (``| head``).
    """

    def __init__(self, schema: str = "dojo/v1", as_json: bool = False) -> None:
        self.schema, self.as_json, self.closed = schema, as_json, False
        self.lost: OSError | None = None

    @property
    def terminal(self) -> bool:
        """Whether standard output is a terminal (colours and tables of rich only then)."""
        return _is_terminal(sys.stdout)

    def write(self, text: str) -> None:
        """Write to standard output and flush."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as exc:
            self.give_up(exc)

    def line(self, text: str = "") -> None:
        """Write one line to standard output."""
        self.write(text + "\n")

    def say(self, text: str) -> None:
        """Write one line of progress or warning to standard error, as far as that takes it."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def give_up(self, why: OSError) -> None:
        """Write nothing more to standard output, which failed."""
        self.closed = True
        if not isinstance(why, BrokenPipeError):
            self.lost = self.lost or why
        silence(sys.stdout)

    def document(self, value: Any) -> None:
        """Write one JSON object on a line. It is ASCII: nothing an agent wrote can reach a terminal as a control sequence."""
        import json

        self.line(json.dumps(plain(value), allow_nan=False))

    def result(self, value: Any, render: Callable[[Any, Output], None]) -> None:
        """Print ``value``: in the envelope, or as ``render(data, output)`` shows it to people."""
        data = plain(value)
        if self.as_json:
            self.document({"schema": self.schema, "ok": True, "data": data})
        else:
            render(data, self)

    def problem(self, value: Any, render: Callable[[Any, Output], None], code: str, message: str, hint: str) -> None:
        """Print a result that is there although something went wrong: the envelope then carries ``error`` and ``data``."""
        data = plain(value)
        if self.as_json:
            error = {"code": code, "message": message, "hint": hint}
            self.document({"schema": self.schema, "ok": False, "error": error, "data": data})
        else:
            render(data, self)
            self._two_lines(message, hint)

    def error(self, code: str, message: str, hint: str) -> None:
        """Print an error: the envelope on standard output, or two lines on standard error."""
        if self.as_json:
            self.document({"schema": self.schema, "ok": False, "error": {"code": code, "message": message, "hint": hint}})
        else:
            self._two_lines(message, hint)

    def _two_lines(self, message: str, hint: str) -> None:
        red, dim, off = ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") if colours(sys.stderr) else ("", "", "")
        self.say(f"{red}error:{off} {one_line(message)}")
        self.say(f"{dim}hint:{off} {one_line(hint)}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
        """Print a table; a column whose name ends in ``>`` is aligned right. Cells are sanitised."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        self.write(rich_table(columns, cells, title) if self.terminal else plain_table(columns, cells, title))

    def pairs(self, rows: Iterable[tuple[str, object]], indent: str = "") -> None:
        """Print names and values below each other; values are sanitised."""
        shown = [(name, one_line(value)) for name, value in rows]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{indent}{name:<{width}}  {value}".rstrip())

    def text(self, text: str) -> None:
        """Print text from elsewhere, sanitised."""
        self.line(sanitise(text))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Lay out a table in plain characters, two spaces between columns."""
    names = [name.rstrip(">") for name in columns]
    widths = [max([len(name), *(len(row[i]) for row in rows)]) for i, name in enumerate(names)]
    lines = [title] if title else []
    for row in [names, *rows]:
        padded = [
            f"{cell:>{w}}" if name.endswith(">") else f"{cell:<{w}}" for name, cell, w in zip(columns, row, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Lay out a table for a terminal of this width."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    least = _least(columns, rows, _width())
    for number, name in enumerate(columns):  # the first column is what people copy: never broken into lines
        right = name.endswith(">")
        table.add_column(
            name.rstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=number == 0,
            min_width=least[number],
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    colour = colours(sys.stdout)
    console = Console(file=io.StringIO(), force_terminal=colour, no_color=not colour, width=_width())
    if title:  # not rich's own, which is broken at the width of the table
        console.print(Text(title, style="bold"))
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def _least(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the widths below which columns would break words; shorter where that is more than there is room for."""
    first, *others = zip(*(columns, *rows), strict=True)
    longest = [max((len(word) for cell in column for word in cell.rstrip(">").split()), default=0) for column in others]
    left = room - max(map(len, first)) - 2 * len(others)
    fits = next((most for most in range(_WHOLE, 0, -1) if sum(min(most, word) for word in longest) <= left), 0)
    return [max(map(len, first)) if left > 0 else 0, *(min(fits, word) for word in longest)]


def colours(stream: IO[str]) -> bool:
    """Whether ``stream`` may carry colours: a terminal, and nobody said NO_COLOR."""
    return _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
