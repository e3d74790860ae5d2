"""The gateway's process is killed in mid-stream; the next one over the same events goes on with the same book."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.gateway.recording import Recording
from harness.session.journal import Journal
from harness.spec.event import LlmCalled, LlmReserved
from harness.store.run_dir import RunDir
from tests.unit.gateway.conftest import TOKEN
from tests.unit.store.test_database import spec

TOKENS = 5000
BODY = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


@contextlib.contextmanager
def child(run: RunDir, socket: Path, tokens: int = TOKENS) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-m", "tests.unit.gateway.killed_gateway", str(run.path), str(socket), str(tokens)]
    process = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."}
    )
    assert process.stdout is not None and process.stdout.readline() == "serving\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def client(socket: Path) -> httpx.Client:
    headers = {"authorization": f"Bearer {TOKEN}"}
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://g", headers=headers, timeout=30)


def test_a_gateway_killed_in_mid_stream_leaves_a_book_that_balances(tmp_path: Path) -> None:
    run, socket = RunDir.create(tmp_path / "run", spec("r1", "b1")), tmp_path / "llm.sock"
    with child(run, socket) as process, client(socket) as http:
        assert process.stdout is not None
        assert http.post("/v1/chat/completions", json=BODY).status_code == 200
        with http.stream("POST", "/v1/chat/completions", json=BODY | {"stream": True}) as stream:
            assert process.stdout.readline() == "streaming\n"
            pieces = stream.iter_raw()
            assert b"hel" in next(pieces)
            process.send_signal(signal.SIGKILL)
            process.wait()
            with pytest.raises(httpx.HTTPError):
                next(pieces)
    (left,) = Journal(run, lambda state: None).record.ledger.open.values()
    assert left.call == 2
    with child(run, socket) as process, client(socket) as http:
        assert http.post("/v1/chat/completions", json=BODY).status_code == 200
        process.communicate("end\n", timeout=30)
    ledger = Journal(run, lambda state: None).record.ledger
    assert (ledger.last, ledger.calls, set(ledger.open)) == (3, 2, {2})
    assert ledger.spent_tokens == 10 + 10 + left.tokens <= TOKENS
    said = [event.data for event in run.events() if isinstance(event.data, LlmReserved | LlmCalled)]
    assert [(type(each).__name__[3:], each.call) for each in said] == [
        ("Reserved", 1), ("Called", 1), ("Reserved", 2), ("Reserved", 3), ("Called", 3),
    ]  # fmt: skip
    assert [exchange.call for exchange in Recording(run.talk).read()] == [1, 3]
