"""The agent API over HTTP on a unix socket: authorise, read, call `SessionApi` in a thread, answer JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from harness.serving.body import BadBody, decode, length_of, read_body
from harness.serving.net import Net
from harness.serving.room import Room
from harness.serving.server import App, Receive, Scope, Send, UnixServer
from harness.session.api import FILE_BYTES, ExecCall, SessionApi
from harness.session.operations import OPERATIONS, Operation
from harness.spec.errors import (
    BudgetExhausted,
    DojoError,
    GraderFailure,
    SandboxUnavailable,
    StoreError,
    SubmissionRefused,
    UsageError,
)

# A JSON body: commands with their input, notes. What is larger goes through files.
_BODY = 1024 * 1024
# Files on their way that the harness holds at a time. Each is held twice for a moment, by the sandbox's wire and here.
_ROOM = FILE_BYTES
# Commands, and other calls, from their start until their answer is read; the next ones wait. With what JSON makes of control
# characters, 16 commands' answers (`api.OUTPUT_BYTES`) take up to 48 MB.
_AT_ONCE = 16
# An answer goes out in pieces of this size, so that an agent that reads slowly holds its own answer back, not our memory.
_PIECE = 64 * 1024
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
        self._app = _Application(api, token, on_error)
        self._server = UnixServer(Net(self._app, _unforeseen, on_error), socket, f"agent-api-{socket.parent.parent.name}")

    def make_room(self, size: int) -> None:
        """From now on hold this many bytes of bodies and answers at a time."""
        self._app.room = Room(size)

    def hang_up(self) -> None:
        """From now on drop calls without an answer: whoever resumes the run will answer when they are sent again."""
        self._app.hung_up = True
        self._server.hang_up()

    def close(self) -> None:
        """Stop accepting calls."""
        self._server.close()
        self._app.threads.shutdown(wait=False, cancel_futures=True)


class _Application:
    """The API as an ASGI application."""

    def __init__(self, api: SessionApi, token: str, on_error: Callable[[DojoError], None]) -> None:
        self._api, self._token, self._on_error = api, token.encode(), on_error
        self.room = Room(_ROOM)
        self.commands, self.calls = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        self.threads = ThreadPoolExecutor(3 * _AT_ONCE, thread_name_prefix="agent-api")
        self.hung_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            await self._serve(request, scope, receive, send)
        except ClientDisconnect:
            return
        except BadBody as exc:
            await _refusal(exc.status, exc.code, exc.message)(scope, receive, send)
        except DojoError as exc:
            status = next((code for cls, code in _STATUS if isinstance(exc, cls)), 500)
            if status >= 500 and not self.hung_up:
                await asyncio.to_thread(self._on_error, exc)
            await JSONResponse({"error": exc.as_dict()}, status)(scope, receive, send)

    async def _serve(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            raise BadBody(401, "unauthorised", "the token is not this run's")
        operation = OPERATIONS.get((request.method, request.url.path))
        if operation is None:
            raise BadBody(404, "not_found", f"there is no {request.method} {request.url.path[:200]}")
        most = FILE_BYTES if operation.takes == "bytes" else _BODY if operation.takes == "json" else 0
        size = length_of(request, most)
        if most == 0 and (size or (size is None and "transfer-encoding" in request.headers)):
            raise BadBody(400, "usage", f"a {request.method} has no body")
        async with self._turn(operation, size):
            body = await read_body(request, most) if most else b""
            answer = await self._call(operation, request, body)
            del body
            await answer(scope, receive, send)

    def _turn(self, operation: Operation, size: int | None) -> AbstractAsyncContextManager[None]:
        """Return what a call holds until its answer is read: room for a file, or one of a few turns."""
        if operation.path:
            return self.room.take(FILE_BYTES if size is None or operation.answers_bytes else size)
        return self.commands if operation.model is ExecCall else self.calls

    async def _call(self, operation: Operation, request: Request, body: bytes) -> Response:
        key = request.headers.get("idempotency-key", "")[:200]
        path = request.query_params.get("path", "")
        call = partial(operation.call, self._api, decode(body) if operation.takes == "json" else body, path, key)
        answer = await asyncio.get_running_loop().run_in_executor(self.threads, call)
        if isinstance(answer, bytes):
            return _whole(answer, "application/octet-stream")
        return _whole(json.dumps(answer, ensure_ascii=False).encode(errors="replace"), "application/json")


def _whole(payload: bytes, kind: str) -> Response:
    """Return an answer whose length is told, sent in pieces."""
    if len(payload) <= _PIECE:
        return Response(payload, media_type=kind)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(payload), _PIECE):
            yield payload[start : start + _PIECE]

    return StreamingResponse(pieces(), media_type=kind, headers={"Content-Length": str(len(payload))})


def _refusal(status: int, code: str, message: str) -> Response:
    """Return an error for a request that never reaches the API; what else comes on its connection is not trusted."""
    return JSONResponse({"error": {"code": code, "message": message, "hint": ""}}, status, headers={"Connection": "close"})


def _unforeseen(scope: Scope, exc: BaseException) -> App:
    return _refusal(500, "internal", f"dojo failed to carry this out ({type(exc).__name__}); trying again will not help")
