"""The agent API's server under clients that mean harm, or simply send anything."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.serving.room import Room
from harness.session.api import FILE_BYTES
from harness.session.dojo_tool import ApiError
from harness.session.operations import OPERATIONS, openapi
from harness.spec.budget import BudgetLine
from tests.unit.session.test_api import World

# Anything that JSON can say, and what only looks like text.
TEXT = st.text() | st.text(st.characters(categories=["Cs", "Cc", "L"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("argv", "command", "stdin", "cwd", "timeout_s", "env", "path", "note", "text", "data")
BODIES = st.dictionaries(st.sampled_from(FIELDS) | TEXT, VALUES, max_size=6)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("hostile"))
    yield made
    made.close()


def raw(world: World, request: bytes, wait_s: float = 20) -> bytes:
    """Send bytes, and return all that comes back until the server closes or an answer is whole."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(wait_s)
        connection.connect(str(world.socket))
        connection.sendall(request)
        got = b""
        while data := connection.recv(65536):
            got += data
            head, sep, body = got.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if sep and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                break
        return got


def called(world: World, method: str, path: str, body: bytes, *headers: str) -> tuple[int, Any]:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Authorization: Bearer secret", f"Content-Length: {len(body)}", *headers]
    answer = raw(world, "\r\n".join([*lines, "", ""]).encode() + body)
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), content


@pytest.mark.parametrize("method, path", OPERATIONS, ids=" ".join)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=BODIES | VALUES | st.binary(max_size=200))
def test_every_call_answers_whatever_its_body_is(world, method, path, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, content = called(world, method, path + "?path=%2Fworkspace%2Fx", b"" if method == "GET" else data)
    assert status in (200, 400, 404, 413, 422, 429, 503)
    if status >= 400:
        assert set(json.loads(content)["error"]) == {"code", "message", "hint"}
    assert not [error for error in world.errors if error.code == "internal"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a note with a lone surrogate", b'{"text": "\\ud800"}'),
        ("a note with a byte that is no UTF-8", b'{"text": "\xff"}'),
        ("data with a lone surrogate", b'{"text": "x", "data": {"\\udfff": ["\\ud800"]}}'),
    ],
)
def test_odd_text_in_a_note_is_taken_and_recorded(world, name, body):
    status, _ = called(world, "POST", "/v1/note", body)
    assert status == 200, name
    assert "�" in world.run.events_path.read_text(encoding="utf-8").splitlines()[-1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/note", b'{"text": "x", "data": ' + b"[" * 900 + b"]" * 900 + b"}"),
        ("/v1/exec", b'{"command": "true", "timeout_s": NaN}'),
        ("/v1/exec", b'{"command": "true", "timeout_s": 1e999}'),
        ("/v1/exec", b'{"command": "true", "timeout_s": -1}'),
        ("/v1/exec", b'{"argv": ["echo", 7]}'),
        ("/v1/exec", b'{"argv": "echo"}'),
        ("/v1/exec", b"[" + b"[]," * 300_000 + b"1]"),
        ("/v1/evaluate", b'{"path": null}'),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_in_the_apis_shape(world, path, body):
    status, content = called(world, "POST", path, body)
    assert status in (400, 413) and json.loads(content)["error"]["message"]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/note HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n"
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
        b"POST /v1/note HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/note HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nTransfer-Encoding: gzip\r\n\r\nxx",
        b"GET /v1/task HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /v1/task\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/task HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    ],
)
def test_smuggled_and_broken_requests_get_an_error_and_nothing_else(world, request_):
    before = world.run.events_path.stat().st_size if world.run.events_path.exists() else 0
    answer = raw(world, request_)
    assert answer.split(b" ")[1] in (b"400", b"401", b"413", b"431", b"501")
    after = world.run.events_path.stat().st_size if world.run.events_path.exists() else 0
    assert after == before
    assert world.client.task()


