"""An upstream that answers from a file of replies: agents, and everything around them, run without a model."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from harness.gateway.dialogue import Ask, Failure
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed
from harness.gateway.upstreams.script import Script, ScriptedReply
from harness.gateway.upstreams.speaking import answer_of, ask_of, failed, newest_words, reply_of, slowly, turns


class ScriptedUpstream:
    """Answers by a script. What it says depends on the request alone, but for tries that ``times`` counts.

    Args:
        script: the replies.
        name: of the script, for errors.
    """

    def __init__(self, script: Script, name: str) -> None:
        self._script, self._name = script, name
        self._tries: Counter[int] = Counter()

    async def send(self, call: Call) -> Answer:
        """Answer with the reply whose turn it is; see `Upstream.send`."""
        ask = ask_of(call)
        scripted = self.reply_for(ask, call.number)
        if scripted.first_delay_s:
            await asyncio.sleep(scripted.first_delay_s)
        if scripted.fails:
            self._tries[call.number] += 1
            if scripted.times is None or self._tries[call.number] <= scripted.times:
                raise self._failure(scripted, call)
        if scripted.raw is not None:
            kind = "text/event-stream" if call.stream else "application/json"
            return Answer(slowly([scripted.raw.encode()], scripted.delay_s), {"content-type": kind})
        return answer_of(reply_of(scripted, ask, str(call.number)), ask, call.format, delay_s=scripted.delay_s)

    def reply_for(self, ask: Ask, number: int) -> ScriptedReply:
        """Return whose turn it is: a reply whose ``when`` is found first, then ``otherwise``, then by the script's order."""
        words = newest_words(ask)
        for scripted in self._script.replies:
            if scripted.when and re.search(scripted.when, words):
                return scripted
        if self._script.otherwise is not None and not ask.tools:
            return self._script.otherwise
        in_turn = [scripted for scripted in self._script.replies if not scripted.when]
        place = turns(ask) if self._script.order == "dialogue" else max(0, number - 1)
        return in_turn[place] if place < len(in_turn) else self._script.last

    async def probe(self) -> None:
        """A script that was read always works."""

    async def close(self) -> None:
        """Nothing is held."""

    def _failure(self, scripted: ScriptedReply, call: Call) -> UpstreamFailed:
        message = scripted.text or f"{self._name} answers with status {scripted.status}"
        failure = failed(call.format, Failure(scripted.status, scripted.code, message, scripted.retry_after_s))
        if scripted.raw is not None:
            failure.body = scripted.raw.encode()
        return failure
