"""The calls of a run sorted into conversations, and each conversation into steps.

Agents send their whole history with every call, hold several conversations at once (sub-agents, titles, summaries) and rewrite
histories when these grow too long. A call belongs to the conversation whose last request it repeats; only what is new is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.export.spool import Spool
from harness.export.steps import Draft, cut, cut_values, system
from harness.export.turns import Turn, arguments_of, message_id, part_id, text_of
from harness.gateway.dialogue import Ask, Message, Part, Reply, Text, Thinking, ToolCall, ToolResult
from harness.spec.event import LlmCalled

# Conversations that are kept apart. An agent that opens more (a title for each command) has the rest told in one.
TALKS = 200
# Deeds told inside the step whose reply led to them.
_DEEDS_A_STEP = 50
# A sub-agent's first message is looked for in the arguments of the call that started it; a shorter one proves nothing.
_TELLING = 20


@dataclass
class Talk:
    """One conversation on its way into steps."""

    key: str
    tools: frozenset[str] = frozenset()
    system: str = ""
    history: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)
    open: Draft | None = None
    waits: list[str] = field(default_factory=list)
    begun_by: tuple[str, str] | None = None
    calls: int = 0
    with_tools: int = 0
    last: datetime | None = None
    totals: dict[str, float] = field(default_factory=dict)
    unknown: int = 0
    refs: dict[str, str] = field(default_factory=dict)


class Talks:
    """Takes a run's calls and deeds in the order of time and puts steps into a spool, each conversation's under its key."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.talks: list[Talk] = []

    def take(self, turn: Turn) -> None:
        """Tell one call."""
        talk = self._talk_of(turn.ask)
        talk.last = turn.answered
        if turn.ask is not None:
            self._tell_request(talk, turn, turn.ask)
        self._close(talk)
        talk.calls += 1
        talk.with_tools += bool(turn.ask and turn.ask.tools)
        if turn.reply is None or turn.status >= 400:
            error = (turn.called and turn.called.error) or "no answer"
            self._spool.put(
                talk.key, system(turn.answered, f"call {turn.call} failed with status {turn.status}: {error}", call=turn.call)
            )
            return
        self._tell_reply(talk, turn, turn.reply)

    def attach(self, draft: Draft) -> bool:
        """Tell a deed inside the step that led to it: the newest reply that waits for its tools; say whether there is one."""
        waiting = [talk for talk in self.talks if talk.open is not None and (talk.waits or not talk.tools)]
        if not waiting:
            return False
        talk = max(waiting, key=lambda talk: talk.last or draft.time)
        assert talk.open is not None
        extra = talk.open.body["extra"]
        deeds = extra.setdefault("deeds", [])
        if len(deeds) >= _DEEDS_A_STEP:
            extra["more_deeds"] = extra.get("more_deeds", 0) + 1
        else:
            deeds.append(_briefly(draft))
        return True

    def end(self) -> None:
        """Tell what is still open."""
        for talk in self.talks:
            self._close(talk)

    def main(self) -> Talk | None:
        """Return the conversation that did the work: the one with most calls that could use tools."""
        return max(self.talks, key=lambda talk: (talk.with_tools, talk.calls), default=None)

    # Finding the conversation

    def _talk_of(self, ask: Ask | None) -> Talk:
        if ask is None:
            return self.talks[-1] if self.talks else self._begin(Talk("talk-1"))
        tools, prompt = frozenset(tool.name for tool in ask.tools), _system(ask)
        ids = [message_id(message) for message in ask.messages if message.role != "system"]
        best, longest = None, 0
        for talk in self.talks:
            shared = _shared(talk.history, ids)
            alike = talk.tools == tools and (talk.system == prompt or shared >= 2)
            goes_on = shared >= 2 and shared == len(talk.history)
            if shared >= max(longest, 1) and (alike or goes_on):
                best, longest = talk, shared
        if best is not None:
            return best
        origin = self._origin(ask)
        if origin is None and tools:
            # the same agent with a history that begins anew has summed it up; a sub-agent has a call that began it
            for talk in reversed(self.talks):
                if talk.tools == tools and talk.system == prompt:
                    return talk
        if len(self.talks) >= TALKS:
            return self.talks[-1]
        return self._begin(Talk(f"talk-{len(self.talks) + 1}", tools, prompt, begun_by=origin))

    def _begin(self, talk: Talk) -> Talk:
        self.talks.append(talk)
        if talk.begun_by is not None:
            parent, call_id = talk.begun_by
            next(found for found in self.talks if found.key == parent).refs[call_id] = talk.key
        return talk

    def _origin(self, ask: Ask) -> tuple[str, str] | None:
        """Return the conversation and the tool call that began this one: it holds the first words said here."""
        first = next((text_of(message.parts) for message in ask.messages if message.role == "user"), "").strip()
        if len(first) < _TELLING:
            return None
        for talk in reversed(self.talks):
            for call in talk.open.body.get("tool_calls", ()) if talk.open is not None else ():
                texts = [value.strip() for value in call["arguments"].values() if isinstance(value, str)]
                if any(len(text) >= _TELLING and text in first for text in texts):
                    return talk.key, call["tool_call_id"]
        return None

    # Telling a call

    def _tell_request(self, talk: Talk, turn: Turn, ask: Ask) -> None:
        if not talk.calls and (prompt := _system(ask)):
            self._spool.put(talk.key, system(turn.asked, prompt, call=turn.call))
        messages = [message for message in ask.messages if message.role != "system"]
        ids = [message_id(message) for message in messages]
        shared = _shared(talk.history, ids)
        rewritten = shared < len(talk.history)
        for message in messages[shared:]:
            parts = [part for part in message.parts if not (rewritten and part_id(part) in talk.seen)]
            if message.role == "assistant":
                self._tell_copied(talk, turn, message, parts)
            else:
                self._tell_user(talk, turn, parts)
        talk.history = ids
        talk.seen.update(part_id(part) for message in messages for part in message.parts)

    def _tell_copied(self, talk: Talk, turn: Turn, message: Message, parts: list[Part]) -> None:
        """Tell words that are put into the model's mouth; what it said itself has a step of its own."""
        if talk.calls and (not parts or talk.open is not None or part_id(message.parts[0]) in talk.said):
            return
        calls = [f"[calls {part.name}: {part.arguments}]" for part in parts if isinstance(part, ToolCall)]
        text = "\n".join(piece for piece in (text_of(parts), *calls) if piece)
        if text:
            self._spool.put(
                talk.key, Draft(turn.asked, "agent", cut(text), {"is_copied_context": True, "extra": {"call": turn.call}})
            )

    def _tell_user(self, talk: Talk, turn: Turn, parts: list[Part]) -> None:
        loose = []
        for part in parts:
            if isinstance(part, ToolResult) and not self._observe(talk, part):
                loose.append({"content": cut(text_of(part.parts)), "extra": {"tool_call_id": part.id}})
        if loose:
            body = {"observation": {"results": loose}, "extra": {"call": turn.call}}
            self._spool.put(talk.key, Draft(turn.asked, "system", "", body))
        text = text_of(parts)
        if text.strip():
            self._close(talk)
            self._spool.put(talk.key, Draft(turn.asked, "user", cut(text), {"extra": {"call": turn.call}}))

    def _observe(self, talk: Talk, result: ToolResult) -> bool:
        """Put a tool's result into the step that called it; say whether that step waits for it."""
        if talk.open is None or result.id not in talk.waits:
            return False
        talk.waits.remove(result.id)
        found: dict[str, Any] = {"source_call_id": result.id, "content": cut(text_of(result.parts))}
        if result.id in talk.refs:
            found["subagent_trajectory_ref"] = [{"trajectory_id": talk.refs.pop(result.id)}]
        if result.is_error:
            found["extra"] = {"is_error": True}
        talk.open.body.setdefault("observation", {"results": []})["results"].append(found)
        return True

    def _tell_reply(self, talk: Talk, turn: Turn, reply: Reply) -> None:
        calls = [part for part in reply.parts if isinstance(part, ToolCall)]
        ids = [call.id or f"call-{turn.call}-{number}" for number, call in enumerate(calls, start=1)]
        thinking = "\n".join(part.text for part in reply.parts if isinstance(part, Thinking) and part.text)
        called = turn.called
        body: dict[str, Any] = {"llm_call_count": 1}
        if model := (called.served if called and called.served else reply.model):
            body["model_name"] = model
        if thinking:
            body["reasoning_content"] = cut(thinking)
        if calls:
            body["tool_calls"] = [
                {"tool_call_id": call_id, "function_name": call.name, "arguments": cut_values(arguments_of(call))}
                for call_id, call in zip(ids, calls, strict=True)
            ]
        if metrics := self._metrics(talk, called, reply):
            body["metrics"] = metrics
        body["extra"] = {"call": turn.call, "stop": reply.stop, **({"format": turn.format} if turn.format else {})}
        if called is not None:
            body["extra"] |= {"latency_s": called.latency_s, "first_s": called.first_s, "waited_s": called.waited_s}
        text = "\n".join(part.text for part in reply.parts if isinstance(part, Text))
        talk.open, talk.waits = Draft(turn.answered, "agent", cut(text), body), ids
        talk.said.update(part_id(part) for part in reply.parts)

    def _metrics(self, talk: Talk, called: LlmCalled | None, reply: Reply) -> dict[str, Any]:
        """Return a call's tokens and costs: prompt tokens with the cached ones, as the format counts them."""
        usage = reply.usage
        known = {
            "prompt_tokens": called.input_tokens if called else usage.input,
            "completion_tokens": called.output_tokens if called else usage.output,
            "cached_tokens": called.cached_tokens if called else usage.cached,
            "cost_usd": called.dollars if called and called.dollars else None,
        }
        metrics: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        for name, value in metrics.items():
            talk.totals[name] = talk.totals.get(name, 0) + value
        talk.unknown += known["prompt_tokens"] is None or known["completion_tokens"] is None
        reasoning = called.reasoning_tokens if called else usage.reasoning
        if reasoning is not None:
            metrics["extra"] = {"reasoning_tokens": reasoning}
        return metrics

    def _close(self, talk: Talk) -> None:
        """Put the open step into the spool. Sub-agents whose result never came are named still."""
        if talk.open is None:
            return
        for call_id in [call_id for call_id in talk.waits if call_id in talk.refs]:
            ref = {"source_call_id": call_id, "subagent_trajectory_ref": [{"trajectory_id": talk.refs.pop(call_id)}]}
            talk.open.body.setdefault("observation", {"results": []})["results"].append(ref)
        self._spool.put(talk.key, talk.open)
        talk.open, talk.waits = None, []


def _system(ask: Ask) -> str:
    return "\n\n".join(text_of(message.parts) for message in ask.messages if message.role == "system")


def _shared(history: Iterable[str], ids: Iterable[str]) -> int:
    """Return how many messages two histories begin with in common."""
    count = 0
    for old, new in zip(history, ids, strict=False):
        if old != new:
            break
        count += 1
    return count


def _briefly(draft: Draft) -> dict[str, Any]:
    """Return a deed in a line: its step's own words stand in the observation of the tool that did it."""
    call = next(iter(draft.body.get("tool_calls", ())), None)
    told = dict(draft.body.get("extra", {}))
    if call is None:
        return {"name": "note", "text": cut(draft.message, 2_000), **told}
    result = draft.body["observation"]["results"][0]["content"]
    return {
        "name": call["function_name"],
        "arguments": cut_values(call["arguments"], 2_000),
        "result": cut(result, 2_000),
        **told,
    }
