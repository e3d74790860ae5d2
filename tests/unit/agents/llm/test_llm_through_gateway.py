"""The client before the harness's own gateway: real refusals of a real budget, and replies of a script."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ft_agent.llm.calls import CALLS, schema_of
from reading.backbone import Backbone, NoAnswer

from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer
from harness.gateway.upstreams.script import Script
from harness.gateway.upstreams.scripted import ScriptedUpstream
from harness.spec.backbone import Backbone as Named
from harness.spec.budget import Budget
from harness.spec.event import LlmCalled, LlmOutage, LlmRefused, LlmReserved

TOKEN = "token-of-this-run"
HELLO = [{"role": "user", "content": "hello"}]


class Events(list[Any]):
    """The run's events, as the gateway folds them."""

    def ledger(self) -> Ledger:
        ledger = Ledger()
        for event in self:
            if isinstance(event, LlmReserved | LlmCalled | LlmRefused | LlmOutage):
                ledger = ledger.after(event)
        return ledger


@contextmanager
def gateway(folder: Path, script: Script, formats: tuple[str, ...] = ("chat",), **budget: Any) -> Iterator[tuple[str, Events]]:
    """Serve a run's gateway at a TCP address, as the relay inside a sandbox does."""
    events, errors = Events(), list[Any]()
    context = GatewayContext(
        backbone=Named(upstream="scripted", model="m", script="s.toml", formats=formats),  # type: ignore[arg-type]
        name="brain",
        upstream=ScriptedUpstream(script, "s.toml"),
        budget=Budget(wall=600, **budget),
        ledger=events.ledger(),
        emit=events.append,
        elapsed=lambda: 1.0,
        recording=folder / "talk",
        secrets=(),
        grants=(),
    )
    server = GatewayServer(context, folder / "g.sock", TOKEN, errors.append, None)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as inner:
                inner.connect(str(folder / "g.sock"))
                back = threading.Thread(target=_pour, args=(inner, self.request))
                back.start()
                _pour(self.request, inner)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        relay.daemon_threads = True
        thread = threading.Thread(target=relay.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}/v1", events
        finally:
            relay.shutdown()
            thread.join()
            server.close(0.1)
    assert errors == []


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def asked(url: str, key: str = TOKEN, model: str = "m", **changes: Any) -> str:
    settings = {"max_output": 40, "schema": {"title": "Survey", "type": "object", "properties": {}}, "timeout_s": 20.0}
    return Backbone(url, key, model).ask(HELLO, **{**settings, **changes}).text


def test_a_scripted_answer_comes_through_with_its_schema(tmp_path: Path) -> None:
    with gateway(tmp_path, Script.model_validate({"replies": [{"text": '{"a": 1}'}]})) as (url, events):
        assert asked(url) == '{"a": 1}'
    assert any(isinstance(event, LlmCalled) for event in events)


@pytest.mark.parametrize("format", ["chat", "messages", "google", "responses"])
def test_every_calls_schema_reaches_upstreams_of_every_format(tmp_path: Path, format: str) -> None:
    with gateway(tmp_path, Script.model_validate({"replies": [{"text": "{}"}]}), (format,)) as (url, _):
        asking = Backbone(url, TOKEN, "m")
        for call in CALLS:
            assert asking.ask(HELLO, max_output=40, schema=schema_of(call), timeout_s=20.0).text == "{}"
        assert asking.takes_schemas


def test_a_budget_that_is_spent_is_told_as_spent_for_good(tmp_path: Path) -> None:
    with gateway(tmp_path, Script.model_validate({"replies": [{"text": "x"}]}), requests=1) as (url, _):
        assert asked(url) == "x"
        with pytest.raises(NoAnswer) as caught:
            asked(url)
    assert (caught.value.kind, caught.value.final) == ("spent", True)


@pytest.mark.parametrize(("key", "model"), [("wrong", "m"), (TOKEN, "another")])
def test_a_wrong_token_or_model_is_refused_for_good(tmp_path: Path, key: str, model: str) -> None:
    script = Script.model_validate({"replies": [{"text": "x"}]})
    with gateway(tmp_path, script) as (url, _), pytest.raises(NoAnswer) as caught:
        asked(url, key, model)
    assert (caught.value.kind, caught.value.final) == ("refused", True)


def test_an_upstream_that_refuses_the_schema_is_asked_without(tmp_path: Path) -> None:
    replies = [{"status": 400, "text": "no response_format here", "times": 1}, {"text": "{}"}]
    with gateway(tmp_path, Script.model_validate({"order": "calls", "replies": replies})) as (url, events):
        assert asked(url) == "{}"
    assert len([event for event in events if isinstance(event, LlmReserved)]) == 2
