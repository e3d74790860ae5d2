"""From a reply free of any wire format to the bytes of an answer, whole or streamed: what scripts, people and replays share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from harness.gateway.dialogue import (
    Ask,
    Failure,
    Malformed,
    Reply,
    Text,
    TokenUsage,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from harness.gateway.formats import FORMATS
from harness.gateway.formats.pieces import pieces_of
from harness.gateway.formats.sse import json_bytes
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed, kind_of
from harness.gateway.upstreams.script import ScriptedReply
from harness.gateway.upstreams.shell_tool import shell_call
from harness.spec.backbone import FormatName

_PIECE = re.compile(r".{1,24}\s*|\s+", re.DOTALL)
"""Text is streamed some words at a time."""


def ask_of(call: Call) -> Ask:
    """Read what a call says.

    Raises:
        UpstreamFailed: refused, since its body breaks the format or says what only a provider understands.
    """
    body = call.body if call.format != "google" else {**call.body, "model": call.model, "stream": call.stream}
    try:
        return replace(FORMATS[call.format].parse(body), model=call.model, stream=call.stream)
    except (Malformed, Untranslatable) as exc:
        failure = Failure(400, "invalid_request", f"this upstream cannot read the request: {exc}")
        raise failed(call.format, failure) from exc


def reply_of(scripted: ScriptedReply, ask: Ask, identity: str) -> Reply:
    """Return what a scripted reply says to ``ask``. ``identity`` tells its tool calls apart from those of all other replies.

    Raises:
        UpstreamFailed: it wants a command run, and none of the tools on offer does that.
    """
    text, calls = scripted.text, [(called.name, called.text) for called in scripted.tools]
    if scripted.shell:
        found = shell_call(ask.tools, scripted.shell)
        if found:
            calls.append(found)
        elif ask.tools:
            offered = ", ".join(tool.name for tool in ask.tools)
            message = f"the reply runs {scripted.shell!r}, and no tool on offer runs commands: {offered}"
            raise UpstreamFailed("refused", message, status=400)
        else:
            text = (text + "\n\n" if text else "") + f"```bash\n{scripted.shell}\n```"
    spoken = (Text(text),) if text or not calls else ()
    parts = spoken + tuple(ToolCall(f"call_{identity}_{n}", name, arguments) for n, (name, arguments) in enumerate(calls))
    stop = "tools" if calls else scripted.stop
    if scripted.usage is False:
        usage = TokenUsage()
    elif scripted.usage is not None:
        usage = scripted.usage.tokens
    else:
        usage = TokenUsage(_tokens(_words_of(ask)), _tokens(text + "".join(name + given for name, given in calls)))
    return Reply(parts, stop, usage, ask.model, f"scripted-{identity}")


def answer_of(reply: Reply, ask: Ask, format: FormatName, *, delay_s: float = 0.0) -> Answer:
    """Return a reply as an answer in ``format``, streamed where ``ask`` says so; its last bytes come after ``delay_s``."""
    form = FORMATS[format]
    if not ask.stream:
        pieces = [json_bytes(form.render_reply(reply, ask))]
    else:
        encoder = form.encoder(ask)
        pieces = [encoder.start(), *(encoder.feed(piece) for piece in pieces_of(reply, _PIECE.findall))]
    kind = "text/event-stream" if ask.stream else "application/json"
    return Answer(slowly([piece for piece in pieces if piece], delay_s), {"content-type": kind})


async def slowly(pieces: list[bytes], delay_s: float) -> AsyncIterator[bytes]:
    """Yield pieces, the last one after a wait."""
    for piece in pieces[:-1]:
        yield piece
    if delay_s:
        await asyncio.sleep(delay_s)
    for piece in pieces[-1:]:
        yield piece


def failed(format: FormatName, failure: Failure) -> UpstreamFailed:
    """Return an error with the body that a provider of ``format`` would send."""
    status, body = FORMATS[format].failure(failure)
    kind = kind_of(failure.status, failure.code)
    return UpstreamFailed(kind, failure.message, status=status, body=json_bytes(body), retry_after_s=failure.retry_after_s)


def newest_words(ask: Ask) -> str:
    """Return the text of the newest message that is not the model's: what a user said, or what tools gave."""
    for message in reversed(ask.messages):
        if message.role == "user":
            return "\n".join(_texts(message.parts))
    return ""


def turns(ask: Ask) -> int:
    """Return how often the model has answered in this dialogue. Messages of its in a row are one answer in pieces."""
    roles = [message.role for message in ask.messages]
    return sum(1 for before, role in zip([None, *roles], roles, strict=False) if role == "assistant" != before)


def _texts(parts: tuple[object, ...]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            yield part.text
        elif isinstance(part, ToolResult):
            yield from _texts(part.parts)


def _words_of(ask: Ask) -> str:
    said: list[str] = []
    for message in ask.messages:
        said += _texts(message.parts)
        said += [part.name + part.arguments for part in message.parts if isinstance(part, ToolCall)]
    return "".join(said + [f"{tool.name}{tool.description}{tool.schema}" for tool in ask.tools])


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)
