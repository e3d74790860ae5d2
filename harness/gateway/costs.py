"""What calls cost at a model's prices: as reported, at worst, and what an amount pays for."""

from __future__ import annotations

from harness.gateway.dialogue import TokenUsage
from harness.spec.backbone import Prices

_MILLION = 1_000_000


def dollars(prices: Prices | None, usage: TokenUsage) -> float:
    """Return what reported tokens cost; unknown ones cost nothing here (the account charges them as reserved)."""
    if prices is None:
        return 0.0
    cached = min(usage.cached or 0, usage.input or 0)
    written = min(usage.cache_write or 0, (usage.input or 0) - cached)
    plain = (usage.input or 0) - cached - written
    cached_price = prices.input if prices.cached is None else prices.cached
    write_price = prices.input if prices.cache_write is None else prices.cache_write
    cost = plain * prices.input + cached * cached_price + written * write_price + (usage.output or 0) * prices.output
    return cost / _MILLION


def worst(prices: Prices | None, prompt: int, output: int) -> float:
    """Return what so many tokens cost at most."""
    if prices is None:
        return 0.0
    dearest = max(prices.input, prices.cache_write or 0.0, prices.cached or 0.0)
    return (prompt * dearest + output * prices.output) / _MILLION


def affordable(prices: Prices, prompt: int, left: float) -> int:
    """Return the tokens of answer that ``left`` dollars pay for at most after a prompt; below 0: not even that."""
    rest = left - worst(prices, prompt, 0)
    if rest < 0:
        return -1
    return int(rest * _MILLION / prices.output) if prices.output > 0 else 1 << 40
