"""A run's talk with its backbone, kept privately: every exchange as the agent saw it, histories stored once."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from harness.gateway.dialogue import Reply, TokenUsage
from harness.gateway.redact import Redactor
from harness.spec.backbone import FormatName

CUT_AT = 4 * 1024 * 1024
"""Bytes of one answer that are kept."""
_MOST = 1024 * 1024 * 1024
# What is shorter is not worth a line of its own.
_SHORT = 64
# Levels of a body at which values stand for themselves: the body, its lists of turns and tools, the turns.
_SPLIT = frozenset({"messages", "input", "contents", "tools", "system", "systemInstruction", "instructions"})
_REFERENCE = "\u0000part"


@dataclass(frozen=True)
class Exchange:
    """One call and its answer.

    Attributes:
        call: its number in the run.
        request: hash of the canonical request (`request_hash`).
        time: when it came, UTC.
        elapsed_s: on the budget clock.
        format: wire format the agent spoke.
        path: it asked.
        body: what it asked, scrubbed; None where the run's record was full.
        stream: whether it asked for a stream.
        status: it got.
        answer: exactly the bytes it got, a stream's events or JSON.
        reply: the answer read, with its usage as charged; None where it is an error.
        cut: the answer was longer than is kept.
    """

    call: int
    request: str
    time: datetime
    elapsed_s: float
    format: FormatName
    path: str
    body: Any
    stream: bool
    status: int
    answer: bytes
    reply: Reply | None = None
    cut: bool = False


class Recording:
    """A folder of exchanges: ``calls.jsonl``, a line each, and ``parts.jsonl``, what their requests are made of, each part once.

    Safe in threads; one process writes.

    Args:
        folder: made, for its owner alone, with the first exchange.
        redactor: takes keys out of all that is written.
        most: bytes of the folder; later exchanges are kept as their hashes.
    """

    def __init__(self, folder: Path, redactor: Redactor | None = None, *, most: int = _MOST) -> None:
        self._folder, self._redactor, self._most = folder, redactor or Redactor(()), most
        self._calls, self._parts = folder / "calls.jsonl", folder / "parts.jsonl"
        self._lock = threading.Lock()
        self._known: set[bytes] | None = None
        self._size = 0
        self.damaged = 0

    @property
    def full(self) -> bool:
        """Whether exchanges are kept as hashes only by now."""
        return self._size >= self._most

    def write(self, number: int, exchange: Exchange) -> None:
        """Keep an exchange. What a crash leaves half written is skipped by readers.

        Raises:
            OSError: the disk does not take it.
        """
        with self._lock:
            known = self._open()
            line: dict[str, Any] = {
                "call": number,
                "request": exchange.request,
                "time": exchange.time.isoformat(),
                "elapsed_s": round(exchange.elapsed_s, 3),
                "format": exchange.format,
                "path": exchange.path[:500],
                "stream": exchange.stream,
                "status": exchange.status,
            }
            if exchange.reply is not None:
                line["usage"] = {name: count for name, count in vars(exchange.reply.usage).items() if count is not None}
            if self.full:
                line["answer_sha256"] = hashlib.sha256(exchange.answer).hexdigest()
            else:
                parts: list[bytes] = []
                line["body"] = self._split(exchange.body, known, parts)
                line["answer"] = _packed(self._redactor.clean(exchange.answer[:CUT_AT]))
                if exchange.cut or len(exchange.answer) > CUT_AT:
                    line["cut"] = True
                self._append(self._parts, b"".join(parts))
            self._append(self._calls, self._redactor.clean(canonical_json(line)) + b"\n")

    def read(self, without: Container[int] = ()) -> Iterator[Exchange]:
        """Yield the exchanges as they ended, ``without`` some calls; lines that cannot be read are counted in ``damaged``."""
        self.damaged = 0
        places = self._places()
        if not self._calls.exists():
            return
        with self._calls.open("rb") as calls, _opened(self._parts) as parts:
            for line in calls:
                try:
                    found = json.loads(line)
                    if found["call"] not in without:  # whoever follows a talk puts together only what is new
                        yield self._exchange(found, places, parts)
                except (ValueError, KeyError, TypeError, zlib.error, RecursionError):
                    self.damaged += 1

    def _exchange(self, line: Mapping[str, Any], places: Mapping[str, int], parts: Any) -> Exchange:
        answer = _unpacked(line["answer"]) if "answer" in line else b""
        exchange = Exchange(
            call=line["call"],
            request=line["request"],
            time=datetime.fromisoformat(line["time"]),
            elapsed_s=line["elapsed_s"],
            format=line["format"],
            path=line["path"],
            body=_joined(line.get("body"), places, parts),
            stream=line["stream"],
            status=line["status"],
            answer=answer,
            cut=line.get("cut", False),
        )
        if "usage" not in line:
            return exchange
        from harness.gateway.formats import FORMATS

        meter = FORMATS[exchange.format].meter(exchange.stream)
        meter.feed(answer)
        return replace(exchange, reply=replace(meter.reply(), usage=TokenUsage(**line["usage"])))

    def _open(self) -> set[bytes]:
        """Make the folder, mend ends that a crash left half written, and learn which parts are there."""
        if self._known is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            os.chmod(self._folder, 0o700)
            for path in (self._calls, self._parts):
                _mend(path)
            self._known = {bytes.fromhex(part) for part in self._places()}
            self._size = sum(path.stat().st_size for path in (self._calls, self._parts) if path.exists())
        return self._known

    def _places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        at = 0
        if self._parts.exists():
            with self._parts.open("rb") as source:
                for line in source:
                    if line.endswith(b"\n") and line[32:33] == b" ":
                        places[line[:32].decode(errors="replace")] = at
                    at += len(line)
        return places

    def _split(self, body: Any, known: set[bytes], parts: list[bytes]) -> Any:
        if not isinstance(body, Mapping):
            return body
        return {
            name: [self._part(each, known, parts) for each in value]
            if name in _SPLIT and isinstance(value, list)
            else self._part(value, known, parts)
            for name, value in body.items()
        }

    def _part(self, value: Any, known: set[bytes], parts: list[bytes]) -> Any:
        written = canonical_json(value)
        # what an agent wrote to look like a reference becomes a part, and parts are never looked into
        if len(written) < _SHORT and b"u0000part" not in written:
            return value
        mark = hashlib.blake2b(written, digest_size=16).digest()
        if mark not in known:
            known.add(mark)
            parts.append(mark.hex().encode() + b" " + self._redactor.clean(written) + b"\n")
        return {_REFERENCE: mark.hex()}

    def _append(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
        self._size += len(data)


def canonical(format: FormatName, path: str, body: Any) -> bytes:
    """Return a request as it is compared: keys sorted, without what says who asks, how usage is told, and the model's name."""
    from harness.gateway.policy import scrubbed

    said = {name: value for name, value in scrubbed(format, body).items() if name not in ("model", "stream_options")}
    action = path.rpartition(":")[2] if format == "google" else ""
    return canonical_json({"format": format, "action": action, "body": said})


