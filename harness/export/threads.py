"""Which conversation a call belongs to, and what is new in it.

Agents send their whole history with every call, hold several conversations at once (sub-agents, titles, summaries) and rewrite
histories when these grow too long. A call belongs to the conversation whose last request it repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.export.turns import message_id, part_id, text_of
from harness.gateway.dialogue import Ask, Message, Part

# Conversations that are kept apart. An agent that opens more (a title for each command) has the rest told in one.
THREADS = 200

Origin = Callable[[str], tuple[str, str] | None]
"""Finds the conversation and the tool call that began a new one, by its first words."""


@dataclass
class Thread:
    """One conversation.

    Attributes:
        key: "talk-1" and so on, in the order of their first calls.
        history: ids of the messages of its last request.
        seen: ids of all parts of its requests so far.
        begun_by: conversation and tool call that began it, where that is known.
        calls: made in it so far.
    """

    key: str
    tools: frozenset[str] = frozenset()
    system: str = ""
    history: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    begun_by: tuple[str, str] | None = None
    calls: int = 0


@dataclass(frozen=True)
class News:
    """What a call adds to its conversation: messages with those of their parts that were not sent before."""

    thread: Thread
    fresh: tuple[tuple[Message, tuple[Part, ...]], ...] = ()
    system: str = ""


class Threads:
    """Sorts calls into conversations, in the order they were made."""

    def __init__(self, origin: Origin | None = None) -> None:
        self.all: list[Thread] = []
        self._origin = origin or (lambda _first: None)

    def take(self, ask: Ask | None) -> News:
        """Return the conversation of a call and what is new in it; of a call that nobody can read, the newest and nothing."""
        if ask is None:
            thread = self.all[-1] if self.all else self._begin(Thread("talk-1"))
            thread.calls += 1
            return News(thread)
        messages = [message for message in ask.messages if message.role != "system"]
        ids = [message_id(message) for message in messages]
        thread = self._thread_of(ask, ids)
        shared = _shared(thread.history, ids)
        rewritten = shared < len(thread.history)
        fresh = []
        for message in messages[shared:]:
            parts = tuple(part for part in message.parts if not (rewritten and part_id(part) in thread.seen))
            if parts:
                fresh.append((message, parts))
        news = News(thread, tuple(fresh), system_of(ask) if not thread.calls else "")
        thread.history = ids
        thread.seen.update(part_id(part) for message in messages for part in message.parts)
        thread.calls += 1
        return news

    def _thread_of(self, ask: Ask, ids: list[str]) -> Thread:
        tools, prompt = frozenset(tool.name for tool in ask.tools), system_of(ask)
        best, longest = None, 0
        for thread in self.all:
            shared = _shared(thread.history, ids)
            alike = thread.tools == tools and (thread.system == prompt or shared >= 2)
            goes_on = shared >= 2 and shared == len(thread.history)
            if shared >= max(longest, 1) and (alike or goes_on):
                best, longest = thread, shared
        if best is not None:
            return best
        origin = self._origin(next((text_of(message.parts) for message in ask.messages if message.role == "user"), "").strip())
        if origin is None and tools:
            # the same agent with a history that begins anew has summed it up; a sub-agent has a call that began it
            for thread in reversed(self.all):
                if thread.tools == tools and thread.system == prompt:
                    return thread
        if len(self.all) >= THREADS:
            return self.all[-1]
        return self._begin(Thread(f"talk-{len(self.all) + 1}", tools, prompt, begun_by=origin))

    def _begin(self, thread: Thread) -> Thread:
        self.all.append(thread)
        return thread


def system_of(ask: Ask) -> str:
    """Return a request's system prompt."""
    return "\n\n".join(text_of(message.parts) for message in ask.messages if message.role == "system")


def _shared(history: Iterable[str], ids: Iterable[str]) -> int:
    """Return how many messages two histories begin with in common."""
    count = 0
    for old, new in zip(history, ids, strict=False):
        if old != new:
            break
        count += 1
    return count
