"""An upstream that a person or another program answers: questions and answers are files in the run's private folder.

``pending/<call>.json`` is there while a call waits; ``answers/<call>.json``, a reply as in a script, answers it. What is wrong
with an answer that is no reply stands in ``answers/<call>.error`` until another one comes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.files import write_atomic
from harness.gateway.dialogue import Ask, Failure, Image, Message, Text, Thinking, ToolCall, ToolResult
from harness.gateway.upstreams.base import Answer, Call
from harness.gateway.upstreams.script import ScriptedReply
from harness.gateway.upstreams.speaking import answer_of, ask_of, failed, reply_of
from harness.spec.backbone import FormatName
from harness.spec.errors import NotFoundError, SpecError
from harness.spec.toml import describe

_LOOK_S = 0.2
"""How often a waiting call looks for its answer: one stat, and people do not notice a fifth of a second."""

_NUMBERED = re.compile(r"(\d+)\.json")


@dataclass(frozen=True)
class Question:
    """A call that waits for somebody.

    Attributes:
        call: its number in the run.
        time: since when it waits.
        messages: the dialogue, each ``{"role", "text"}``: calls of tools and what they gave are told in words.
        tools: what may be called, each ``{"name", "description", "parameters"}``.
        max_output: tokens the answer should keep to.
        error: what was wrong with the last answer; empty: none was.
    """

    call: int
    time: datetime
    format: FormatName
    model: str
    messages: tuple[Mapping[str, str], ...]
    tools: tuple[Mapping[str, Any], ...]
    max_output: int | None = None
    error: str = ""


class ManualUpstream:
    """Waits for somebody to answer.

    Args:
        folder: private folder of the run's talk.
        timeout_s: how long a call waits.
    """

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._pending, self._answers, self._timeout_s = folder / "pending", folder / "answers", timeout_s
        for path in (folder, self._pending, self._answers):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (*self._pending.iterdir(), *self._answers.iterdir()):  # of a harness that died; who waited asks again
            path.unlink()

    async def send(self, call: Call) -> Answer:
        """Put the question, wait for the answer; see `Upstream.send`."""
        ask = ask_of(call)
        question, answer = self._pending / f"{call.number}.json", self._answers / f"{call.number}.json"
        write_atomic(question, json.dumps(_told(call, ask), ensure_ascii=False, indent=1).encode("utf-8", "replace"), mode=0o600)
        try:
            async with asyncio.timeout(self._timeout_s):
                scripted = await self._answered(answer)
        except TimeoutError:
            message = f"nobody answered within {self._timeout_s:g} s: `dojo backbone answer RUN` lists what waits"
            raise failed(call.format, Failure(504, "not_answered", message)) from None
        finally:
            question.unlink(missing_ok=True)
            for path in (answer, answer.with_suffix(".error")):
                path.unlink(missing_ok=True)
        if scripted.fails:
            message = scripted.text or f"answered with status {scripted.status}"
            raise failed(call.format, Failure(scripted.status, scripted.code, message, scripted.retry_after_s))
        return answer_of(reply_of(scripted, ask, str(call.number)), ask, call.format)

    async def probe(self) -> None:
        """Questions can be put; whether somebody is there to answer them nobody can know."""

    async def close(self) -> None:
        """Nothing is held."""

    async def _answered(self, path: Path) -> ScriptedReply:
        while True:
            if path.exists():
                try:
                    return read_reply(path.read_bytes(), str(path))
                except SpecError as exc:  # told beside the question, which waits on
                    write_atomic(path.with_suffix(".error"), exc.message.encode(), mode=0o600)
                    path.unlink()
            await asyncio.sleep(_LOOK_S)


def questions(folder: Path) -> tuple[Question, ...]:
    """Return what waits in the folder of a run's talk and has no answer yet, the oldest first."""
    found = []
    for path in sorted(_numbered(folder / "pending"), key=lambda path: int(path.stem)):
        if (folder / "answers" / path.name).exists():
            continue
        try:
            told = json.loads(path.read_bytes())
        except (OSError, ValueError):  # answered, or given up, this very moment
            continue
        lists = {name: tuple(told[name]) for name in ("messages", "tools")}
        error = _error_of(folder, int(path.stem))
        found.append(Question(**{**told, **lists, "time": datetime.fromisoformat(told["time"]), "error": error}))
    return tuple(found)


def answer_question(folder: Path, call: int, reply: ScriptedReply) -> None:
    """Answer a call that waits.

    Raises:
        NotFoundError: it does not wait, or not any more.
    """
    waiting = [question.call for question in questions(folder)]
    if call not in waiting:
        there = f"waiting: {', '.join(map(str, waiting))}" if waiting else "nothing waits at the moment"
        raise NotFoundError(f"call {call} does not wait for an answer", hint=there)
    data = reply.model_dump_json(exclude_defaults=True).encode()
    (folder / "answers" / f"{call}.error").unlink(missing_ok=True)
    write_atomic(folder / "answers" / f"{call}.json", data, mode=0o600)


def read_reply(data: bytes | str, where: str) -> ScriptedReply:
    """Read one reply from JSON.

    Raises:
        SpecError: it is none; the message names ``where`` and the field.
    """
    shape = 'write {"text": "…"}, {"shell": "…"} or {"tools": [{"name": …, "arguments": {…}}]}'
    try:
        read = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise SpecError(f"{where}: not valid JSON: {exc}", hint=shape) from exc
    if not isinstance(read, dict) or not read:
        raise SpecError(f"{where}: {str(read)[:60]!r} is no reply", hint=shape)
    try:
        return ScriptedReply.model_validate(read)
    except ValidationError as exc:
        raise SpecError(f"{where}: {describe(exc, ScriptedReply)}", hint=shape) from exc


def _error_of(folder: Path, call: int) -> str:
    try:
        return (folder / "answers" / f"{call}.error").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _numbered(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if _NUMBERED.fullmatch(path.name))


def _told(call: Call, ask: Ask) -> dict[str, Any]:
    return {
        "call": call.number,
        "time": datetime.now(UTC).isoformat(),
        "format": call.format,
        "model": call.model,
        "messages": [{"role": message.role, "text": _words(message)} for message in ask.messages],
        "tools": [{"name": tool.name, "description": tool.description, "parameters": tool.schema} for tool in ask.tools],
        "max_output": ask.max_output,
    }


def _words(message: Message) -> str:
    lines = []
    for part in message.parts:
        match part:
            case Text():
                lines.append(part.text)
            case Thinking():
                lines.append(f"(thinking) {part.text}")
            case Image():
                lines.append(f"(an image, {part.media_type})")
            case ToolCall():
                lines.append(f"(calls {part.name} {part.arguments})")
            case ToolResult():
                words = "\n".join(inner.text if isinstance(inner, Text) else "(an image)" for inner in part.parts)
                lines.append(f"(result{' of ' + part.name if part.name else ''}{', an error' if part.is_error else ''}) {words}")
    return "\n".join(lines)
