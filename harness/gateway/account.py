"""What a run may still spend at its backbone: every call is reserved at its worst before it goes upstream, and settled after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.gateway import costs
from harness.gateway.dialogue import TokenUsage
from harness.gateway.ledger import Ledger
from harness.spec.backbone import Prices
from harness.spec.budget import Budget
from harness.spec.event import LlmCalled, LlmOutage, LlmRefused, LlmReserved, Payload

# Refusals told as events; an agent can make as many as it likes, and each is a line on disk.
_TOLD = 1000


class Spent(Exception):
    """The budget has no room for a call.

    Attributes:
        dimension: of the budget that has none.
        message: a sentence for the agent.
        waiting: calls that are not over yet may leave room when they are.
    """

    def __init__(self, dimension: str, message: str, *, waiting: bool) -> None:
        super().__init__(message)
        self.dimension, self.message, self.waiting = dimension, message, waiting


@dataclass(frozen=True)
class Wish:
    """What a call may take.

    Attributes:
        prompt: upper bound of its tokens.
        output: tokens of its answer that are wanted at most, all choices together.
        choices: answers asked for; each needs a token at least.
        request: hash of the canonical request.
    """

    prompt: int
    output: int
    choices: int = 1
    request: str = ""


@dataclass(frozen=True)
class Reservation:
    """Room that was set aside; ``output`` is the cap of the answer, ``prompt`` the bound of the rest."""

    call: int
    prompt: int
    output: int
    dollars: float
    request: str


class Account:
    """One run's account, for all its wire formats. Methods may be called from any thread; ``emit`` is called outside the lock.

    A reservation counts before its event is on disk and a settlement only after: whatever a crash leaves is on the safe side.

    Args:
        budget: what the run may spend.
        prices: of the model; needed where dollars are limited.
        ledger: folded from the run's events so far. What is open there was left by a crash and stays charged.
        emit: makes an event durable.
        full: whether there is no room for further calls where they are recorded.
    """

    def __init__(
        self,
        budget: Budget,
        prices: Prices | None,
        ledger: Ledger,
        emit: Callable[[Payload], Any],
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._budget, self._prices, self._emit, self._full = budget, prices, emit, full
        self._ledger = ledger
        self._live: set[int] = set()
        self._lock = threading.Lock()

    @property
    def ledger(self) -> Ledger:
        """Return what is spent now."""
        return self._ledger

    @property
    def limited(self) -> bool:
        """Whether the length of an answer matters to the budget."""
        budget = self._budget
        return budget.tokens is not None or budget.output_tokens is not None or budget.dollars is not None

    def reserve(self, wish: Wish) -> Reservation:
        """Set aside room for a call, its answer capped to what is left.

        Raises:
            Spent: there is no room for one token of each choice, or other calls hold what this one wants.
            StoreError: the event cannot be written; nothing is set aside then.
        """
        if self._full():
            raise Spent("requests", "the run's record is full, and no call goes unrecorded", waiting=False)
        with self._lock:
            output = self._room(wish)
            number = self._ledger.last + 1
            reserved = LlmReserved(
                call=number,
                tokens=wish.prompt + output,
                output_tokens=output,
                dollars=costs.worst(self._prices, wish.prompt, output),
                request=wish.request,
            )
            before = self._ledger
            self._ledger = before.after(reserved)
            self._live.add(number)
        try:
            self._emit(reserved)
        except BaseException:
            with self._lock:
                self._ledger = self._ledger.without(number)
                self._live.discard(number)
            raise
        return Reservation(number, wish.prompt, output, reserved.dollars, wish.request)

    def settle(self, reservation: Reservation, usage: TokenUsage, *, free: bool = False, **facts: Any) -> LlmCalled:
        """Charge what a call took: as reported, the side that was not reported as reserved.

        Args:
            reservation: of the call.
            usage: as the upstream reported it.
            free: the upstream certainly did nothing for it; what was not reported is 0 then.
            facts: further fields of the event.
        """
        prompt = (0 if free else reservation.prompt) if usage.input is None else usage.input
        output = (0 if free else reservation.output) if usage.output is None else usage.output
        cost = costs.dollars(self._prices, usage)
        cost += costs.worst(self._prices, prompt if usage.input is None else 0, output if usage.output is None else 0)
        beyond = prompt + output - reservation.prompt - reservation.output
        called = LlmCalled(
            call=reservation.call,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cached_tokens=usage.cached,
            cache_write_tokens=usage.cache_write,
            reasoning_tokens=usage.reasoning,
            tokens=prompt + output,
            charged_output=output,
            dollars=cost,
            request=reservation.request,
            **facts,
            **({"beyond_reservation": beyond} if beyond > 0 else {}),
        )
        self._emit(called)
        with self._lock:
            self._ledger = self._ledger.after(called)
            self._live.discard(reservation.call)
        return called

    def refuse(self, refused: LlmRefused) -> None:
        """Count a call that never went upstream, and tell the first thousand of them."""
        with self._lock:
            self._ledger = self._ledger.after(refused)
            told = self._ledger.refused <= _TOLD
        if told:
            self._emit(refused)

    def outage(self, outage: LlmOutage) -> None:
        """Note a time in which the backbone was down."""
        self._emit(outage)
        with self._lock:
            self._ledger = self._ledger.after(outage)

    def _room(self, wish: Wish) -> int:
        """Return the cap of the answer; the lock is held."""
        ledger, budget = self._ledger, self._budget
        live = bool(self._live)
        if budget.requests is not None and ledger.requests >= budget.requests:
            raise Spent("requests", f"all {budget.requests} requests of the run's budget are used", waiting=False)
        rooms: list[tuple[int, str, str]] = []
        if budget.tokens is not None:
            left = budget.tokens - ledger.spent_tokens
            rooms.append((left - wish.prompt, "tokens", f"{max(0, left)} of {budget.tokens} tokens are left"))
        if budget.output_tokens is not None:
            left = budget.output_tokens - ledger.spent_output_tokens
            rooms.append((left, "output_tokens", f"{max(0, left)} of {budget.output_tokens} output tokens are left"))
        if budget.dollars is not None and self._prices is not None:
            rest = budget.dollars - ledger.spent_dollars
            words = f"{max(0.0, rest):.6f} of {budget.dollars:g} dollars are left"
            rooms.append((costs.affordable(self._prices, wish.prompt, rest), "dollars", words))
        if not rooms:
            return wish.output
        room, dimension, words = min(rooms)
        if room < wish.output and live:
            raise Spent(dimension, words, waiting=True)
        if room < wish.choices:
            need = f"this call may take {wish.prompt} for its prompt and needs {wish.choices} for its answer"
            raise Spent(dimension, f"the run's budget is spent: {words}; {need}", waiting=False)
        return min(wish.output, room)
