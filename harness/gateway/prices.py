"""What well-known models cost, from `prices.toml` beside this file; a backbone's own ``prices`` go before it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from harness.spec.backbone import Prices

_FILE = Path(__file__).with_name("prices.toml")

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
"""Providers sell a dated release of a model at the model's price."""

_OWNER = re.compile(r"^(models|openai|anthropic|google)/")


@dataclass(frozen=True)
class KnownModel:
    """A model as the file tells it; ``prices`` are those of prompts up to ``short`` tokens where longer ones cost more."""

    model: str
    provider: str
    prices: Prices
    as_of: date
    context: int | None = None
    max_output: int | None = None
    short: int | None = None


@cache
def known_models() -> Mapping[str, KnownModel]:
    """Return what the file knows, by the model's name."""
    raw = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    found = {}
    for provider, table in raw.items():
        for model, facts in table["models"].items():
            sizes = {name: facts.pop(name, None) for name in ("context", "max_output", "short")}
            found[model] = KnownModel(model, provider, Prices.model_validate(facts), table["as_of"], **sizes)
    return found


def known_model(model: str) -> KnownModel | None:
    """Return what is known of a model. A name with a date (or ``-latest``) is its model's; nothing else is guessed."""
    name = _OWNER.sub("", model)
    return known_models().get(name) or known_models().get(_DATED.sub("", name))


def price_of(model: str) -> Prices | None:
    """Return what a model costs; None: not known, and a budget in dollars needs the backbone's own ``prices``."""
    known = known_model(model)
    return known.prices if known else None
