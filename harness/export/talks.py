"""The calls of a run as steps of conversations; of each request only what is new is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.export.spool import Spool
from harness.export.steps import Draft, cut, cut_values, system
from harness.export.threads import News, Thread, Threads
from harness.export.turns import Turn, arguments_of, part_id, text_of
from harness.gateway.dialogue import Message, Part, Reply, Text, Thinking, ToolCall, ToolResult
from harness.spec.event import LlmCalled

# Deeds told inside the step whose reply led to them.
_DEEDS_A_STEP = 50
# A sub-agent's first message is looked for in the arguments of the call that started it; a shorter one proves nothing.
_TELLING = 20


@dataclass
class Talk:
    """One conversation on its way into steps.

    Attributes:
        open: its last reply, which waits for the results of the tools it called (``waits``).
        said: ids of all parts of its replies.
        refs: tool call → the conversation it began.
        totals: sums of what the calls cost; ``unknown`` calls are in none of them.
    """

    thread: Thread
    open: Draft | None = None
    waits: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    refs: dict[str, str] = field(default_factory=dict)
    last: datetime | None = None
    answers: int = 0
    with_tools: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    unknown: int = 0

    @property
    def key(self) -> str:
        """Its name in the spool and, as a side conversation, its trajectory id."""
        return self.thread.key


class Talks:
    """Takes a run's calls and deeds in the order of time and puts steps into a spool, each conversation's under its key."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._threads = Threads(self._origin)
        self._talks: dict[str, Talk] = {}

    @property
    def talks(self) -> list[Talk]:
        """All conversations, in the order of their first calls."""
        return list(self._talks.values())

    def take(self, turn: Turn) -> None:
        """Tell one call."""
        news = self._threads.take(turn.ask)
        talk = self._talk_of(news)
        talk.last = turn.answered
        self._tell_request(talk, turn, news)
        self._close(talk)
        talk.with_tools += bool(turn.ask and turn.ask.tools)
        if turn.reply is None or turn.status >= 400:
            error = (turn.called and turn.called.error) or "no answer"
            words = f"call {turn.call} failed with status {turn.status}: {error}"
            self._spool.put(talk.key, system(turn.answered, words, call=turn.call))
            return
        self._tell_reply(talk, turn, turn.reply)

    def attach(self, draft: Draft) -> bool:
        """Tell a deed inside the step that led to it: the newest reply that waits for its tools; say whether there is one."""
        waiting = [talk for talk in self.talks if talk.open is not None and (talk.waits or not talk.thread.tools)]
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
        return max(self.talks, key=lambda talk: (talk.with_tools, talk.thread.calls), default=None)

    def _talk_of(self, news: News) -> Talk:
        thread = news.thread
        if thread.key not in self._talks:
            self._talks[thread.key] = Talk(thread)
            if thread.begun_by is not None:
                parent, call_id = thread.begun_by
                self._talks[parent].refs[call_id] = thread.key
        return self._talks[thread.key]

    def _origin(self, first: str) -> tuple[str, str] | None:
        """Return the conversation and the tool call that began another: its arguments hold the first words said there."""
        if len(first) < _TELLING:
            return None
        for talk in reversed(self.talks):
            for call in talk.open.body.get("tool_calls", ()) if talk.open is not None else ():
                texts = [value.strip() for value in call["arguments"].values() if isinstance(value, str)]
                if any(len(text) >= _TELLING and text in first for text in texts):
                    return talk.key, call["tool_call_id"]
        return None

    def _tell_request(self, talk: Talk, turn: Turn, news: News) -> None:
        if news.system:
            self._spool.put(talk.key, system(turn.asked, news.system, call=turn.call))
        for message, parts in news.fresh:
            if message.role == "assistant":
                self._tell_copied(talk, turn, message, parts)
            else:
                self._tell_user(talk, turn, parts)

    def _tell_copied(self, talk: Talk, turn: Turn, message: Message, parts: tuple[Part, ...]) -> None:
        """Tell words that are put into the model's mouth; what it said itself has a step of its own."""
        if talk.answers and (talk.open is not None or part_id(message.parts[0]) in talk.said):
            return
        calls = [f"[calls {part.name}: {part.arguments}]" for part in parts if isinstance(part, ToolCall)]
        text = "\n".join(piece for piece in (text_of(parts), *calls) if piece)
        if text:
            self._spool.put(
                talk.key, Draft(turn.asked, "agent", cut(text), {"is_copied_context": True, "extra": {"call": turn.call}})
            )

    def _tell_user(self, talk: Talk, turn: Turn, parts: tuple[Part, ...]) -> None:
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
        talk.answers += 1
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
