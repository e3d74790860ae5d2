"""On which line of a TOML file something stands: the parser does not say, and a reader wants to go there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# A string (all four kinds) or a comment: nothing in it is a key, a header or a bracket.
_OPAQUE = re.compile(
    r'"""(?:\\.|.)*?"""' r"|'''.*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*",
    re.DOTALL,
)

_HEADER = re.compile(r"^[ \t]*(?P<opens>\[(?P<many>\[)?)(?P<names>[^\[\]\n=]+)\]", re.MULTILINE)


def line_of(text: str, place: Sequence[int | str]) -> int:
    """Return the line, from 1, on which ``place`` stands, as pydantic names places: ``("agents", 1, "params", "feedback")``.

    Where the last parts of the place are not there (a missing key), the line of what would hold them.
    """
    plain = _OPAQUE.sub(_blank, text)
    tables, parts = _tables(plain), list(place)
    below = next((table for table in tables if parts and list(table.path[: len(parts)]) == parts), None)
    holds = below or max((t for t in tables if parts[: len(t.path)] == list(t.path)), key=lambda t: len(t.path))
    found, start, end = holds.header, holds.start, holds.end
    del parts[: len(holds.path)]
    while parts:
        name = str(parts.pop(0))
        number = int(parts.pop(0)) if parts and isinstance(parts[0], int) else None
        inside = _values(plain, name, start, end, number)
        if inside is None:
            break
        found, start, end = inside
    return text.count("\n", 0, found) + 1


def _blank(match: re.Match[str]) -> str:
    """Leave a quoted word readable, as it may be a key; of longer strings nothing but the room they take, of comments nothing."""
    said = match.group()
    if re.fullmatch(r"[\"'][\w-]+[\"']", said):
        return f" {said[1:-1]} "
    return re.sub(r"[^\n]", " " if said.startswith("#") else "_", said)


class _Table(NamedTuple):
    """A table as its header opens it: its place in the file's content, where the header stands, what it holds up to the next."""

    path: tuple[int | str, ...]
    header: int
    start: int
    end: int


def _tables(plain: str) -> list[_Table]:
    """List the tables of a file, the one without a header first; ``[[name]]`` counts, and what is below it is below the last."""
    headers = list(_HEADER.finditer(plain))
    ends = [match.start() for match in headers] + [len(plain)]
    tables, counts = [_Table((), 0, 0, ends[0])], dict[tuple[int | str, ...], int]()
    for match, end in zip(headers, ends[1:], strict=True):
        path: tuple[int | str, ...] = ()
        names = [name.strip() for name in match["names"].split(".")]
        for number, name in enumerate(names, 1):
            path = (*path, name)
            if number == len(names) and match["many"]:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        tables.append(_Table(path, match.start("opens"), match.end(), end))
    return tables


def _values(plain: str, name: str, start: int, end: int, number: int | None) -> tuple[int, int, int] | None:
    """Find ``name = …``, or with a number that entry of the list that is its value."""
    key = re.compile(rf"(?<![\w.-]){re.escape(name)}(?=\s*(?:=|\.[\w-]))").search(plain, start, end)
    if key is None:
        return None
    opening = plain.find("=", key.end(), end)
    if opening < 0:
        return key.start(), key.end(), end
    depth, entry, first = 0, 0, opening + 1
    for place in range(opening + 1, end):
        sign = plain[place]
        if sign in "[{":
            depth += 1
            first = place + 1 if depth == 1 and sign == "[" else first
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 1:
            if entry == (number or 0):
                return _entry(plain, key.start(), first, place, number)
            entry, first = entry + 1, place + 1
        if depth == 0 and (sign in "]}\n" and plain[opening + 1 : place].strip()):
            return _entry(plain, key.start(), first, place, number)
    return _entry(plain, key.start(), first, end, number)


def _entry(plain: str, key: int, first: int, end: int, number: int | None) -> tuple[int, int, int]:
    """Say where an entry of a list starts; what is no entry stands at its key."""
    if number is None:
        return key, first, end
    held = plain[first:end]
    return first + len(held) - len(held.lstrip()), first, end
