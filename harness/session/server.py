"""The agent API over HTTP on a unix socket: parse, authorise, call `SessionApi`, answer JSON."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from harness.session.api import SessionApi
from harness.spec.errors import (
    BudgetExhausted,
    DojoError,
    GraderFailure,
    SandboxUnavailable,
    StoreError,
    SubmissionRefused,
    UsageError,
)

_MAX_BODY = 64 * 1024 * 1024
# Bodies above this, and files that are read, take turns, a few at once: a sandbox has 512 connections, and with 64 MB on each an
# agent could take 32 GB of the harness's memory.
_LARGE_BODY = 256 * 1024
_LARGE_AT_ONCE = 4
_STATUS: tuple[tuple[type[DojoError], int], ...] = (
    (BudgetExhausted, 429),
    (SubmissionRefused, 422),
    (UsageError, 400),
    (GraderFailure, 503),
    (SandboxUnavailable, 503),
    (StoreError, 503),
)


class ApiServer:
    """Serves one run's `SessionApi` on ``socket`` until closed. The socket file is made anew at every start."""

    def __init__(self, api: SessionApi, socket: Path, token: str, on_error: Callable[[DojoError], None]) -> None:
        socket.unlink(missing_ok=True)
        self._server = _Server(str(socket), _Handler)
        self._server.api, self._server.token, self._server.on_error = api, token, on_error
        os.chmod(socket, 0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def take_turns(self, at_once: int) -> None:
        """From now on let this many large bodies and files in at once, instead of a few."""
        self._server.large = threading.BoundedSemaphore(at_once)

    def hang_up(self) -> None:
        """From now on drop calls without an answer: whoever resumes the run will answer when they are sent again."""
        self._server.hung_up = True

    def close(self) -> None:
        """Stop accepting calls."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    api: SessionApi
    token: str
    on_error: Callable[[DojoError], None]
    hung_up = False

    def __init__(self, *args: Any) -> None:
        self.large = threading.BoundedSemaphore(_LARGE_AT_ONCE)
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when the agent hangs up in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing here: the calls are events."""

    def address_string(self) -> str:
        return "agent"

    def _answer(self, method: str) -> None:
        with contextlib.ExitStack() as turn:
            self._answer_in(turn, method)

    def _answer_in(self, turn: contextlib.ExitStack, method: str) -> None:
        server = cast(_Server, self.server)
        try:
            payload, kind, status = *self._dispatch(server, method, turn), 200
        except DojoError as exc:
            status = next((code for cls, code in _STATUS if isinstance(exc, cls)), 500)
            if status >= 500 and not server.hung_up:
                server.on_error(exc)
            payload, kind = json.dumps({"error": exc.as_dict()}).encode(), "application/json"
        except _Refused as exc:
            status, kind = exc.status, "application/json"
            payload = json.dumps({"error": {"code": exc.code, "message": exc.message, "hint": ""}}).encode()
            self.close_connection = True
        if server.hung_up:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _dispatch(self, server: _Server, method: str, turn: contextlib.ExitStack) -> tuple[bytes, str]:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), server.token.encode()):
            raise _Refused(401, "unauthorised", "the token is not this run's")
        data = self._body(server, turn)
        url = urlsplit(self.path)
        path = parse_qs(url.query).get("path", [""])[0]
        key = self.headers.get("Idempotency-Key", "")[:200]
        api = server.api
        match (method, url.path):
            case ("GET", "/v1/task"):
                answer: Any = api.task()
            case ("GET", "/v1/budget"):
                answer = api.budget()
            case ("GET", "/v1/files"):
                if data:
                    raise _Refused(400, "usage", "a GET has no body")
                turn.enter_context(server.large)
                return api.read_file(path), "application/octet-stream"
            case ("PUT", "/v1/files"):
                answer = api.write_file(path, data)
            case ("POST", "/v1/exec"):
                answer = api.exec(_decode(data))
            case ("POST", "/v1/validate"):
                answer = api.validate(_decode(data))
            case ("POST", "/v1/evaluate"):
                answer = api.evaluate(_decode(data), key)
            case ("POST", "/v1/submit"):
                answer = api.submit(_decode(data), key)
            case ("POST", "/v1/note"):
                answer = api.note(_decode(data), key)
            case _:
                raise _Refused(404, "not_found", f"there is no {method} {url.path[:200]}")
        return json.dumps(answer, ensure_ascii=False).encode(), "application/json"

    def _body(self, server: _Server, turn: contextlib.ExitStack) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            raise _Refused(400, "usage", "Content-Length is no number") from None
        if not 0 <= length <= _MAX_BODY:
            raise _Refused(413, "too_large", f"a body of at most {_MAX_BODY} bytes is taken")
        if length > _LARGE_BODY:
            turn.enter_context(server.large)
        data = self.rfile.read(length)
        if len(data) < length:
            raise _Refused(400, "usage", f"the body ended after {len(data)} of {length} bytes")
        return data


class _Refused(Exception):
    """A request that never reaches the API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError("the body is no JSON", hint="send a JSON object") from None
