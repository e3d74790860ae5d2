"""Attacks that the sandbox contract tries already: its promises are the evidence."""

from __future__ import annotations

from harness.attack.base import Attack, DoesNotApply, NotStopped, Where
from harness.attack.ground import Ground
from harness.sandbox.base import not_promised
from harness.sandbox.contract import PROMISES, PromiseBroken

_BY_NAME = {promise.name: promise for promise in PROMISES}


def promised(row: int, name: str, tried: str, stopped_by: str, *promises: str) -> Attack:
    """Return an attack that plays promises of the contract; one that is broken was not stopped."""
    chosen = [_BY_NAME[promise] for promise in promises]  # a promise that was renamed is seen at import

    def play(ground: Ground) -> str:
        without = not_promised(ground.backend)
        kept = [promise for promise in chosen if promise.group not in without]
        beside = "; ".join(f"{p.name} is not promised: {without[p.group]}" for p in chosen if p.group in without)
        if not kept:
            raise DoesNotApply(beside)
        for promise in kept:
            try:
                promise.check(ground.stage)
            except PromiseBroken as exc:
                raise NotStopped(f"the promise {promise} is broken: {exc}") from exc
        return "; ".join(filter(None, (f"kept: {', '.join(promise.name for promise in kept)}", beside)))

    return Attack(row, name, Where.SANDBOX, tried, stopped_by, play)
