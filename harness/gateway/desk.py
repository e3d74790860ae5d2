"""What all calls of a run share: its backbone, account, record, places upstream; and what blocks, done in threads."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from harness.gateway.account import Account, Reservation, Spent, Wish
from harness.gateway.bound import PromptBounds
from harness.gateway.dialogue import TokenUsage
from harness.gateway.outage import Outages
from harness.gateway.recording import Exchange, Recording
from harness.gateway.redact import Redactor
from harness.gateway.retries import Retries
from harness.spec.errors import DojoError
from harness.spec.event import LlmRefused, Noted, Payload

if TYPE_CHECKING:
    from harness.gateway.server import GatewayContext, Pace

T = TypeVar("T")

# A client that waits for a stream is kept by a comment this often: some proxies and clients give up after a minute of silence.
KEEP_ALIVE_S = 10.0
# Faults told at most; the same one can be met with every call.
_TOLD = 100


class Desk:
    """Serves the calls of one run; all but its account lives in one event loop.

    Args:
        context: of the run.
        redactor: of its keys.
        account: of the run.
        on_error: told of what nobody foresaw.
        pace: clock, sleep and chance.
    """

    def __init__(
        self,
        context: GatewayContext,
        redactor: Redactor,
        account: Account,
        on_error: Callable[[DojoError], Any],
        pace: Pace,
    ) -> None:
        backbone = context.backbone
        self.backbone, self.name, self.grants = backbone, context.name, context.grants
        self.redactor, self.account, self.clock, self.elapsed = redactor, account, pace.clock, context.elapsed
        self.keep_alive_s = pace.keep_alive_s
        self.bounds = PromptBounds()
        self.places = asyncio.Semaphore(backbone.concurrency)
        self._blocking = ThreadPoolExecutor(4, f"gateway-{context.name[:20]}")
        self.outages = Outages(
            context.upstream.probe,
            context.elapsed,
            lambda: account.ledger.stalled_s,
            lambda outage: self.blocking(partial(account.outage, outage)),
            clock=pace.clock,
            sleep=pace.sleep,
        )
        self.retries = Retries(
            context.upstream, self.outages, backbone.attempts, backbone.timeout_s, pace.clock, pace.sleep, pace.jitter
        )
        self._emit, self._on_error = context.emit, on_error
        self._recording = Recording(context.recording, redactor)
        self._told_full = False
        self._faults = 0
        self._turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()

    async def blocking(self, work: Callable[[], T]) -> T:
        """Do what waits for a disk in a thread; begun work ends, whoever stops waiting for it."""
        return await asyncio.get_running_loop().run_in_executor(self._blocking, work)

    async def reserve(self, wish: Wish) -> Reservation:
        """Set aside room for a call. Where only calls that are not over hold what it wants, it waits its turn.

        Raises:
            Spent: the budget has no room.
            StoreError: the events cannot be written.
        """
        async with self._turn:
            while True:
                self._settled.clear()
                try:
                    return await self._reserved(wish)
                except Spent as spent:
                    if not spent.waiting:
                        raise
                await self._settled.wait()

    async def _reserved(self, wish: Wish) -> Reservation:
        work = asyncio.ensure_future(self.blocking(partial(self.account.reserve, wish)))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # the client left meanwhile: what was set aside for it is given back
            with contextlib.suppress(Exception):
                left = await work
                await self.finished(self._given_back(left))
            raise

    async def _given_back(self, left: Reservation) -> None:
        facts = {"status": 499, "error": "hung_up", "tries": 0}
        await self.blocking(partial(self.account.settle, left, TokenUsage(), free=True, **facts))
        self._settled.set()

    async def settle(
        self, reservation: Reservation, usage: TokenUsage, free: bool, facts: Mapping[str, Any], exchange: Callable[[], Exchange]
    ) -> None:
        """Charge a call and keep its exchange."""
        loop = asyncio.get_running_loop()

        def settled() -> None:
            try:
                self.account.settle(reservation, usage, free=free, **facts)
            finally:
                loop.call_soon_threadsafe(self._settled.set)
            self._record(exchange)

        await self.blocking(settled)

    def _record(self, exchange: Callable[[], Exchange]) -> None:
        try:
            kept = exchange()
            self._recording.write(kept.call, kept)
            if self._recording.full and not self._told_full:
                self._told_full = True
                self._emit(Noted(key="gateway", text="the record of the talk is full: later calls are kept as their hashes"))
        except (OSError, DojoError) as exc:
            self._tell(DojoError(f"a call could not be recorded: {exc}", hint="free disk space", code="record"))

    async def finished(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what must be done even if who waits for it is cancelled."""
        task = asyncio.ensure_future(self._careful(work))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    async def _careful(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as exc:
            # the reservation stays charged
            await self.unforeseen(exc, "settling a call")

    async def refuse(self, refused: LlmRefused) -> None:
        """Note a call that never went upstream."""
        await self.blocking(partial(self.account.refuse, self.redactor.payload(refused)))

    async def unforeseen(self, exc: BaseException, where: str) -> None:
        """Tell what nobody foresaw."""
        trace = "".join(traceback.format_exception(exc))[-4000:]
        told = exc if isinstance(exc, DojoError) else DojoError(f"{where}: {exc!r}\n{trace}", hint=_FAULT, code="internal")
        await self.blocking(partial(self._tell, told))

    def _tell(self, error: DojoError) -> None:
        if self._faults < _TOLD:
            self._faults += 1
            self._on_error(self.redactor.error(error))

    async def quiet(self) -> None:
        """Wait until nothing is being settled."""
        while self._settling:
            await asyncio.wait(self._settling)

    async def close(self) -> None:
        """Wait for what is being settled; nothing may be asked of the desk after."""
        await self.outages.close()
        await self.quiet()
        self._blocking.shutdown(wait=False)


_FAULT = "this is a fault of the gateway's, not the agent's"


def clean_emit(redactor: Redactor, emit: Callable[[Payload], Any]) -> Callable[[Payload], None]:
    """Return ``emit`` for payloads without keys."""

    def emitted(payload: Payload) -> None:
        emit(redactor.payload(payload))

    return emitted
