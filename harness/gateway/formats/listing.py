"""Lists of models and counts of tokens, as each provider's API writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def openai_models(names: Iterable[str]) -> dict[str, Any]:
    """Write the list of models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "dojo"} for name in names]
    return {"object": "list", "data": listed}


def openai_count(tokens: int) -> dict[str, Any]:
    """Write a count of tokens, as the responses API has it; chat completions have none."""
    return {"object": "response.input_tokens", "input_tokens": tokens}


def anthropic_models(names: Iterable[str]) -> dict[str, Any]:
    """Write the list of models."""
    dated = {"type": "model", "created_at": "1970-01-01T00:00:00Z"}
    listed = [{**dated, "id": name, "display_name": name} for name in names]
    ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]} if listed else {"first_id": None, "last_id": None}
    return {"data": listed, "has_more": False, **ends}


def google_models(names: Iterable[str]) -> dict[str, Any]:
    """Write the list of models."""
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    listed = [{"name": f"models/{name}", "version": "1", "displayName": name} for name in names]
    return {"models": [{**model, "supportedGenerationMethods": methods} for model in listed]}
