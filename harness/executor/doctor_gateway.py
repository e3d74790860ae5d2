"""`dojo doctor gateway`: does the LLM gateway work on this machine, and is what is configured behind it ready?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.gateway.backbones import KEYS, key_name, key_of
from harness.gateway.prices import known_model
from harness.sandbox.base import Check
from harness.spec.backbone import Backbone, FormatName
from harness.spec.broken import Broken
from harness.spec.errors import DojoError

if TYPE_CHECKING:
    import httpx

    from harness.spec.event import Payload

_LIBRARIES = ("starlette", "uvicorn", "httpx")
_MODEL, _WORDS = "doctor", "The gateway answers."
_TIMEOUT_S = 20.0
_PATHS: Mapping[FormatName, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "google": f"/v1beta/models/{_MODEL}:generateContent",
}


def diagnose_gateway(backbones: Mapping[str, Backbone | Broken], environ: Mapping[str, str]) -> list[Check]:
    """Run the gateway once with a script behind it, and look at the configured backbones; nobody outside is called.

    Args:
        backbones: of dojo.toml.
        environ: holds their keys, of which only the presence is told.
    """
    libraries = _libraries()
    served = _served() if libraries.ok else []
    return [libraries, *served, _usual_keys(environ), *(_backbone(name, each, environ) for name, each in backbones.items())]


def _libraries() -> Check:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("gateway libraries", False, "missing: " + ", ".join(missing), f"pip install {' '.join(missing)}")
    return Check("gateway libraries", True, ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES))


def _served() -> list[Check]:
    try:
        return list(_calls())
    except (DojoError, OSError) as exc:
        hint = "unix sockets must be possible in the folder for temporary files: set TMPDIR to a short path on a local disk"
        return [Check("gateway", False, f"does not come up: {exc}", exc.hint or hint if isinstance(exc, DojoError) else hint)]


def _calls() -> Iterator[Check]:
    """Yield what became of a call in each format, and whether the gateway let nobody else in and counted right."""
    import httpx

    from harness.gateway.ledger import Ledger
    from harness.gateway.server import GatewayContext, GatewayServer
    from harness.gateway.upstreams.script import Script, ScriptedReply
    from harness.gateway.upstreams.scripted import ScriptedUpstream
    from harness.spec.budget import Budget

    events: list[Payload] = []
    faults: list[DojoError] = []
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="dojo-gw-") as folder:
        socket = Path(folder) / "llm.sock"
        context = GatewayContext(
            backbone=Backbone(upstream="scripted", model=_MODEL, script=Path("doctor")),
            name=_MODEL,
            upstream=ScriptedUpstream(Script(last=ScriptedReply(text=_WORDS)), "doctor"),
            budget=Budget(wall=60, requests=len(_PATHS)),
            ledger=Ledger(),
            emit=events.append,
            elapsed=lambda: 0.0,
            recording=Path(folder) / "llm",
        )
        server = GatewayServer(context, socket, token, faults.append)
        try:
            transport = httpx.HTTPTransport(uds=str(socket))
            with httpx.Client(transport=transport, base_url="http://gateway", timeout=_TIMEOUT_S) as client:
                for format in _PATHS:
                    yield _call(client, format, token)
                stranger = _post(client, "chat", "nobody's token")
            server.wait_settled()
            yield _account(stranger.status_code, server.ledger.requests, faults)
        finally:
            server.close(0.5)


def _call(client: httpx.Client, format: FormatName, token: str) -> Check:
    import httpx

    from harness.gateway.dialogue import Malformed, Text
    from harness.gateway.formats import FORMATS

    name = f"gateway {format}"
    hint = "this is a fault of dojo's or of its libraries: compare their versions with pyproject.toml"
    try:
        answer = _post(client, format, token)
        if answer.status_code != 200:
            return Check(name, False, f"answered {answer.status_code}: {answer.text[:200]}", hint)
        reply = FORMATS[format].parse_reply(answer.json())
    except (httpx.HTTPError, ValueError, Malformed) as exc:
        return Check(name, False, f"no answer that can be read: {type(exc).__name__}: {exc}", hint)
    said = "".join(part.text for part in reply.parts if isinstance(part, Text))
    if said != _WORDS:
        return Check(name, False, f"said {said[:80]!r} in place of {_WORDS!r}", hint)
    return Check(name, True, f"{_PATHS[format]} answers, {reply.usage.input} + {reply.usage.output} tokens")


def _post(client: httpx.Client, format: FormatName, token: str) -> httpx.Response:
    from harness.gateway.upstreams.asking import small_call

    headers = {"authorization": f"Bearer {token}"}
    return client.post(_PATHS[format], json=dict(small_call(format, _MODEL).body), headers=headers)


def _account(stranger: int, counted: int, faults: list[DojoError]) -> Check:
    expected = len(_PATHS)
    if faults:
        return Check("gateway account", False, f"something broke inside: {faults[0].message[:300]}", faults[0].hint)
    if stranger != 401 or counted != expected:
        detail = f"a call with a wrong token got {stranger} (401 expected), {counted} calls were counted ({expected} expected)"
        return Check("gateway account", False, detail, "run no agent with a backbone on this machine")
    return Check("gateway account", True, f"{counted} calls counted, a call with a wrong token refused")


def _usual_keys(environ: Mapping[str, str]) -> Check:
    """Tell which providers' usual variables are set; none of them has to be."""
    there = [variable for variable in KEYS.values() if environ.get(variable, "").strip()]
    gone = [variable for variable in KEYS.values() if variable not in there]
    words = [f"{', '.join(names)} {state}" for names, state in ((there, "set"), (gone, "not set")) if names]
    return Check("providers' keys", True, "; ".join(words))


def _backbone(name: str, backbone: Backbone | Broken, environ: Mapping[str, str]) -> Check:
    label = f"backbone {name}"
    if isinstance(backbone, Broken):
        return Check(label, False, backbone.message, backbone.hint)
    try:
        key_of(backbone, environ)
        if backbone.upstream == "scripted" and backbone.script is not None:
            from harness.gateway.upstreams.script import read_script

            read_script(backbone.script)
    except DojoError as exc:
        return Check(label, False, exc.message, exc.hint)
    variable = key_name(backbone)
    facts = [
        f"{backbone.upstream} {backbone.model}".strip(),
        f"{variable} is set" if variable else "no key needed",
        _prices(backbone),
    ]
    return Check(label, True, ", ".join(facts))


def _prices(backbone: Backbone) -> str:
    if backbone.prices is not None:
        return "prices from dojo.toml"
    if backbone.upstream == "replay":
        return f"prices of run {backbone.run}"
    known = known_model(backbone.model)
    if known is None:
        return "prices unknown: budgets in dollars are refused"
    return f"prices as of {known.as_of}"
