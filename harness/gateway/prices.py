"""What well-known models cost, from prices.toml beside this file."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from harness.gateway.dialogue import TokenUsage
from harness.spec.backbone import Prices

_FILE = Path(__file__).with_name("prices.toml")
# `gpt-x-2025-08-07`, `claude-x-20250929`, `gemini-x-001`, `claude-x-latest`: one model, dated
_DATED = re.compile(r"-(20\d\d-\d\d-\d\d|20\d{6}|\d{3}|latest)$")
_MILLION = 1_000_000


@cache
def known_prices() -> dict[str, Prices]:
    """Return the prices of the models in prices.toml, by the names their providers call them."""
    with _FILE.open("rb") as source:
        read = tomllib.load(source)
    return {name: Prices.model_validate(prices) for name, prices in read["models"].items()}


def price_of(model: str) -> Prices | None:
    """Return the prices of a model, also by a dated name of it; None where nobody told us."""
    known = known_prices()
    name = model.removeprefix("models/").lower()
    return known.get(name) or known.get(_DATED.sub("", name))


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
