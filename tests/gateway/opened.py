"""A gateway in this process before a real vLLM, and the providers' own clients on its socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from harness.gateway.backbones import open_upstream
from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.errors import DojoError
from harness.spec.event import Payload
from tests.gateway.vllm_server import CONTEXT

TOKEN = "a-token-of-the-run"
Kind = TypeVar("Kind", bound=Payload)


@dataclass
class Open:
    """A gateway that serves, and what it told."""

    server: GatewayServer
    socket: Path
    events: list[Payload]
    errors: list[DojoError]

    def told(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of a kind, once nothing is being settled."""
        self.server.wait_settled()
        return [event for event in self.events if isinstance(event, kind)]

    def _http(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(self.socket)), timeout=300)

    def openai(self) -> Any:
        openai = pytest.importorskip("openai")
        return openai.OpenAI(base_url="http://gateway/v1", api_key=TOKEN, max_retries=0, http_client=self._http())

    def anthropic(self) -> Any:
        anthropic = pytest.importorskip("anthropic")
        return anthropic.Anthropic(base_url="http://gateway", api_key=TOKEN, max_retries=0, http_client=self._http())

    def google(self) -> Any:
        genai = pytest.importorskip("google.genai")
        options = genai.types.HttpOptions(base_url="http://gateway", httpx_client=self._http())
        return genai.Client(api_key=TOKEN, http_options=options)


Opening = Callable[..., Open]


@pytest.fixture
def gateway(vllm: str, tmp_path: Path) -> Iterator[Opening]:
    """Opens gateways before vLLM, each with a budget of its own."""
    opened: list[Open] = []

    def open_one(budget: Budget | None = None, **terms: Any) -> Open:
        folder = tmp_path / f"gateway-{len(opened)}"
        folder.mkdir()
        formats = ("chat", "responses", "messages")
        known = {"upstream": "openai", "model": "smol", "formats": formats, "base_url": vllm, "context": CONTEXT}
        backbone = Backbone.model_validate(known | terms)
        events: list[Payload] = []
        errors: list[DojoError] = []
        upstream = open_upstream(backbone, environ={}, recording=folder / "llm", runs=Path)
        context = GatewayContext(
            backbone=backbone,
            name="small",
            upstream=upstream,
            budget=budget or Budget(wall=3600),
            ledger=Ledger(),
            emit=events.append,
            elapsed=time.monotonic,
            recording=folder / "llm",
        )
        server = GatewayServer(context, folder / "llm.sock", TOKEN, errors.append)
        opened.append(Open(server, folder / "llm.sock", events, errors))
        return opened[-1]

    yield open_one
    for each in opened:
        each.server.close()
        assert not each.errors
