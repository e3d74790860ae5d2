"""The backbone: one question, one answer, over OpenAI's chat completions as the run's gateway serves them.

Every way in which no answer comes has a kind, so that the thinking above knows whether asking again makes sense.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["spent", "refused", "unreachable", "late", "broken"]

# Room for an answer where the run does not say how long the backbone's may be: a model that reasons needs most of it before the
# first brace.
ASSUMED_MAX_OUTPUT = 8192
# A context this long is what every backbone worth asking has.
ASSUMED_CONTEXT = 32768
# Read of an answer at most; ours are a few kilobytes long.
MOST_BYTES = 4 * 1024 * 1024
# The gateway may be restarted under a running agent: a connection that is not taken is tried again after these seconds.
AGAIN_AFTER_S = (0.5, 2.0, 5.0)
# Codes after which no later call can succeed either.
FINAL = frozenset(
    {"budget_exceeded", "insufficient_quota", "model_not_found", "unauthorised", "not_allowed", "upstream_unauthorised"}
)
_SPENT = frozenset({"budget_exceeded", "insufficient_quota"})
_CONTEXT = re.compile(r"context (?:length|window|size)\D{0,40}?(\d{3,7})", re.IGNORECASE)


class NoAnswer(Exception):
    """The backbone gave no answer.

    Attributes:
        kind: ``spent``: the run's budget for thinking is used up. ``refused``: the request's own fault. ``unreachable``: nobody
            takes the call. ``late``: not within the time given. ``broken``: an answer that is none, or a failing upstream.
        final: whether every later call would end the same way.
    """

    def __init__(self, kind: Kind, message: str, *, final: bool = False) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.final = kind, final


@dataclass(frozen=True)
class Answer:
    """What the backbone said.

    Attributes:
        text: the message's text, empty where it said nothing.
        input_tokens: as reported; 0 where it reports none.
        output_tokens: likewise.
        stop: ``stop`` at its own end, ``length`` where it was cut off, else the provider's word.
        seconds: until it was there.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    stop: str = "stop"
    seconds: float = 0.0


