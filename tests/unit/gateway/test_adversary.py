"""What a hostile agent sends: nothing of it gets through, costs memory or stops others."""

import contextlib
import http.client
import json
import os
import re
import socket as sockets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.spec.event import LlmCalled, LlmRefused
from harness.store.run_dir import RunDir
from tests.unit.gateway.conftest import TOKEN, Opening
from tests.unit.gateway.test_killed import child, client
from tests.unit.store.test_database import spec

MB = 1024 * 1024
BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
GROWTH_MB = 64


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[str]
    socket: Path

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def works(self) -> bool:
        body = json.dumps(BODY).encode()
        until = time.monotonic() + 20
        # who comes while others are being sent away is told to come again
        while (got := self.raw(head(f"Content-Length: {len(body)}") + body)).startswith(b"HTTP/1.1 503"):
            assert time.monotonic() < until
        return got.startswith(b"HTTP/1.1 200")

    def raw(self, *pieces: bytes) -> bytes:
        """Send what is no clean request; return what comes back until the end."""
        got = b""
        with sockets.socket(sockets.AF_UNIX) as connection:
            connection.connect(str(self.socket))  # waits where many are before it
            connection.settimeout(30)
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass  # it hung up on us
            try:
                while piece := connection.recv(65536):
                    got += piece
            except OSError:
                pass
        return got


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("adversary")
    run = RunDir.create(folder / "run", spec("r1", "b1"))
    with child(run, folder / "llm.sock", 10**9) as process:
        found = Served(process, folder / "llm.sock")
        assert found.works()
        yield found


def head(*lines: str, path: str = "/v1/chat/completions") -> bytes:
    said = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json", *lines)
    return "".join(f"{line}\r\n" for line in (*said, "Connection: close", "")).encode()


@pytest.fixture
def small(served: Served) -> Iterator[None]:
    """Whatever happens, the gateway's process grows by 64 MB at most and goes on."""
    before = served.peak_mb()
    yield
    assert served.works()
    assert served.peak_mb() - before < GROWTH_MB


@pytest.mark.usefixtures("small")
def test_a_body_of_100_mb_is_refused_before_it_is_read(served: Served) -> None:
    got = served.raw(head(f"Content-Length: {100 * MB}"), *[bytes(MB)] * 3)
    assert b"413" in got.split(b"\r\n")[0] and b"too_large" in got


@pytest.mark.usefixtures("small")
def test_a_body_that_never_ends_is_refused(served: Served) -> None:
    chunk = b"100000\r\n" + b" " * MB + b"\r\n"
    got = served.raw(head("Transfer-Encoding: chunked"), *[chunk] * 100)
    assert got == b"" or b"413" in got.split(b"\r\n")[0]


BOMBS = {
    "lists": b"[" + b"[]," * 340_000 + b"[]]",
    "objects": b"[" + b"{}," * 340_000 + b"{}]",
    "depth": b"[" * 400_000 + b"]" * 400_000,
    "numbers": b"[" + b"1," * 500_000 + b"1]",
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(90_000)) + b"}",
    "a number of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
    "escapes": b'["' + b"\\u0000" * 160_000 + b'"]',
    "a string without end": b'["' + b'\\"' * 500_000,
    "quotes": b'"' * 1_000_001,
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_json_bombs_are_refused_cheaply(served: Served, bomb: bytes) -> None:
    for _ in range(3):
        with client(served.socket) as http:
            assert http.post("/v1/messages", content=bomb, headers={"content-type": "application/json"}).status_code in (400, 413)


@pytest.mark.usefixtures("small")
def test_text_beyond_a_megabyte_is_refused_and_images_are_not_counted(served: Served) -> None:
    with client(served.socket) as http:
        text = {**BODY, "messages": [{"role": "user", "content": "x" * (MB + 10)}]}
        assert http.post("/v1/chat/completions", json=text).status_code == 413
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (3 * MB)}}
        assert (
            http.post("/v1/chat/completions", json={**BODY, "messages": [{"role": "user", "content": [image]}]}).status_code
            == 200
        )


@pytest.mark.usefixtures("small")
def test_many_large_bodies_at_once_take_turns(served: Served) -> None:
    body = json.dumps({**BODY, "messages": [{"role": "user", "content": ["x" * 100] * 9500}]}).encode()
    assert len(body) > 0.9 * MB
    connections = []
    for _ in range(60):
        connection = sockets.socket(sockets.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(served.socket))
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(head(f"Content-Length: {len(body)}") + body)
        connections.append(connection)
    for connection in connections:
        connection.close()