def test_what_nobody_foresaw_is_an_answer_and_an_event_and_is_not_repeated(tmp_path):
    world = World(tmp_path)
    try:

        def broken() -> Any:
            raise KeyError("a bug")

        world.api.task = broken
        status, content = called(world, "GET", "/v1/task", b"")
        assert status == 500 and json.loads(content)["error"]["code"] == "internal"
        assert [error.code for error in world.errors] == ["internal"] and "KeyError" in world.errors[0].message
        with pytest.raises(Exception, match="internal"):
            world.client.task()
        assert len(world.errors) == 2
    finally:
        world.close()


def test_more_connections_than_are_served_are_told_to_come_again(world):
    held = []
    try:
        for _ in range(200):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(str(world.socket))
            held.append(connection)
        assert held[-1].recv(100).startswith(b"HTTP/1.1 503")
    finally:
        for connection in held:
            connection.close()
    assert world.client.task()


def test_a_client_that_is_told_to_come_again_comes_again(tmp_path):
    world = World(tmp_path)  # one that nobody has just left: its places are free or taken, and nothing between
    held = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    answers = []
    caller = threading.Thread(target=lambda: answers.append(world.client.task()))
    try:
        for connection in held:
            connection.settimeout(20)
            connection.connect(str(world.socket))
        assert held[-1].recv(100).startswith(b"HTTP/1.1 503")
        caller.start()
        caller.join(0.3)
        assert not answers and caller.is_alive()
    finally:
        for connection in held:
            connection.close()
    caller.join(20)
    world.close()
    assert answers


def test_a_file_beyond_the_bound_is_refused_and_not_sent_again(world):
    with pytest.raises(ApiError) as refused:
        world.client.write_file("/workspace/x", bytes(FILE_BYTES + 1))
    assert refused.value.code == "too_large"


def test_a_file_of_64_mb_goes_in_and_out(world):
    data = bytes(range(256)) * (FILE_BYTES // 256)
    assert world.client.write_file("/workspace/large", data) == {"path": "/workspace/large", "bytes": FILE_BYTES}
    assert world.client.read_file("/workspace/large") == data
    del world.sandbox.files["/workspace/large"]
    assert not [path for path in world.run.private.iterdir() if path.is_file()]


def test_a_disk_that_is_full_is_an_error_in_the_apis_shape(tmp_path):
    world = World(tmp_path)
    try:

        def full(*_: Any) -> Any:
            raise OSError(28, "No space left on device")

        world.api.note = full
        status, content = called(world, "POST", "/v1/note", b'{"text": "x"}')
        assert status == 500 and json.loads(content)["error"]["code"] == "internal"
        assert "No space left" in world.errors[0].message
    finally:
        world.close()


# Serves an API whose files and commands answer with much, prints its socket, then how much memory it ever held beyond the start.
_CALLERS = 128


def posted(call: str, body: str) -> str:
    size = len(body.encode())
    return f"POST /v1/{call} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: {size}\r\n\r\n{body}"


SERVER = """
import sys
from pathlib import Path
from harness.sandbox.base import ExecResult
from tests.unit.session.test_api import World
world = World(Path(sys.argv[1]))
world.sandbox.files["/workspace/big"] = bytes(64 << 20)
def answer(call):
    world.sandbox.calls.clear()
    return ExecResult(0, b"\\x01" * (256 << 10), b"\\x01" * (256 << 10))
world.sandbox.answer = answer
world.client.task()
def peak():  # not getrusage: what it tells includes the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
print(world.socket, flush=True)
sys.stdin.read()
print(peak() - before)
"""


REQUESTS = (
    "GET /v1/files?path=/workspace/big HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n",
    "PUT /v1/files?path=/workspace/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 67108864\r\n\r\n"
    + "x" * 8_000_000,
    "POST /v1/exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 17\r\n\r\n" + '{"command": "ls"}',
    "POST /v1/note HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 1000001\r\n\r\n"
    + "["
    + "[]," * 333_333,
    posted("exec", '{"command": "ls", "stdin": "\U0001f600' + "x" * 990_000 + '"}'),
    posted("exec", '{"command": "ls", "env": {' + ",".join(f'"a{n}": ""' for n in range(49_000)) + "}}"),
    "GET /v1/task HTTP/1.1\r\n" + "a:\r\n" * 8000 + "\r\n",
    posted("note", '{"text": "' + "x" * 990_000)[:-1],
)
NAMES = (
    "unread-files",
    "held-bodies",
    "unread-output",
    "many-values",
    "wide-stdin",
    "huge-environment",
    "many-headers",
    "waiting",
)


@pytest.mark.parametrize("requests", [*((each,) for each in REQUESTS), REQUESTS], ids=[*NAMES, "all-at-once"])
def test_one_run_costs_the_harness_at_most_64_mb_also_under_attack(tmp_path, requests):
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdin=-1, stdout=-1, text=True) as server:
        assert server.stdout and server.stdin
        path = server.stdout.readline().strip()
        held = []
        arrived = threading.Barrier(_CALLERS + 1)

        def attack(request: str) -> None:
            connection = socket.socket(socket.AF_UNIX)
            held.append(connection)
            connection.settimeout(3)
            try:
                connection.connect(path)
                connection.sendall(request.encode())
            except OSError:  # nobody takes it: that is the point
                pass
            arrived.wait(60)

        for number in range(_CALLERS):
            threading.Thread(target=attack, args=(requests[number % len(requests)],), daemon=True).start()
        arrived.wait(60)
        for connection in held:
            connection.close()
        server.stdin.close()
        grown = int(server.stdout.read())
        print(grown)
        assert grown < 64 * 1024