class Backbone:
    """Asks one model. Safe to use from several threads: each call has its own connection.

    Args:
        url: of the API, up to ``/v1``.
        key: sent as the bearer token.
        model: its name.
        context: most tokens of prompt and answer together, where known.
        max_output: most tokens of one answer, where known.
        again_after_s: pauses before a connection that is not taken is tried again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        *,
        context: int | None = None,
        max_output: int | None = None,
        again_after_s: Sequence[float] = AGAIN_AFTER_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"LLM_BASE_URL is {url!r}; it must be an http address up to /v1")
        self._parts, self._key, self.model = parts, key, model
        self.context = context or ASSUMED_CONTEXT
        self.max_output = max_output or ASSUMED_MAX_OUTPUT
        self.takes_schemas = True
        self._again_after_s = tuple(again_after_s)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Backbone | None:
        """Return the backbone that a run names in its environment, or None where it names none.

        Raises:
            ValueError: it names one that cannot be asked.
        """
        url, model = environment.get("LLM_BASE_URL"), environment.get("LLM_MODEL")
        if not url:
            return None
        if not model:
            raise ValueError("LLM_BASE_URL is set and LLM_MODEL is not; submit with --backbone")
        sizes = [environment.get(name) for name in ("DOJO_LLM_CONTEXT", "DOJO_LLM_MAX_OUTPUT")]
        context, most = (int(size) if size else None for size in sizes)
        return Backbone(url, environment.get("LLM_API_KEY", ""), model, context=context, max_output=most)

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_output: int,
        schema: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> Answer:
        """Ask once and wait for the whole answer.

        Args:
            messages: the conversation: role and content each.
            max_output: most tokens of the answer.
            schema: JSON schema of the answer, with its name as ``title``; left out where the upstream has refused one before.
            timeout_s: seconds for everything, further tries included.

        Raises:
            NoAnswer: there is none; its kind says why.
        """
        begun = time.monotonic()
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "max_completion_tokens": max(1, min(max_output, self.max_output)),
        }
        if schema is not None and self.takes_schemas:
            named = {"name": str(schema.get("title", "answer")), "schema": schema}
            status, data = self._post(
                {**body, "response_format": {"type": "json_schema", "json_schema": named}}, begun + timeout_s
            )
            if status in (400, 422) and not _too_long(data):
                # it may be the schema that is refused: the prompt says it in words too
                status, data = self._post(body, begun + timeout_s)
                self.takes_schemas = status != 200
        else:
            status, data = self._post(body, begun + timeout_s)
        if status != 200:
            raise self._refusal(status, data)
        return _read(data, time.monotonic() - begun)

    def _post(self, body: Mapping[str, Any], deadline: float) -> tuple[int, bytes]:
        for pause in (*self._again_after_s, None):
            try:
                return self._once(json.dumps(body, ensure_ascii=False).encode(errors="replace"), deadline)
            except ConnectionError as exc:
                if pause is None or time.monotonic() + pause > deadline:
                    raise NoAnswer("unreachable", f"{self._parts.netloc} does not take the call: {exc}") from exc
                threading.Event().wait(pause)
        raise AssertionError("the last try returns or raises")

    def _once(self, data: bytes, deadline: float) -> tuple[int, bytes]:
        left = deadline - time.monotonic()
        late = NoAnswer("late", "the answer was not there in the time given")
        if left <= 0:
            raise late
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(str(self._parts.hostname), self._parts.port, timeout=left)
        clock: threading.Timer | None = None
        try:
            connection.connect()
            # a time-out of the socket is for one read; an answer that drips would outlast it
            clock = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, [connection.sock])
            clock.daemon = True
            clock.start()
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", f"{self._parts.path.rstrip('/')}/chat/completions", data, headers)
            response = connection.getresponse()
            read = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as exc:
            if isinstance(exc, TimeoutError) or time.monotonic() >= deadline:
                raise late from exc
            if isinstance(exc, ConnectionRefusedError | ConnectionResetError | BrokenPipeError):
                raise  # `http.client.RemoteDisconnected` too: nobody was there to answer
            if isinstance(exc, http.client.HTTPException):
                raise NoAnswer("broken", f"the answer is no HTTP or broke off: {exc!r}") from exc
            raise NoAnswer("unreachable", f"{self._parts.netloc}: {exc}") from exc
        finally:
            if clock is not None:
                clock.cancel()
            connection.close()
        if time.monotonic() >= deadline:
            raise late
        if len(read) > MOST_BYTES:
            raise NoAnswer("broken", f"the answer is longer than {MOST_BYTES} bytes")
        return response.status, read

    def _refusal(self, status: int, data: bytes) -> NoAnswer:
        code, message = _error(data)
        final = code in FINAL or status in (401, 403, 404)
        if code in _SPENT:
            return NoAnswer("spent", message, final=True)
        if status in (400, 413, 422):
            if found := _too_long(data):
                self.context = min(self.context, found)
            return NoAnswer("refused", f"{message} ({status} {code})", final=final)
        if final:
            return NoAnswer("refused", f"{message} ({status} {code})", final=True)
        return NoAnswer("broken", f"{message} ({status} {code})")


def _hang_up(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _read(data: bytes, seconds: float) -> Answer:
    try:
        said = json.loads(data)
        choice = said["choices"][0]
        text = choice["message"].get("content")
        usage = said.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        stop = choice.get("finish_reason")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as exc:
        raise NoAnswer("broken", f"the answer is no chat completion: {data[:200]!r}") from exc
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    tokens = [count if isinstance(count, int) and count > 0 else 0 for count in counts]
    return Answer(text if isinstance(text, str) else "", tokens[0], tokens[1], stop if isinstance(stop, str) else "stop", seconds)


def _error(data: bytes) -> tuple[str, str]:
    """Return code and message of an error's body; what is none is quoted."""
    quoted = data[:300].decode(errors="replace")
    try:
        error = json.loads(data).get("error")
    except (ValueError, RecursionError, AttributeError):
        return "", quoted
    if not isinstance(error, dict):
        return "", quoted
    return str(error.get("code") or error.get("type") or ""), str(error.get("message") or quoted)[:500]


def _too_long(data: bytes) -> int | None:
    """Return the context length that an error names, where it says that a request does not fit it."""
    found = _CONTEXT.search(data[:4000].decode(errors="replace"))
    return int(found[1]) if found else None
