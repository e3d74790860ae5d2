"""How much a model is to think: some formats say it in words, some in tokens."""

from __future__ import annotations

from harness.gateway.dialogue import Ask

_WORDS = ((0, "none"), (2048, "low"), (8192, "medium"))
"""Tokens up to which a word stands for a budget; above them "high". The usual steps of clients that say both."""


def effort_of(ask: Ask) -> str | None:
    """Return the effort in a word, where the call says anything of it."""
    if ask.effort is not None or ask.thinking_budget is None:
        return ask.effort
    return next((word for most, word in _WORDS if ask.thinking_budget <= most), "high")
