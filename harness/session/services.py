"""What a run offers its agent beside the sandbox: services, each behind one loopback port inside.

The agent API is the first. A service is known by its relay and its variables in every process (they are part of the sandbox),
and answers only in the process that drives the agent phase, between `open` and `close`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.sandbox.base import Relay
from harness.session.api import ApiContext, SessionApi
from harness.spec.errors import DojoError

if TYPE_CHECKING:
    from harness.session.server import ApiServer

API_PORT = 7788


@dataclass(frozen=True)
class ServiceUsage:
    """What the agent has spent through a service so far, over all processes that drove the run.

    ``stalled_s`` is the time the agent was kept waiting by what is not its doing; it is not charged.
    """

    tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    dollars: float = 0.0
    stalled_s: float = 0.0


class RunService(Protocol):
    """One service of one run."""

    name: str
    relay: Relay

    def env(self) -> Mapping[str, str]:
        """Return the variables by which the agent finds it."""
        ...

    def open(self, context: ApiContext, on_error: Callable[[DojoError], None]) -> None:
        """Begin to answer."""
        ...

    def usage(self) -> ServiceUsage:
        """Return what has been spent through it."""
        ...

    def hang_up(self) -> None:
        """From now on drop calls without an answer: whoever resumes the run answers when they are sent again."""
        ...

    def close(self) -> None:
        """Stop answering and wait for the call that is being answered. May be called without `open`."""
        ...


class AgentApi:
    """The agent API as a service."""

    name = "api"

    def __init__(self, socket: Path, token: Callable[[], str]) -> None:
        self.relay = Relay(API_PORT, socket, service=self.name)
        self._token = token
        self._api: SessionApi | None = None
        self._server: ApiServer | None = None

    def env(self) -> dict[str, str]:
        """Return ``DOJO_API`` and ``DOJO_TOKEN``."""
        return {"DOJO_API": f"http://127.0.0.1:{API_PORT}", "DOJO_TOKEN": self._token()}

    def open(self, context: ApiContext, on_error: Callable[[DojoError], None]) -> None:
        """Serve the calls of one run."""
        from harness.session.server import ApiServer  # serving is not for those who only look

        self._api = SessionApi(context)
        self._server = ApiServer(self._api, self.relay.socket, self._token(), on_error)

    def usage(self) -> ServiceUsage:
        """Return nothing spent: the API's own calls are measured by the session."""
        return ServiceUsage()

    def hang_up(self) -> None:
        """Drop calls from now on."""
        if self._server is not None:
            self._server.hang_up()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()
        if self._api is not None:
            self._api.close()
        self._server = self._api = None
