"""Backbones: which there are, whether they answer, and answering by hand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.gateway.backbones import built_in, find_backbone, key_name, key_of, open_upstream
from harness.gateway.prices import known_model, price_of
from harness.service.bench import Bench
from harness.spec.backbone import Backbone, FormatName, Prices, UpstreamName
from harness.spec.base import Spec
from harness.spec.broken import Broken
from harness.spec.errors import DojoError, MissingError, UsageError

if TYPE_CHECKING:
    from harness.gateway.upstreams.manual import Question
    from harness.gateway.upstreams.script import ScriptedReply


class ListedBackbone(Spec):
    """A backbone as it can be named now."""

    name: str
    origin: Literal["dojo.toml", "built in"]
    upstream: UpstreamName
    model: str = ""
    formats: tuple[FormatName, ...] = ()
    key: str = Field("", description="variable that holds the key; empty: none is needed")
    key_set: bool | None = Field(None, description="whether that variable is set; null: none is needed")
    prices: Prices | None = None
    prices_as_of: date | None = Field(
        None, description="the day the built-in prices were read; null: they are the backbone's own"
    )
    context: int | None = None
    max_output: int | None = None


class CheckedBackbone(Spec):
    """What one small call to a backbone gave."""

    name: str
    state: Literal["ok", "missing", "failed"]
    upstream: UpstreamName | None = None
    model: str = ""
    served: str = Field("", description="the model that answered, as the upstream says")
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    message: str = ""
    hint: str = ""


class Backbones(Bench):
    """The language models that agents think with."""

    def backbones(self) -> tuple[ListedBackbone, ...]:
        """Return the configured backbones, then the built-in ones."""
        own = {name: ("dojo.toml", each) for name, each in self._backbones.items() if not isinstance(each, Broken)}
        ready = {name: ("built in", backbone) for name, backbone in built_in().items() if name not in own}
        return tuple(_listed(name, origin, backbone) for name, (origin, backbone) in (own | ready).items())

    def broken_backbones(self) -> tuple[Broken, ...]:
        """Return the backbones of dojo.toml that cannot be used."""
        return tuple(each for each in self._backbones.values() if isinstance(each, Broken))

    def check_backbones(self, names: Sequence[str] = ()) -> Iterator[CheckedBackbone]:
        """Make one small call to each backbone; without names, to each that dojo.toml configures.

        Raises:
            NotFoundError: there is no backbone of a name.
            UsageError: no name is given and none is configured.
        """
        if not names and not self._backbones:
            raise UsageError(
                "no backbone is configured", hint="name one, as `dojo backbones check anthropic`, or see docs/backbones.md"
            )
        if names:
            found: dict[str, Backbone | Broken] = {name: find_backbone(name, self._backbones) for name in names}
        else:
            found = self._backbones
        return (self._checked(name, backbone) for name, backbone in found.items())

    def questions(self, run: str) -> tuple[Question, ...]:
        """Return the calls of a run that wait for somebody to answer them, the oldest first.

        Raises:
            NotFoundError: there is no such run.
            UsageError: its backbone is not answered by hand.
        """
        from harness.gateway.upstreams.manual import questions

        return questions(self._by_hand(run))

    def answer(self, run: str, call: int, reply: ScriptedReply | Mapping[str, Any]) -> None:
        """Answer a call that waits; the reply is one of a script (docs/backbones.md).

        Raises:
            NotFoundError: there is no such run, or the call does not wait.
            SpecError: the reply is none.
        """
        import json

        from harness.gateway.upstreams.manual import answer_question, read_reply
        from harness.gateway.upstreams.script import ScriptedReply

        if not isinstance(reply, ScriptedReply):
            reply = read_reply(json.dumps(dict(reply)), f"answer to call {call}")
        answer_question(self._by_hand(run), call, reply)

    def thinking(self, run: str) -> bool:
        """Return whether a run may still ask: false once its agent phase is over."""
        from harness.spec import RunState

        state = self.store.run(self.store.resolve(run, "run")).state
        return state in (RunState.QUEUED, RunState.PREPARING, RunState.RUNNING)

    def _by_hand(self, run: str) -> Path:
        folder = self._run_folder(run)
        spec = folder.spec()
        if spec.backbone is None or spec.backbone.upstream != "manual":
            what = "has no backbone" if spec.backbone is None else f"thinks with {spec.backbone.words}"
            raise UsageError(f"run {spec.id} is not answered by hand: it {what}", hint="submit with --backbone manual")
        return folder.talk

    def _checked(self, name: str, backbone: Backbone | Broken) -> CheckedBackbone:
        if isinstance(backbone, Broken):
            return CheckedBackbone(name=name, state="failed", message=backbone.message, hint=backbone.hint)
        facts: dict[str, Any] = {"name": name, "upstream": backbone.upstream, "model": backbone.model}
        import asyncio

        try:
            key = key_of(backbone, os.environ)
            return CheckedBackbone(state="ok", **facts, **asyncio.run(self._asked(backbone, key)))
        except MissingError as exc:
            return CheckedBackbone(state="missing", message=exc.message, hint=exc.hint, **facts)
        except DojoError as exc:
            return CheckedBackbone(state="failed", message=exc.message, hint=exc.hint, **facts)

    async def _asked(self, backbone: Backbone, key: str | None) -> dict[str, Any]:
        from harness.gateway.upstreams.asking import ask, small_call
        from harness.gateway.upstreams.base import UpstreamFailed

        with tempfile.TemporaryDirectory(prefix="dojo-check-") as folder:
            upstream = open_upstream(
                backbone, environ=os.environ, recording=Path(folder), runs=lambda run: self._run_folder(run).path
            )
            began = time.monotonic()
            try:
                if backbone.upstream in ("manual", "replay"):  # nobody sits there yet; only recorded requests are answered
                    await upstream.probe()
                    return {}
                reply = await ask(upstream, small_call(backbone.speaks[0], backbone.model or "scripted"))
            except UpstreamFailed as exc:
                said = exc.message.replace(key, "***") if key else exc.message
                hint = "look at address, key and model" if exc.kind == "broken" else "look at the model's name"
                raise DojoError(said, hint="wait and try again" if exc.kind == "busy" else hint, code="backbone_failed") from exc
            finally:
                await upstream.close()
        return {
            "served": reply.model,
            "input_tokens": reply.usage.input,
            "output_tokens": reply.usage.output,
            "latency_s": round(time.monotonic() - began, 3),
        }


def _listed(name: str, origin: str, backbone: Backbone) -> ListedBackbone:
    key = key_name(backbone)
    known = None if backbone.prices else known_model(backbone.model)
    return ListedBackbone.model_validate(
        {
            "name": name,
            "origin": origin,
            "upstream": backbone.upstream,
            "model": backbone.model,
            "formats": backbone.speaks,
            "key": key,
            "key_set": bool(os.environ.get(key, "").strip()) if key else None,
            "prices": backbone.prices or price_of(backbone.model),
            "prices_as_of": known.as_of if known else None,
            "context": backbone.context,
            "max_output": backbone.max_output,
        }
    )
