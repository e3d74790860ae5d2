"""Server-sent events: read whatever pieces the bytes come in, and written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMMENT = b": waiting\n\n"
"""Keeps a connection alive; every client skips it."""

_BREAK = re.compile(rb"[\r\n]")


@dataclass(frozen=True)
class Event:
    """One event, or a comment (no data); ``raw`` is what it was read from, its empty line included."""

    name: str
    data: str
    raw: bytes = b""


class EventReader:
    """Cuts a stream into events. Lines end with LF, CRLF or CR, as the standard has it."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._lines: list[bytes] = []
        self._raw = bytearray()
        self._after_cr = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events and comments that these bytes complete."""
        events: list[Event] = []
        start = 0
        if self._after_cr and data:
            if data[:1] == b"\n":
                self._raw += b"\n"
                start = 1
            self._after_cr = False
        while start < len(data):
            found = _BREAK.search(data, start)
            if found is None:
                self._line += data[start:]
                self._raw += data[start:]
                break
            end = found.start()
            self._line += data[start:end]
            after = end + 1
            if data[end] == 0x0D:
                if after == len(data):
                    self._after_cr = True
                elif data[after] == 0x0A:
                    after += 1
            self._raw += data[start:after]
            start = after
            if event := self._ended_line():
                events.append(event)
        return events

    def end(self) -> Event | None:
        """Return an event that only lacks its last empty line, as some servers end their streams."""
        if self._line:
            self._ended_line()
        event = self._ended_line()
        return event or (Event("", "", bytes(self._raw)) if self._raw else None)

    def _ended_line(self) -> Event | None:
        line = bytes(self._line)
        self._line.clear()
        if line:
            self._lines.append(line)
        if line or not self._lines:
            return None
        name, data = "", []
        for each in self._lines:
            field, _, value = each.decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        event = Event(name, "\n".join(data), bytes(self._raw))
        self._lines.clear()
        self._raw.clear()
        return event


def written(data: Mapping[str, Any] | str, name: str = "") -> bytes:
    """Return one event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (data.encode() if isinstance(data, str) else json_bytes(data)) + b"\n\n"


def json_bytes(value: Any) -> bytes:
    """Return compact JSON; half a surrogate pair (a model's token may end inside of one) is escaped, not an error."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