@pytest.mark.usefixtures("small")
def test_10_000_connections_that_say_nothing_are_bounded(served: Served) -> None:
    held, refused = [], 0
    for _ in range(10_000):
        connection = sockets.socket(sockets.AF_UNIX)
        connection.settimeout(5)
        try:
            connection.connect(str(served.socket))
            connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nX: ")
        except OSError:
            refused += 1
            connection.close()
            continue
        held.append(connection)
        if len(held) > 600:
            held.pop(0).close()
    for connection in held:
        connection.close()
    assert served.works()
    descriptors = len(os.listdir(f"/proc/{served.process.pid}/fd"))
    assert descriptors < 400, f"{descriptors} open files"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 50"),
        ("Content-Length: -5",),
        ("Content-Length: 0x10",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("X: a\nContent-Length: 3",),
    ],
)
def test_smuggled_lengths_are_one_request_or_none(served: Served, lines: tuple[str, ...]) -> None:
    inner = head("Content-Length: 2", path="/v1/messages") + b"{}"
    got = served.raw(head(*lines) + b"0\r\n\r\n" + inner)
    assert len(re.findall(rb"HTTP/1\.1 \d", got)) <= 1 and b" 200 " not in got.split(b"\r\n")[0]
    assert served.works()


def test_a_header_without_end_is_refused(served: Served) -> None:
    got = served.raw(b"POST /v1/messages HTTP/1.1\r\nX: ", *[b"x" * 65536] * 40)
    assert b" 200 " not in got.split(b"\r\n")[0]
    assert served.works()


