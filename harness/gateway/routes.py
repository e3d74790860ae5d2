"""Which call a request makes, and in whose shape it is answered."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from harness.gateway.dialogue import Failure
from harness.spec.backbone import FormatName

_POSTS: Mapping[str, tuple[FormatName, Literal["answer", "count"]]] = {
    "/v1/chat/completions": ("chat", "answer"),
    "/v1/responses": ("responses", "answer"),
    "/v1/responses/input_tokens": ("responses", "count"),
    "/v1/messages": ("messages", "answer"),
    "/v1/messages/count_tokens": ("messages", "count"),
}
_GOOGLE = re.compile(r"/v1(?:beta)?/models/(?P<model>[^?#]{1,200}):(?P<action>generateContent|streamGenerateContent|countTokens)")
_MODEL = re.compile(r"/(?P<version>v1|v1beta)/models(?:/(?P<model>[^?#]{1,200}))?")


class NotServed(Exception):
    """There is no such call; carries the error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Route:
    """A call.

    Attributes:
        format: wire format it is made in.
        kind: an answer of the model, a count of tokens, the list of models, or one of them.
        model: where the path names it.
        stream: where the path says so (Google).
    """

    format: FormatName
    kind: Literal["answer", "count", "models", "model"]
    model: str = ""
    stream: bool = False


def shape_of(path: str, headers: Mapping[str, str]) -> FormatName:
    """Return the format in whose shape an error is told, whatever else is wrong with a request."""
    if path in _POSTS:
        return _POSTS[path][0]
    if path.startswith("/v1beta/") or _GOOGLE.fullmatch(path) or "x-goog-api-key" in headers:
        return "google"
    if path.startswith("/v1/messages") or "anthropic-version" in headers or "x-api-key" in headers:
        return "messages"
    return "responses" if path.startswith("/v1/responses") else "chat"


def route(method: str, path: str, headers: Mapping[str, str], query: Mapping[str, list[str]]) -> Route:
    """Return what a request asks for. Paths are taken literally: nothing is joined, decoded twice or shortened.

    Raises:
        NotServed: no such path, method or media type.
    """
    if path in _POSTS:
        _post(method, path, headers)
        return Route(*_POSTS[path])
    if found := _GOOGLE.fullmatch(path):
        _post(method, path, headers)
        stream = found["action"] == "streamGenerateContent"
        if stream and query.get("alt") != ["sse"]:
            raise NotServed(Failure(400, "usage", "streams are served as events: add ?alt=sse"))
        return Route("google", "count" if found["action"] == "countTokens" else "answer", found["model"], stream)
    found = _MODEL.fullmatch(path)
    if found is None:
        raise NotServed(Failure(404, "not_found", f"there is no {path[:100]} here; {_SERVED}"))
    if method != "GET":
        raise NotServed(Failure(405, "not_allowed", f"{path[:100]} is read with GET, not {method[:10]}"))
    shape: FormatName = "chat"
    if found["version"] == "v1beta" or "x-goog-api-key" in headers:
        shape = "google"
    elif "anthropic-version" in headers:
        shape = "messages"
    return Route(shape, "model" if found["model"] else "models", found["model"] or "")


_SERVED = (
    "served are POST /v1/chat/completions, /v1/responses, /v1/messages, /v1/messages/count_tokens, "
    "/v1beta/models/MODEL:generateContent, :streamGenerateContent, :countTokens, and GET /v1/models"
)


def _post(method: str, path: str, headers: Mapping[str, str]) -> None:
    if method != "POST":
        raise NotServed(Failure(405, "not_allowed", f"{path[:100]} is called with POST, not {method[:10]}"))
    media = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" or headers.get("content-encoding", "identity") != "identity":
        raise NotServed(Failure(415, "usage", "send the body as application/json, not compressed"))


def authorised(token: str, headers: Iterable[tuple[bytes, bytes]], query: Mapping[str, list[str]]) -> bool:
    """Say whether a request carries the run's token in one of the places where the providers' clients put their keys."""
    given = [key.encode(errors="replace") for key in query.get("key", [])]
    for name, value in headers:
        if name in (b"x-api-key", b"x-goog-api-key"):
            given.append(value.strip())
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            given.append(value[7:].strip())
    expected = token.encode()
    # all are compared, whatever the first says
    return any([hmac.compare_digest(key, expected) for key in given[:8]])


def query_of(raw: bytes) -> Mapping[str, list[str]]:
    """Return a request's query; one that cannot be read says nothing."""
    try:
        return parse_qs(raw[:4000].decode("latin-1"), max_num_fields=20)
    except ValueError:
        return {}
