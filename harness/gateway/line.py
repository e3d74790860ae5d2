"""The way back to one client: its answer's head, its bytes, its errors; and what it got, for the record."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from harness.gateway.answering import Kept
from harness.gateway.dialogue import Failure
from harness.gateway.formats import FORMATS
from harness.gateway.formats.errors import headers_of
from harness.gateway.redact import Redactor
from harness.spec.backbone import FormatName

Send = Callable[[Any], Awaitable[None]]

HUNG_UP = 499
"""Status of a call whose client left before its end."""


class Gone(Exception):
    """The client does not read any more."""


class Line:
    """Writes one answer.

    Args:
        send: of the connection.
        format: wire format of the client.
        stream: whether it waits for a stream.
        redactor: takes keys out of errors.
    """

    def __init__(self, send: Send, format: FormatName, stream: bool, redactor: Redactor) -> None:
        self._send, self._format, self._stream, self._redactor = send, format, stream, redactor
        self._headers: Mapping[str, str] = {}
        self.begun = False
        self.status = HUNG_UP
        self.error: str | None = "hung_up"
        self.kept = Kept()
        self._last = b""

    async def put(self, data: bytes) -> None:
        """Send more of a stream.

        Raises:
            Gone: nobody reads.
        """
        if not data:
            return
        if not self.begun:
            self.begun, self.status = True, 200
            await self._write(self._head(200, None))
        self.kept.add(data)
        await self._write({"type": "http.response.body", "body": data, "more_body": True})

    def done(self, last: bytes) -> None:
        """Note the end of an answer that went well, and its last bytes, which `finish` sends."""
        self._ends(200, None, last)

    def fail(self, failure: Failure, within: Callable[[Failure], bytes]) -> None:
        """Note that an answer went wrong.

        Args:
            failure: what the client is told.
            within: writes it into a stream that has begun.
        """
        if self.begun:
            self._ends(self.status, failure.code, self._redactor.clean(within(failure)))
            return
        status, body = FORMATS[self._format].failure(failure)
        self._headers = headers_of(failure)
        self._ends(status, failure.code, self._redactor.clean(json.dumps(body, separators=(",", ":")).encode()))

    def hung_up(self) -> None:
        """Note that the client left; OpenAI's do at a stream's last event, before the connection ends, and have it all."""
        well = self._format == "chat" and self.status == 200 and self.error in (None, "hung_up")
        if well and self.kept.bytes().rstrip().endswith(b"data: [DONE]"):
            self.error = None
            return
        self.status, self.error, self._last = HUNG_UP, "hung_up", b""

    async def finish(self) -> None:
        """Send what is left.

        Raises:
            Gone: nobody reads.
        """
        if not self.begun:
            self.begun = True
            await self._write(self._head(self.status, len(self._last)))
        await self._write({"type": "http.response.body", "body": self._last, "more_body": False})

    def _ends(self, status: int, error: str | None, last: bytes) -> None:
        self.status, self.error, self._last = status, error, last
        self.kept.add(last)

    async def _write(self, message: Mapping[str, Any]) -> None:
        try:
            await self._send(message)
        except (TimeoutError, OSError) as exc:
            raise Gone from exc

    def _head(self, status: int, length: int | None) -> Mapping[str, Any]:
        headers = {"content-type": "application/json", **self._headers}
        if self._stream and status == 200:
            headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        elif length is not None:
            headers["content-length"] = str(length)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http.response.start", "status": status, "headers": pairs}


async def refused(send: Send, format: FormatName, failure: Failure, redactor: Redactor) -> int:
    """Send an error in a provider's shape; return its status."""
    line = Line(send, format, False, redactor)
    line.fail(failure, lambda _: b"")
    await line.finish()
    return line.status
