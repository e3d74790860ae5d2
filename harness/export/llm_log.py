"""An agent's talk with its backbone, call by call: what is new in each request, the answer, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from harness.export.steps import as_text, cut
from harness.export.threads import Threads
from harness.export.turns import Turn, arguments_of, text_of, turns
from harness.gateway.dialogue import Part, Reply, Text, Thinking, ToolCall, ToolResult
from harness.gateway.recording import Exchange
from harness.spec.base import Spec
from harness.spec.event import Event, LlmCalled, LlmRefused


class Said(Spec):
    """One message, or one part of it."""

    role: str = Field(description="system, user, assistant, thinking or tool")
    text: str
    tool: str = Field("", description="of a tool's call or result: the tool's name, or the call's id where it has none")


class LlmLine(Spec):
    """One call to the backbone."""

    call: int | None = Field(description="its number in the run; None: the gateway refused it")
    time: datetime
    elapsed_s: float
    talk: str = Field("", description="which of the agent's conversations it belongs to")
    format: str = ""
    asked: str = ""
    served: str = ""
    status: int = 0
    error: str | None = None
    stop: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens: int = Field(0, description="charged")
    dollars: float = Field(0.0, description="charged")
    latency_s: float = 0.0
    first_s: float | None = None
    tries: int = 1
    waited_s: float = 0.0
    new: tuple[Said, ...] = Field((), description="of the request: what no earlier call of this conversation held")
    answer: tuple[Said, ...] = ()
    recorded: bool = Field(True, description="False: only the ledger knows of it, what was said is lost")


class LlmLog:
    """Tells calls once each, as they become known; ``told`` are their numbers."""

    def __init__(self) -> None:
        self._threads = Threads()
        self.told: set[int] = set()

    def recorded(self, exchanges: Iterable[Exchange], events: Mapping[int, Event]) -> Iterator[LlmLine]:
        """Yield the calls among ``exchanges`` that are settled and were not told yet; ``events`` are the ledger's, by call."""
        called = {number: event.data for number, event in events.items() if isinstance(event.data, LlmCalled)}
        due = (exchange for exchange in exchanges if exchange.call not in self.told and exchange.call in called)
        for turn in turns(due, called):
            self.told.add(turn.call)
            yield self._line(events[turn.call], turn)

    def unrecorded(self, events: Mapping[int, Event]) -> Iterator[LlmLine]:
        """Yield the settled calls of which nothing was recorded."""
        for number, event in events.items():
            if number not in self.told:
                self.told.add(number)
                yield _facts(event).model_copy(update={"recorded": False})

    def _line(self, event: Event, turn: Turn) -> LlmLine:
        news = self._threads.take(turn.ask)
        new = [Said(role="system", text=cut(news.system))] if news.system else []
        for message, parts in news.fresh:
            if message.role != "assistant" or news.thread.calls == 1:  # what the model said itself was told with its call
                new += [said for part in parts if (said := _said(message.role, part))]
        return _facts(event).model_copy(update={"talk": news.thread.key, "new": tuple(new), "answer": _answer(turn.reply)})


def refused(event: Event) -> LlmLine:
    """Return a call that the gateway refused."""
    said = event.data
    assert isinstance(said, LlmRefused)
    return LlmLine(
        call=None,
        time=event.time,
        elapsed_s=event.elapsed_s,
        format=said.format,
        asked=said.asked,
        status=said.status,
        error=f"{said.error}: {said.message}",
        recorded=False,
    )


def _facts(event: Event) -> LlmLine:
    said = event.data
    assert isinstance(said, LlmCalled)
    facts = {name: getattr(said, name) for name in LlmLine.model_fields if name in LlmCalled.model_fields}
    return LlmLine(time=event.time, elapsed_s=event.elapsed_s, **facts)


def _answer(reply: Reply | None) -> tuple[Said, ...]:
    return tuple(said for part in reply.parts if (said := _said("assistant", part))) if reply else ()


def _said(role: str, part: Part) -> Said | None:
    match part:
        case Thinking(text):
            return Said(role="thinking", text=cut(text)) if text else None
        case ToolCall() as call:
            arguments: Any = arguments_of(call)
            return Said(role="assistant", tool=call.name, text=as_text(arguments))
        case ToolResult() as result:
            return Said(role="tool", tool=result.name or result.id, text=cut(text_of(result.parts)))
        case Text(text) if not text.strip():
            return None
        case _:
            return Said(role=role, text=cut(text_of([part])))
