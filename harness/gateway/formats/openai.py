"""What OpenAI's two formats share."""

from __future__ import annotations

from harness.gateway.dialogue import TokenUsage
from harness.gateway.formats.fields import Field


def usage_of(usage: Field, prompt: str, answer: str) -> TokenUsage:
    """Read the tokens of a call, told under ``<prompt>_tokens`` and ``<answer>_tokens``; what is not there is unknown."""
    if not usage.given:
        return TokenUsage()
    asked, said = usage[f"{prompt}_tokens_details"], usage[f"{answer}_tokens_details"]
    return TokenUsage(
        input=usage[f"{prompt}_tokens"].integer(),
        output=usage[f"{answer}_tokens"].integer(),
        cached=asked["cached_tokens"].integer() if asked.given else None,
        cache_write=asked["cache_write_tokens"].integer() if asked.given else None,
        reasoning=said["reasoning_tokens"].integer() if said.given else None,
    )
