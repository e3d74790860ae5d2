"""From an agent's request to the call that goes upstream: allowed, scrubbed, measured, translated where it must be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.gateway.account import Wish
from harness.gateway.bound import Measured, PromptBounds
from harness.gateway.dialogue import Ask, Failure, Malformed, Untranslatable
from harness.gateway.formats import FORMATS
from harness.gateway.formats.base import WireFormat
from harness.gateway.policy import refusal, scrubbed
from harness.gateway.recording import request_hash
from harness.gateway.routes import Route
from harness.spec.backbone import Backbone, FormatName

# Tokens of an answer where neither agent nor backbone says how long it may be.
_UNSAID = 32_768
# Bytes of a request without its images; what models with a larger context take in is more.
_TEXT, _MOST_TEXT, _BYTES_A_TOKEN = 1024 * 1024, 8 * 1024 * 1024, 6


class Unasked(Exception):
    """A request that does not go upstream; carries the error and the model that was asked for."""

    def __init__(self, failure: Failure, model: str = "") -> None:
        super().__init__(failure.message)
        self.failure, self.model = failure, model


@dataclass(frozen=True)
class Asked:
    """A request that may go upstream.

    Attributes:
        route: it came by.
        path: as it came.
        model: the name asked for.
        body: scrubbed; of Google's with neither model nor stream.
        stream: whether the answer is streamed.
        upstream: the format it goes on in.
        ask: where that is another one: the request free of formats.
        measured: its size.
        wish: what is to be reserved.
        said: whether the request says how long its answer may be.
    """

    route: Route
    path: str
    model: str
    body: Mapping[str, Any]
    stream: bool
    upstream: FormatName
    ask: Ask | None
    measured: Measured
    wish: Wish
    said: bool

    @property
    def format(self) -> FormatName:
        """Return the wire format the agent speaks."""
        return self.route.format


def names(backbone: Backbone, name: str) -> tuple[str, ...]:
    """Return the models an agent may ask for; the first is the one it is told."""
    return tuple(dict.fromkeys((*([backbone.model] if backbone.model else []), name, *backbone.models)))


def text_cap(backbone: Backbone) -> int:
    """Return the bytes of a request without its images at most."""
    return max(_TEXT, min(_MOST_TEXT, _BYTES_A_TOKEN * (backbone.context or 0)))


def checked_model(model: Any, backbone: Backbone, name: str) -> str:
    """Return the model asked for.

    Raises:
        Unasked: it is not allowed.
    """
    allowed = names(backbone, name)
    if not isinstance(model, str) or not model:
        raise Unasked(Failure(400, "usage", f"model must be one of {', '.join(allowed)}"))
    if model not in allowed and model.removeprefix("models/") not in allowed:
        message = f"there is no model {model[:100]!r} in this run; allowed: {', '.join(allowed)}"
        raise Unasked(Failure(404, "model_not_found", message), model[:200])
    return model


def asked(
    route: Route, path: str, body: Any, backbone: Backbone, name: str, bounds: PromptBounds, grants: Collection[str]
) -> Asked:
    """Return a request as it may go upstream.

    Raises:
        Unasked: it may not.
    """
    if not isinstance(body, dict):
        raise Unasked(Failure(400, "usage", "the body must be a JSON object"))
    google = route.format == "google"
    model = checked_model(route.model if google else body.get("model"), backbone, name)
    stream = route.stream if google else body.get("stream") is True
    try:
        return _asked(route, path, body, model, stream, backbone, bounds, grants)
    except Malformed as wrong:
        raise Unasked(Failure(400, "usage", str(wrong)), model) from None
    except Untranslatable as wrong:
        message = f"{wrong.field} has no meaning for this run's model, which speaks {' and '.join(backbone.speaks)}: leave it out"
        raise Unasked(Failure(400, "untranslatable", message[:1000]), model) from None


def _asked(
    route: Route,
    path: str,
    body: dict[str, Any],
    model: str,
    stream: bool,
    backbone: Backbone,
    bounds: PromptBounds,
    grants: Collection[str],
) -> Asked:
    format = route.format
    if found := refusal(format, body, grants):
        raise Unasked(Failure(403, "not_allowed", found.message), model)
    body = scrubbed(format, body)
    measured = bounds.measure(format, body)
    most = text_cap(backbone)
    if measured.text > most:
        raise Unasked(Failure(413, "too_large", f"a request of at most {most} bytes is taken, images apart"), model)
    wire = FORMATS[format]
    whole = body | {"model": model, "stream": stream} if format == "google" else body
    ask = None
    upstream = format
    if format not in backbone.speaks:
        upstream = backbone.speaks[0]
        ask = wire.parse(whole)
        FORMATS[upstream].render(ask)  # what it cannot say is refused before anything is set aside
    wanted = wire.asked_output(whole)
    choices = _choices(format, body)
    output = wanted if wanted is not None else (backbone.max_output or _unsaid(backbone, measured)) * choices
    if backbone.max_output is not None:
        output = min(output, backbone.max_output * choices)
    wish = Wish(measured.bound, max(output, choices), choices, request_hash(format, path, body))
    return Asked(route, path, model, body, stream, upstream, ask, measured, wish, wanted is not None)


def upstream_body(asked: Asked, backbone: Backbone, cap: int, limited: bool) -> dict[str, Any]:
    """Return the body that goes upstream, its answer capped to ``cap`` tokens.

    Where nothing limits the answer, and the agent did not say either, the upstream decides.
    """
    wire: WireFormat = FORMATS[asked.upstream]
    model = backbone.model or asked.model
    body: Mapping[str, Any] = asked.body
    most = cap if limited or asked.said or backbone.max_output is not None else None
    if asked.ask is not None:
        body = wire.render(replace(asked.ask, model=model, max_output=cap if most is not None else None))
    elif asked.upstream == "google":
        body = {**body, "model": model, "stream": asked.stream}
    capped = wire.capped(body, model, most)
    if asked.upstream == "google":
        capped = {name: value for name, value in capped.items() if name not in ("model", "stream")}
    return capped


def _unsaid(backbone: Backbone, measured: Measured) -> int:
    """Return how long an answer may be where nobody says: what the context surely has room for, or a quarter of it."""
    if backbone.context is None:
        return _UNSAID
    return max(1, min(_UNSAID, max(backbone.context - measured.bound, backbone.context // 4)))


def _choices(format: FormatName, body: Mapping[str, Any]) -> int:
    said = body.get("n")
    if format == "google":
        config = body.get("generationConfig", body.get("generation_config"))
        said = config.get("candidateCount", config.get("candidate_count")) if isinstance(config, Mapping) else None
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 1 else 1
