"""What a run has spent at its backbone, folded from its events: the one book for all wire formats and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from harness.spec.event import LlmCalled, LlmOutage, LlmRefused, LlmReserved

_NONE: Mapping[int, LlmReserved] = MappingProxyType({})


@dataclass(frozen=True)
class Ledger:
    """Settled calls summed up, open ones by number.

    Attributes:
        last: the highest call number so far.
        open: calls that were set aside for and not settled yet. One that a crash left open stays charged at its reservation.
        tokens: charged for settled calls; ``output_tokens`` of these for answers.
        answered: settled calls that the upstream answered.
        refused: calls that never went upstream.
        outages: (start on the budget clock, seconds) in which the backbone was down by the gateway's own probe.
    """

    last: int = 0
    open: Mapping[int, LlmReserved] = field(default_factory=lambda: _NONE)
    calls: int = 0
    answered: int = 0
    refused: int = 0
    tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    outages: tuple[tuple[float, float], ...] = ()

    def after(self, said: LlmReserved | LlmCalled | LlmRefused | LlmOutage) -> Ledger:
        """Return the ledger with one more event."""
        match said:
            case LlmReserved():
                return replace(self, last=max(self.last, said.call), open=MappingProxyType({**self.open, said.call: said}))
            case LlmCalled():
                left = {call: reserved for call, reserved in self.open.items() if call != said.call}
                return replace(
                    self,
                    last=max(self.last, said.call),
                    open=MappingProxyType(left),
                    calls=self.calls + 1,
                    answered=self.answered + (200 <= said.status < 300),
                    tokens=self.tokens + said.tokens,
                    output_tokens=self.output_tokens + said.charged_output,
                    dollars=self.dollars + said.dollars,
                )
            case LlmRefused():
                return replace(self, refused=self.refused + 1)
            case LlmOutage():
                return replace(self, outages=(*self.outages, (said.at_s, said.seconds)))

    def without(self, call: int) -> Ledger:
        """Return the ledger without a reservation that never became an event."""
        return replace(self, open=MappingProxyType({number: held for number, held in self.open.items() if number != call}))

    @property
    def spent_tokens(self) -> int:
        """Charged tokens, open calls at their reservation."""
        return self.tokens + sum(reserved.tokens for reserved in self.open.values())

    @property
    def spent_output_tokens(self) -> int:
        """Charged tokens of answers, open calls at their reservation."""
        return self.output_tokens + sum(reserved.output_tokens for reserved in self.open.values())

    @property
    def spent_dollars(self) -> float:
        """Charged dollars, open calls at their reservation."""
        return self.dollars + sum(reserved.dollars for reserved in self.open.values())

    @property
    def requests(self) -> int:
        """Calls that went upstream, open ones too."""
        return self.calls + len(self.open)

    @property
    def stalled_s(self) -> float:
        """Seconds the backbone was down. One gateway serves a run at a time and tells its outages one after the other."""
        return sum(seconds for _, seconds in self.outages)
