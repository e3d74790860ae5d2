"""Free-text tools (OpenAI's custom tools) in formats that know JSON arguments only: the text goes in a field ``input``."""

from __future__ import annotations

import json
from typing import Any

from harness.gateway.dialogue import Ask, Piece, Tool, ToolCall, ToolPiece, ToolStart
from harness.gateway.formats.fields import json_text


def shown_schema(tool: Tool) -> tuple[dict[str, Any], str]:
    """Return schema and description of a tool, as a format without free-text tools has it."""
    if tool.schema is not None:
        return dict(tool.schema), tool.description
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}
    if not (grammar := tool.grammar):
        return schema, tool.description
    return schema, f"{tool.description}\n\nThe input follows this {grammar.get('syntax')} grammar:\n{grammar.get('definition')}"


def json_arguments(call: ToolCall, ask: Ask) -> str:
    """Return the arguments as JSON text, those of a free-text tool wrapped."""
    return json_text({"input": call.arguments}) if call.name in ask.free_text else call.arguments


def unwrapped(arguments: str) -> str:
    """Return the text that a model gave to a free-text tool, whether it came wrapped or bare."""
    try:
        read = json.loads(arguments)
    except ValueError:
        return arguments
    if isinstance(read, dict) and set(read) == {"input"} and isinstance(read["input"], str):
        return read["input"]
    return arguments


class FreeTextStream:
    """Holds the arguments of free-text tools back until they are whole, and takes the text out of its wrapping."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._held: dict[int, list[str]] = {}

    def feed(self, piece: Piece) -> list[Piece]:
        """Return the pieces to write now."""
        match piece:
            case ToolStart() if piece.name in self._ask.free_text:
                out = self._released()
                self._held[piece.index] = []
                return [*out, piece]
            case ToolPiece() if piece.index in self._held:
                self._held[piece.index].append(piece.arguments)
                return []
            case ToolPiece():
                return [piece]
            case _:
                return [*self._released(), piece]

    def _released(self) -> list[Piece]:
        out: list[Piece] = [ToolPiece(index, unwrapped("".join(held))) for index, held in self._held.items()]
        self._held.clear()
        return out
