"""The LLM gateway as a service of a run: opened with the agent phase, spent and recorded in the run's own events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.gateway.ledger import Ledger
from harness.sandbox.base import Relay
from harness.session.api import ApiContext
from harness.session.services import ServiceUsage
from harness.spec.backbone import Backbone, BackboneRef
from harness.spec.errors import DojoError
from harness.store.run_dir import RunDir

if TYPE_CHECKING:
    from harness.gateway.server import GatewayServer
    from harness.gateway.upstreams.base import Upstream

GATEWAY_PORT = 7789
_ROOT = f"http://127.0.0.1:{GATEWAY_PORT}"


@dataclass(frozen=True)
class OpenedBackbone:
    """A backbone ready to answer. ``secrets`` must never be seen by anybody: the upstream's key."""

    backbone: Backbone
    upstream: Upstream
    secrets: tuple[str, ...]


class LlmGateway:
    """One run's way to its backbone.

    Args:
        ref: the backbone the run was planned with.
        run: its folder; the talk is recorded in its private part.
        socket: where the gateway listens.
        token: returns the run's token, which agents take for the provider's key.
        opening: makes the backbone ready; called when the agent phase begins.
        grants: powers at the provider that the task grants.
    """

    name = "llm"

    def __init__(
        self,
        ref: BackboneRef,
        run: RunDir,
        socket: Path,
        token: Callable[[], str],
        opening: Callable[[BackboneRef, RunDir], OpenedBackbone],
        grants: Collection[str] = (),
    ) -> None:
        self.relay = Relay(GATEWAY_PORT, socket, service=self.name)
        self._ref, self._run, self._token, self._opening = ref, run, token, opening
        self._grants = frozenset(grants)
        self._server: GatewayServer | None = None
        self._ledger = Ledger()

    def env(self) -> Mapping[str, str]:
        """Return what the providers' own clients and the agents' programs read."""
        token, ref = self._token(), self._ref
        sizes = {"DOJO_LLM_CONTEXT": ref.context, "DOJO_LLM_MAX_OUTPUT": ref.max_output}
        return {
            "OPENAI_BASE_URL": f"{_ROOT}/v1",
            "OPENAI_API_KEY": token,
            "ANTHROPIC_BASE_URL": _ROOT,
            "ANTHROPIC_API_KEY": token,
            "GOOGLE_GEMINI_BASE_URL": _ROOT,
            "GEMINI_API_KEY": token,
            "LLM_BASE_URL": f"{_ROOT}/v1",
            "LLM_API_KEY": token,
            "LLM_MODEL": ref.model,
            **{name: str(size) for name, size in sizes.items() if size is not None},
        }

    def open(self, context: ApiContext, on_error: Callable[[DojoError], None]) -> None:
        """Serve the calls of the run.

        Raises:
            MissingError: the backbone is not what the run was planned with, or its key is not here.
        """
        from harness.gateway.server import GatewayContext, GatewayServer  # serving is not for those who only look

        opened = self._opening(self._ref, self._run)
        journal = context.journal
        self._ledger = journal.record.ledger
        self._server = GatewayServer(
            GatewayContext(
                backbone=opened.backbone,
                name=self._ref.name,
                upstream=opened.upstream,
                budget=context.spec.budget,
                ledger=self._ledger,
                emit=journal.emit,
                elapsed=context.clock.elapsed,
                recording=self._run.talk,
                secrets=opened.secrets,
                grants=self._grants,
                full=context.told.full_of_calls,
            ),
            self.relay.socket,
            self._token(),
            on_error,
        )

    def usage(self) -> ServiceUsage:
        """Return what was charged, with what is set aside for calls that are not over."""
        ledger = self._server.ledger if self._server is not None else self._ledger
        return ServiceUsage(
            tokens=ledger.spent_tokens,
            output_tokens=ledger.spent_output_tokens,
            requests=ledger.requests,
            dollars=ledger.spent_dollars,
            stalled_s=ledger.stalled_s,
        )

    def hang_up(self) -> None:
        """Drop calls from now on."""
        if self._server is not None:
            self._server.hang_up()

    def close(self) -> None:
        """Stop serving; calls that are upstream are broken off and settled."""
        if self._server is not None:
            self._server.close()
            self._ledger = self._server.ledger
        self._server = None