def request_hash(format: FormatName, path: str, body: Any) -> str:
    """Return the hash by which a recorded request is found."""
    return hashlib.sha256(canonical(format, path, body)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return a value as it is hashed, compared and measured: keys sorted, no spaces, what is no text replaced."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="replace")


def _packed(data: bytes) -> dict[str, str]:
    if len(data) > 256:
        return {"z": base64.b64encode(zlib.compress(data, 6)).decode()}
    return {"b": base64.b64encode(data).decode()}


def _unpacked(packed: Mapping[str, str]) -> bytes:
    if "z" in packed:
        return zlib.decompress(base64.b64decode(packed["z"]))
    return base64.b64decode(packed["b"])


def _joined(value: Any, places: Mapping[str, int], parts: Any) -> Any:
    if isinstance(value, list):
        return [_joined(each, places, parts) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_REFERENCE}:
        parts.seek(places[value[_REFERENCE]])
        return json.loads(parts.readline()[33:])
    return {name: _joined(each, places, parts) for name, each in value.items()}


def _mend(path: Path) -> None:
    """Cut off a last line that a crash left half written."""
    if not path.exists():
        return
    with path.open("r+b") as source:
        end = source.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            size = min(64 * 1024, at)
            source.seek(at - size)
            found = source.read(size).rfind(b"\n")
            if found >= 0:
                source.truncate(at - size + found + 1)
                return
            at -= size
        source.truncate(0)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb") if path.exists() else BytesIO()
