"""Steps of a trajectory as ATIF spells them, and how much of a long text each keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Source = Literal["system", "user", "agent"]

# Characters of one text. A training log or a file that was read is told by its two ends; a whole 12-hour run stays readable.
TEXT_LIMIT = 20_000
# Of values in arguments: a file that an agent writes through a tool call is part of what it did, so it keeps more than a log.
ARGUMENT_LIMIT = 50_000


@dataclass(frozen=True)
class Draft:
    """A step before it has its number: ``time`` orders it among the others, ``body`` is the rest as ATIF spells it."""

    time: datetime
    source: Source
    message: str
    body: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as ATIF spells it, but for ``step_id``."""
        return {"timestamp": self.time.isoformat(), "source": self.source, "message": self.message, **self.body}


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """Keep both ends of a long text, with a mark that says how much is missing between them."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    tail = limit - head
    return f"{text[:head]}\n[… {len(text) - limit:,} characters left out …]\n{text[-tail:]}"


def cut_values(value: Any, limit: int = ARGUMENT_LIMIT) -> Any:
    """Cut every text in a JSON value."""
    match value:
        case str():
            return cut(value, limit)
        case dict():
            return {str(key): cut_values(inner, limit) for key, inner in value.items()}
        case list() | tuple():
            return [cut_values(inner, limit) for inner in value]
        case _:
            return value


def as_text(value: Any) -> str:
    """Return a JSON value as text, cut."""
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def system(time: datetime, message: str, **extra: Any) -> Draft:
    """Return a step of the harness's own: something that happened to the run."""
    return Draft(time, "system", cut(message), {"extra": extra} if extra else {})


def deed(time: datetime, call_id: str, name: str, arguments: dict[str, Any], result: str, **extra: Any) -> Draft:
    """Return a step in which the agent's program did something without asking a model: one call and what came of it."""
    return Draft(
        time,
        "agent",
        "",
        {
            "tool_calls": [{"tool_call_id": call_id, "function_name": name, "arguments": cut_values(arguments)}],
            "observation": {"results": [{"source_call_id": call_id, "content": cut(result)}]},
            "llm_call_count": 0,
            **({"extra": extra} if extra else {}),
        },
    )
