"""The seam to whatever answers a call: a provider, a script, a person, a recorded run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.spec.backbone import FormatName


@dataclass(frozen=True)
class Call:
    """One call as it goes upstream.

    Attributes:
        number: of the call in its run, from 1.
        format: the wire format of ``body``, one the upstream speaks.
        model: the upstream's own name of the model.
        body: already capped, scrubbed and allowed; Google's without ``model`` and ``stream`` (they stand in the path).
        stream: whether the answer is to be streamed.
        request: hash of the canonical request, by which recorded talks are found.
        headers: the client's headers that the format gives a meaning (``anthropic-version``, ``anthropic-beta``); no others.
    """

    number: int
    format: FormatName
    model: str
    body: Mapping[str, Any]
    stream: bool
    request: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """An upstream's answer in the call's own format: the body's bytes as they come. 2xx only; anything else is `UpstreamFailed`.

    Reading ``body`` raises `UpstreamFailed` where the answer breaks off. Whoever stops reading early closes it, which cancels the
    upstream's work.
    """

    body: AsyncIterator[bytes]
    headers: Mapping[str, str]

    async def aclose(self) -> None:
        """Let go of the answer, however far it was read; harmless afterwards."""
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()


Kind = Literal["refused", "busy", "broken"]

_ACCOUNT = frozenset({"insufficient_quota", "billing_error", "billing_not_active", "API_KEY_INVALID"})


def kind_of(status: int, code: str = "") -> Kind:
    """Return whose fault a status is; see `UpstreamFailed`. A key or an account that does not serve is never an agent's."""
    if code in _ACCOUNT or status in (401, 402, 403, 408) or status >= 500 or status < 400:
        return "broken"
    return "busy" if status == 429 else "refused"


class UpstreamFailed(Exception):
    """An upstream gave no answer.

    Attributes:
        kind: "refused" is the request's own fault (other 4xx; an unknown request in a replay): never tried again. "busy" is 429.
            "broken" is 5xx, 408, a timeout, a connection, or what is the account's fault: 401, 402, 403, no credit left.
        status: of the upstream's response; None where there was none.
        body: of the upstream's response, cut.
        retry_after_s: as it asked.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.status, self.body, self.retry_after_s = kind, message, status, body, retry_after_s

    @property
    def never_connected(self) -> bool:
        """Whether there was not even a connection, so that nobody can have worked."""
        seen: BaseException | None = self
        while seen is not None:
            if type(seen).__name__ in ("ConnectError", "ConnectTimeout", "ConnectionRefusedError"):
                return True
            seen = seen.__cause__ or seen.__context__
        return False


class Upstream(Protocol):
    """Answers calls. One for each run; used from one event loop."""

    async def send(self, call: Call) -> Answer:
        """Answer a call, once: trying again is the gateway's business.

        Raises:
            UpstreamFailed: there is no answer.
        """
        ...

    async def probe(self) -> None:
        """Do the cheapest thing that shows the upstream works (at most a few tokens); made by the gateway, never by an agent.

        Raises:
            UpstreamFailed: it does not.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
