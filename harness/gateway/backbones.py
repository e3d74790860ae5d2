"""Backbones by name: the built-in ones, those of dojo.toml, and names that say it all (``scripted:PATH``, ``replay:RUN``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import sha256_file
from harness.gateway.prices import KnownModel, known_model, known_models, price_of
from harness.spec.backbone import Backbone, BackboneRef
from harness.spec.broken import Broken
from harness.spec.errors import MissingError, NotFoundError, UsageError

if TYPE_CHECKING:
    from harness.gateway.upstreams.base import Upstream

KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY"}
"""Variables in which the providers' own clients look for a key."""

MAIN = {"openai": "gpt-6.2-sol", "anthropic": "claude-opus-5-5", "google": "gemini-3.8-flash"}
"""The model that a provider's bare name stands for: the one its pages recommend for agents' everyday work."""

VLLM = Backbone(upstream="openai", model="?", formats=("chat", "responses", "messages"), base_url="http://127.0.0.1:8000/v1")
"""A vLLM server where it listens when nothing else is said; which model it serves stands in the name, ``vllm:MODEL``."""

_PAGE = "docs/backbones.md tells how backbones are named"


def built_in() -> dict[str, Backbone]:
    """Return the backbones that need no dojo.toml: each provider's main model by its name, known models by their own."""
    found = {provider: _provided(provider, model) for provider, model in MAIN.items()}
    found |= {model: _provided(known.provider, model) for model, known in known_models().items()}
    return found | {"manual": Backbone(upstream="manual")}


def find_backbone(name: str, configured: Mapping[str, Backbone | Broken]) -> Backbone:
    """Return a backbone: a configured one, a built-in one, or what the name itself says.

    Names that say it all: ``scripted:PATH``, ``replay:RUN``, ``vllm:MODEL``, and any model of a provider's as ``openai:MODEL``,
    ``anthropic:MODEL``, ``google:MODEL``.

    Raises:
        NotFoundError: there is none of this name.
        UsageError: the name is half a name.
        SpecError: it stands in dojo.toml and is broken there.
    """
    if name in configured:
        found = configured[name]
        if isinstance(found, Broken):
            raise found.error
        return found
    ready = built_in()
    if name in ready:
        return ready[name]
    kind, colon, rest = name.partition(":")
    if kind in ("scripted", "replay", "vllm", *MAIN):
        if not rest:
            meant = {"scripted": "PATH", "replay": "RUN"}.get(kind, "MODEL")
            raise UsageError(f"backbone {name!r} does not say which", hint=f"name it {kind}:{meant}; {_PAGE}")
        match kind:
            case "scripted":
                return Backbone(upstream="scripted", script=Path(rest).expanduser())
            case "replay":
                return Backbone(upstream="replay", run=rest)
            case "vllm":
                return VLLM.model_copy(update={"model": rest})
            case _:
                return _provided(kind, rest)
    known = [*configured, *ready, *(() if colon else ("scripted:PATH", "replay:RUN", "vllm:MODEL"))]
    raise NotFoundError.named("backbone", name, known)


def backbone_ref(name: str, backbone: Backbone, *, runs: Callable[[str], Path]) -> BackboneRef:
    """Return what a run is planned with: neither address nor key, but the digest of what answers where that is a file.

    Args:
        name: as it was asked for.
        backbone: what it stands for.
        runs: returns a run's folder, for ``replay``.

    Raises:
        MissingError: the script or the recorded talk is not there.
        SpecError: the script is none.
    """
    facts: dict[str, Any] = {"model": backbone.model, "context": backbone.context, "max_output": backbone.max_output}
    prices, digest = backbone.prices or price_of(backbone.model), ""
    if backbone.script is not None and backbone.upstream == "scripted":
        from harness.gateway.upstreams.script import read_script

        read_script(backbone.script)
        digest = sha256_file(backbone.script)
    elif backbone.upstream == "replay":
        from harness.gateway.upstreams.replay import recorded_ref, talk_digest

        folder = runs(backbone.run)
        first = recorded_ref(folder)
        digest = talk_digest(folder)
        facts = {fact: said or getattr(first, fact) for fact, said in facts.items()}
        prices = prices or first.prices
    if not facts["model"]:
        facts["model"] = backbone.upstream  # agents must be told some name
    return BackboneRef(name=name, upstream=backbone.upstream, formats=backbone.speaks, prices=prices, digest=digest, **facts)


def key_name(backbone: Backbone) -> str:
    """Return the variable that a backbone's key stands in; empty: it needs none.

    A provider's own endpoint has a usual variable; another address gets a key only where ``key`` names one, or a provider's key
    would be sent to whoever listens there.
    """
    return backbone.key or ("" if backbone.base_url else KEYS.get(backbone.upstream, ""))


def key_of(backbone: Backbone, environ: Mapping[str, str]) -> str | None:
    """Return the key for a backbone's upstream; None: it needs none.

    Raises:
        MissingError: its variable is not set; the message names it.
        UsageError: what the variable holds cannot be a key.
    """
    variable = key_name(backbone)
    if not variable:
        return None
    key = environ.get(variable, "").strip()
    what = f"{backbone.upstream} {backbone.model}".strip()
    if not key:
        raise MissingError(f"the key for {what} is not here: {variable} is not set", hint=f"export {variable}=…; {_PAGE}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{variable} holds no key: it has blanks or characters that no key has", hint=f"set {variable} anew")
    return key


def open_upstream(backbone: Backbone, *, environ: Mapping[str, str], recording: Path, runs: Callable[[str], Path]) -> Upstream:
    """Return what answers for a backbone.

    Args:
        backbone: which.
        environ: holds the key.
        recording: private folder of the run's talk; the manual upstream keeps its questions and answers in it.
        runs: returns a run's folder, for ``replay``.

    Raises:
        MissingError: key, script or recorded talk are not there.
        SpecError: the script is none.
    """
    match backbone.upstream:
        case "scripted":
            from harness.gateway.upstreams.script import read_script
            from harness.gateway.upstreams.scripted import ScriptedUpstream

            assert backbone.script is not None  # the model sees to it
            return ScriptedUpstream(read_script(backbone.script), backbone.script.name)
        case "manual":
            from harness.gateway.upstreams.manual import ManualUpstream

            return ManualUpstream(recording, backbone.timeout_s)
        case "replay":
            from harness.gateway.upstreams.replay import open_replay

            return open_replay(backbone.run, runs(backbone.run))
        case _:
            from harness.gateway.upstreams.http import HttpUpstream

            return HttpUpstream(backbone, key_of(backbone, environ))


def _provided(provider: str, model: str) -> Backbone:
    known: KnownModel | None = known_model(model)
    return Backbone.model_validate(
        {
            "upstream": provider,
            "model": model,
            # tools with reasoning are at home in OpenAI's responses; chat completions are there for who asks for them
            "formats": ("responses", "chat") if provider == "openai" else (),
            "context": known.context if known else None,
            "max_output": known.max_output if known else None,
        }
    )
