"""An upstream that says what was said in a recorded run, to requests that are the same."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from harness.gateway.dialogue import Failure, Reply
from harness.gateway.recording import Exchange, Recording
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed
from harness.gateway.upstreams.speaking import answer_of, ask_of, failed, slowly
from harness.spec.backbone import BackboneRef
from harness.spec.errors import MissingError
from harness.store.run_dir import RunDir


class ReplayUpstream:
    """Answers with what a run was answered. A request that was made several times gets its answers in turn, then the last again.

    Args:
        exchanges: the recorded talk.
        run: whose, for errors.
    """

    def __init__(self, exchanges: Iterable[Exchange], run: str) -> None:
        self._run = run
        self._known: dict[str, list[Exchange]] = defaultdict(list)
        self._given: Counter[str] = Counter()
        for exchange in exchanges:
            self._known[exchange.request].append(exchange)

    async def send(self, call: Call) -> Answer:
        """Answer with what was recorded; see `Upstream.send`."""
        recorded = self._known.get(call.request)
        if not recorded:
            message = (
                f"run {self._run} never made this request ({call.request[:12]}), so its recorded talk has no answer: "
                "a replay answers only the same agent doing the same"
            )
            raise failed(call.format, Failure(404, "not_recorded", message))
        turn = self._given[call.request]
        self._given[call.request] += 1
        exchange = recorded[min(turn, len(recorded) - 1)]
        if not 200 <= exchange.status < 300:
            message = f"run {self._run} was answered {exchange.status} here"
            # what was an error then is one now, and trying again would not change it
            raise UpstreamFailed("refused", message, status=exchange.status, body=exchange.answer)
        if exchange.format == call.format and exchange.stream == call.stream and not exchange.cut:
            kind = "text/event-stream" if call.stream else "application/json"
            return Answer(slowly([exchange.answer], 0), {"content-type": kind})
        return answer_of(self._reply(exchange, call), ask_of(call), call.format)

    async def probe(self) -> None:
        """A talk that was read always answers."""

    async def close(self) -> None:
        """Nothing is held."""

    def _reply(self, exchange: Exchange, call: Call) -> Reply:
        if exchange.reply is None:
            message = f"the answer of call {exchange.call} of run {self._run} was too long to be kept whole"
            raise failed(call.format, Failure(404, "not_recorded", message))
        return exchange.reply


def open_replay(run: str, folder: Path) -> ReplayUpstream:
    """Return what plays the talk of the run in ``folder``.

    Raises:
        MissingError: it has none.
    """
    exchanges = list(_recording(folder).read())
    if not exchanges:
        raise _silent(folder)
    return ReplayUpstream(exchanges, run)


def recorded_ref(folder: Path) -> BackboneRef:
    """Return the backbone that the run in ``folder`` talked to.

    Raises:
        MissingError: it had none.
    """
    ref = RunDir(folder).spec().backbone
    if ref is None:
        raise _silent(folder)
    return ref


def talk_digest(folder: Path) -> str:
    """Return the SHA-256 of what the run in ``folder`` asked and was answered, in order.

    Raises:
        MissingError: nothing is recorded.
    """
    digest, calls = hashlib.sha256(), 0
    for exchange in _recording(folder).read():
        digest.update(f"{exchange.request} {exchange.status} {hashlib.sha256(exchange.answer).hexdigest()}\n".encode())
        calls += 1
    if not calls:
        raise _silent(folder)
    return digest.hexdigest()


def _recording(folder: Path) -> Recording:
    talk = RunDir(folder).talk
    if not talk.is_dir():
        raise _silent(folder)
    return Recording(talk)


def _silent(folder: Path) -> MissingError:
    return MissingError(f"run {folder.name} has no recorded talk", hint="replay a run that thought with a backbone")