def test_room_is_given_in_the_order_of_coming_and_never_more_than_there_is():
    import asyncio

    async def main() -> list[str]:
        room, order = Room(10), []
        first = room.take(8)
        await first.__aenter__()

        async def take(name: str, size: int) -> None:
            async with room.take(size):
                order.append(name)

        waiting = [asyncio.create_task(take(name, size)) for name, size in (("large", 50), ("small", 1))]
        await asyncio.sleep(0)
        assert order == []
        waiting[0].cancel()
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)
        await asyncio.gather(*waiting, return_exceptions=True)
        async with room.take(10):
            return order

    assert asyncio.run(main()) == ["small"]


def test_what_the_openapi_document_tells_is_true(tmp_path):
    """Every call is made as it says, and answered as it says."""
    world = World(tmp_path)
    world.sandbox.files["/workspace/x"] = b"x"
    bodies = {"exec": {"command": "ls"}, "note": {"text": "x", "data": [1]}}
    try:
        for path, methods in openapi()["paths"].items():
            for method, told in methods.items():
                operation = OPERATIONS[method.upper(), path]
                takes, given = told.get("requestBody", {"content": {}})["content"], b""
                if "application/json" in takes:
                    body = bodies.get(path.removeprefix("/v1/"), {"path": "/workspace/out"})
                    assert operation.model is not None and operation.model.model_validate(body)
                    given = json.dumps(body).encode()
                query = "?path=/workspace/x" if any(each["in"] == "query" for each in told["parameters"]) else ""
                status, content = called(world, method.upper(), path + query, given)
                assert status == 200, (method, path, content)
                if "application/octet-stream" in told["responses"]["200"]["content"]:
                    assert content == b"x"
                elif operation.answer is BudgetLine:
                    assert all(BudgetLine.model_validate(line) for line in json.loads(content).values())
                elif operation.answer is not None:
                    operation.answer.model_validate_json(content)
                refused, answer = called(world, method.upper(), path + query, b"[" if method != "get" else b"x")
                if method != "put":
                    assert refused == 400 and set(json.loads(answer)["error"]) == {"code", "message", "hint"}
    finally:
        world.close()


def test_the_openapi_document_tells_every_call_and_refers_to_nothing_that_is_not_there():
    document = openapi()
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == set(OPERATIONS)
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    assert {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} <= names
