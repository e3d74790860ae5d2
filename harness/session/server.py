"""The agent API over HTTP on a unix socket: authorise, read, call `SessionApi` in a thread, answer JSON."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from harness.serving.body import BadBody, build, length_of, measure, read_body, read_into, throw_away
from harness.serving.net import Net
from harness.serving.room import Room
from harness.serving.server import App, Receive, Scope, Send, UnixServer
from harness.serving.spool import KEPT_BYTES, Spool
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
# What one call may hold here until its answer lies in a spool: a command's output (`api.OUTPUT_BYTES` of each stream, twice while
# it comes), or anything else; and for each byte of its body up to four of text and two of copies.
_COMMAND_COST, _CALL_COST, _BODY_COST = 1_100_000, 500_000, 6
# Commands have room of their own, so that many long ones do not keep an agent from handing in: 16 at once.
_COMMANDS_ROOM, _CALLS_ROOM = 17 * 1024 * 1024 + 640 * 1024, 8 * 1024 * 1024
# What a value of a body costs, with its copies on the way to the sandbox, and room for all of them.
_VALUE_COST, _VALUES_ROOM = 400, 8 * 1024 * 1024
# Files on their way at once. They lie on the disk where they are larger than a spool keeps, up to `FILE_BYTES` each.
_FILES_AT_ONCE = 4
_THREADS = 48
# A file or an answer goes out in pieces of this size, so that an agent that reads slowly holds its own back, not our memory.
_PIECE = 64 * 1024
# Values in a JSON body. A note, which has the most, has 64 kB.
_NODES = 20_000
_ENCODER = json.JSONEncoder(ensure_ascii=False)
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
        """From now on hold this many bytes of bodies and answers at a time, in memory."""
        app = self._app
        app.commands, app.calls, app.values, app.kept = Room(size), Room(size), Room(size), size
        app.files = asyncio.Semaphore(size // _BODY)

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
        self.commands, self.calls, self.kept = Room(_COMMANDS_ROOM), Room(_CALLS_ROOM), KEPT_BYTES
        self.values = Room(_VALUES_ROOM)
        self.files = asyncio.Semaphore(_FILES_AT_ONCE)
        self._encoding = threading.Lock()
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="agent-api")
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
            with contextlib.suppress(ClientDisconnect, RuntimeError):  # it left, or all of it was read
                await throw_away(request)
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
        size = length_of(request, most or _BODY)
        if most == 0 and (size or (size is None and "transfer-encoding" in request.headers)):
            raise BadBody(400, "usage", f"a {request.method} has no body")
        async with self._turn(operation, most if size is None else size):
            with self._api.spool(self.kept) as spool:
                answer = await self._call(operation, request, spool, most)
                await answer(scope, receive, send)

    def _turn(self, operation: Operation, size: int) -> AbstractAsyncContextManager[Any]:
        """Return what a call holds until its answer is read: one of a few turns for files, or room."""
        if operation.path:
            return self.files
        if operation.model is ExecCall:
            return self.commands.take(_COMMAND_COST + _BODY_COST * size)
        return self.calls.take(_CALL_COST + _BODY_COST * size)

    async def _call(self, operation: Operation, request: Request, spool: Spool, most: int) -> Response:
        if operation.takes == "json":
            data = await read_body(request, most)
            # who waits here holds room for bytes alone, and who has both waits for nothing more: nobody waits in a circle
            async with self.values.take(_VALUE_COST * measure(data, nodes=_NODES).values):
                body = build(data)
                del data
                return await self._answer(operation, request, body, spool)
        if operation.takes == "bytes":
            await read_into(request, most, spool.write)
        return await self._answer(operation, request, spool, spool)

    async def _answer(self, operation: Operation, request: Request, body: Any, spool: Spool) -> Response:
        key = request.headers.get("idempotency-key", "")[:200]
        path = request.query_params.get("path", "")
        work = partial(self._carry_out, operation, body, path, key, spool)
        answer = await asyncio.get_running_loop().run_in_executor(self.threads, work)
        kind = "application/octet-stream" if operation.answers_bytes else "application/json"
        if answer.size <= _PIECE:
            answer.rewind()
            return Response(answer.read(), media_type=kind)
        return StreamingResponse(answer.pieces(_PIECE), media_type=kind, headers={"Content-Length": str(answer.size)})

    def _carry_out(self, operation: Operation, body: Any, path: str, key: str, spool: Spool) -> Spool:
        """Call the API and return its answer as bytes; blocks."""
        answer = operation.call(self._api, body, path, key)
        if operation.answers_bytes:
            return spool
        spool.clear()
        with self._encoding:  # a text becomes several times itself for a moment: one after the other
            for piece in _encoded(answer):
                spool.write(piece.encode(errors="replace"))
        return spool


def _encoded(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield an answer's JSON. What is bytes still, the output of commands, becomes text piece by piece."""
    mark = "{"
    for name, value in answer.items():
        yield f"{mark}{_ENCODER.encode(name)}: "
        mark = ", "
        if not isinstance(value, bytes):
            yield from _ENCODER.iterencode(value)
            continue
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        yield '"'
        for at in range(0, len(value), _PIECE):
            yield _ENCODER.encode(decoder.decode(value[at : at + _PIECE]))[1:-1]
        yield _ENCODER.encode(decoder.decode(b"", final=True))[1:-1]
        yield '"'
    yield "}" if answer else "{}"


def _refusal(status: int, code: str, message: str) -> Response:
    """Return an error for a request that never reaches the API; what else comes on its connection is not trusted."""
    return JSONResponse({"error": {"code": code, "message": message, "hint": ""}}, status, headers={"Connection": "close"})


def _unforeseen(scope: Scope, exc: BaseException) -> App:
    return _refusal(500, "internal", f"dojo failed to carry this out ({type(exc).__name__}); trying again will not help")