PATHS = [
    "/v1/../v1/chat/completions", "//v1/chat/completions", "/v1/chat/completions/", "/V1/chat/completions",
    "/v1/chat%2fcompletions/x", "/v1/files", "/v1/batches", "/v1/fine_tuning/jobs", "/v1/containers",
    "/v1/responses/resp_1", "/v1/messages/batches", "/v1/images/generations", "/v1/embeddings", "/v1/completions",
    "/v1/audio/speech", "/v1/realtime", "/v1/assistants", "/v1/vector_stores", "/v1beta/files",
    "/v1beta/cachedContents", "/v1beta/models/m:batchGenerateContent", "/v1beta/models/m:predict",
    "/upload/v1beta/files", "/v1beta/tunedModels", "/metrics", "/health", "/load_lora_adapter", "/v1/load_lora_adapter",
    "/tokenize", "/", "/v1", "/.env", "/v1/models/..%2f..%2fetc", "/v1/chat/completions;x",
    "http://169.254.169.254/latest",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_guessed_path_is_told_in_a_shape_that_clients_read(gateway: Opening, path: str) -> None:
    open = gateway()
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
        connection = http.client.HTTPConnection("g")
        connection.sock = sockets.socket(sockets.AF_UNIX)
        connection.sock.connect(str(open.socket))
        connection.request(method, path, b"{}", {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status in (400, 404, 405) and "error" in json.loads(answer.read())
        connection.close()
    assert not open.upstream.calls and not open.errors


TOKENS: list[dict[str, Any]] = [
    {},
    {"authorization": "Bearer"},
    {"authorization": "Bearer another-runs-token"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": f"Bearer {TOKEN[:-1]}"},
    {"x-api-key": ""},
    {"x-api-key": "another-runs-token"},
    {"x-goog-api-key": "another-runs-token"},
    {"cookie": f"token={TOKEN}"},
    {"x-api-key": "\u00e9".encode()},
]


@pytest.mark.parametrize("headers", TOKENS, ids=str)
def test_no_token_or_another_runs_is_refused_in_every_shape(gateway: Opening, headers: dict[str, Any]) -> None:
    open = gateway()
    paths = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1beta/models/m:generateContent", "/v1/anything"]
    with open.client(headers=headers) as http:
        for path in paths:
            answer = http.post(path, json=BODY)
            assert answer.status_code == 401 and "error" in answer.json()
            assert TOKEN not in answer.text
        assert http.get("/v1/models").status_code == 401
        assert http.post("/v1/messages?key=wrong", json=BODY).status_code == 401
    assert not open.upstream.calls and len(open.book.of(LlmRefused)) == len(paths) + 2


@pytest.mark.parametrize("place", ["bearer", "x-api-key", "x-goog-api-key", "key"])
def test_the_token_may_stand_wherever_the_providers_clients_put_it(gateway: Opening, place: str) -> None:
    open = gateway()
    headers = {"authorization": f"Bearer {TOKEN}"} if place == "bearer" else {} if place == "key" else {place: TOKEN}
    with open.client(headers=headers) as http:
        path = "/v1/chat/completions" + (f"?key={TOKEN}" if place == "key" else "")
        assert http.post(path, json=BODY).status_code == 200


def test_a_thousand_refusals_are_told_and_then_only_counted(gateway: Opening) -> None:
    open = gateway()
    with open.client() as http:
        for _ in range(1010):
            http.get("/v1/nothing")
    assert len(open.book.of(LlmRefused)) == 1000 and open.server.ledger.refused == 1010


GOOGLE = "/v1beta/models/m:generateContent"
CAPS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {**BODY, "max_tokens": 10**9}),
    ("/v1/chat/completions", {**BODY, "max_tokens": 5, "max_completion_tokens": 10**9}),
    ("/v1/chat/completions", {**BODY, "max_tokens": None}),
    ("/v1/chat/completions", {**BODY, "max_tokens": -1}),
    ("/v1/chat/completions", {**BODY, "max_tokens": "100000"}),
    ("/v1/chat/completions", {**BODY, "max_tokens": 1e9}),
    ("/v1/chat/completions", {**BODY, "max_tokens": True}),
    ("/v1/chat/completions", {**BODY, "n": -3}),
    ("/v1/chat/completions", {**BODY, "n": "8"}),
    ("/v1/chat/completions", {**BODY, "n": 7.5}),
    ("/v1/chat/completions", {**BODY, "stream_options": {"include_usage": False}, "stream": True}),
    ("/v1/responses", {"model": "m", "input": "x", "max_output_tokens": 10**9}),
    ("/v1/messages", {**BODY, "max_tokens": 10**9}),
    (GOOGLE, {"contents": [], "generationConfig": {"maxOutputTokens": 10**9}}),
    (GOOGLE, {"contents": [], "generation_config": {"max_output_tokens": 10**9}}),
    (GOOGLE, {"contents": [], "generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 10**9}}),
    (GOOGLE, {"contents": [], "generationConfig": {}, "generation_config": {"max_output_tokens": 10**9}}),
    (GOOGLE, {"contents": [], "generationConfig": {"candidateCount": 8}}),
    (GOOGLE, {"contents": [], "generationConfig": {"candidateCount": 1, "candidate_count": 8}}),
]  # fmt: skip


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize(("path", "body"), CAPS, ids=lambda value: str(value)[-60:])
@pytest.mark.parametrize("speaks", ["chat", "same"])
def test_no_spelling_of_a_cap_dodges_the_budget(gateway: Opening, path: str, body: dict[str, Any], speaks: str) -> None:
    formats = ["chat"] if speaks == "chat" else ["chat", "responses", "messages", "google"]
    open = gateway(budget={"output_tokens": 40}, backbone={"formats": formats})
    answer = open.post(path, body)
    for call in open.upstream.calls:
        assert max(numbers(call.body), default=0) <= 40
        assert "max" in json.dumps(call.body)
    assert answer.status_code in (200, 400, 502) and (open.upstream.calls or answer.status_code == 400)
    assert not open.errors
    for called in open.book.of(LlmCalled):
        assert called.charged_output <= 40


def test_a_body_in_another_media_type_or_compressed_is_refused(gateway: Opening) -> None:
    open = gateway()
    with open.client() as http:
        assert http.post("/v1/messages", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert http.post("/v1/messages", content=b"{}", headers=headers).status_code == 415
    assert not open.upstream.calls


@pytest.mark.parametrize("body", [b"", b"null", b"7", b'"x"', b"[]", b"{", b"\xff\xfe", b'{"model": NaN}', b'{"model": "m"}'])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/m:generateContent"])
def test_bodies_that_are_none_are_told_so(gateway: Opening, path: str, body: bytes) -> None:
    open = gateway(backbone={"upstream": "scripted", "script": "x"})
    answer = open.client().post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400) and not open.errors
    assert answer.status_code == 200 or "error" in answer.json()
