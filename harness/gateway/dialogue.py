"""A call to a language model and its answer, free of any wire format: what translation goes through.

Frozen values. A format's module (`formats/`) reads its own bodies into these and writes its own bodies from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.spec.backbone import FormatName

Role = Literal["system", "user", "assistant"]
Stop = Literal["end", "length", "tools", "refusal"]
"""Why an answer ended: by itself (or at a stop sequence), at the cap, to have tools called, or filtered by the provider."""


@dataclass(frozen=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Image:
    """An inline image; ``data`` is base64 as it came."""

    media_type: str
    data: str


@dataclass(frozen=True)
class Thinking:
    """A model's reasoning that the format shows.

    ``signature`` is the provider's seal, needed to send it back; ``hidden``: the seal is all there is, the text was withheld
    (Anthropic's ``redacted_thinking``).
    """

    text: str
    signature: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class ToolCall:
    """The model wants a tool called.

    ``arguments`` is JSON text (or, of a tool without schema, free text); ``signature`` is Google's seal of the thought behind
    the call.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True)
class ToolResult:
    """What a tool gave. ``name`` may be empty: only Google's format carries it, others find the call by id."""

    id: str
    name: str
    parts: tuple[Text | Image, ...]
    is_error: bool = False


Part = Text | Image | Thinking | ToolCall | ToolResult


@dataclass(frozen=True)
class Message:
    """One turn. Tool results stand in ``user`` messages, tool calls and thinking in ``assistant`` ones."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Tool:
    """A function the model may call.

    Attributes:
        schema: a JSON schema of the arguments; None: the tool takes free text (OpenAI's custom tools).
        strict: the provider must hold the model to the schema.
        grammar: of a free-text tool: what the text must be, as ``{"syntax", "definition"}``.
    """

    name: str
    description: str
    schema: Mapping[str, Any] | None
    strict: bool = False
    grammar: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Ask:
    """One call.

    Attributes:
        model: the name that was asked for.
        max_output: tokens of the answer at most; None: not said.
        tool_choice: "auto", "none", "required", or a tool's name.
        parallel_tools: whether one answer may call several tools.
        top_k: left out where a format has no such field: a cut of the tail, next to ``top_p`` of little weight.
        stream_usage: whether a stream tells its usage at the end; only OpenAI's chat completions have to be asked.
        json_schema: the answer must be JSON of this schema; an empty mapping: any JSON; None: not asked for.
        effort: how much to think: none, minimal, low, medium, high, xhigh, max; None: not said.
        thinking_budget: tokens to think with at most, where a format says it in tokens; 0: not at all.
        verbosity: low, medium or high, of OpenAI's formats.
        dropped: fields without meaning elsewhere that a translation leaves out (never one that would change the answer).
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tools: bool = True
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    stream_usage: bool = True
    json_schema: Mapping[str, Any] | None = None
    effort: str | None = None
    thinking_budget: int | None = None
    verbosity: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def strict_json(self) -> bool:
        """Whether the answer's schema is closed, as OpenAI's formats demand of one that they are to hold a model to."""
        return self.json_schema is not None and self.json_schema.get("additionalProperties") is False

    @cached_property
    def free_text(self) -> frozenset[str]:
        """Names of the tools that take free text."""
        return frozenset(tool.name for tool in self.tools if tool.schema is None)

    @cached_property
    def called(self) -> Mapping[str, str]:
        """The tools' names by the calls' identities."""
        return {part.id: part.name for message in self.messages for part in message.parts if isinstance(part, ToolCall)}


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one call as the upstream reported them. None: it did not say.

    ``input`` counts all of the prompt, cached or not; ``output`` all that was generated, reasoning too.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None

    @property
    def known(self) -> bool:
        """Whether the upstream reported both sides."""
        return self.input is not None and self.output is not None


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    parts: tuple[Text | Thinking | ToolCall, ...]
    stop: Stop = "end"
    usage: TokenUsage = field(default_factory=TokenUsage)
    model: str = ""
    id: str = ""


# Pieces of a streamed answer, in order: each part is opened, filled and closed by what follows; `Finish` comes last.
@dataclass(frozen=True)
class TextPiece:
    """More text of the current text part."""

    text: str


@dataclass(frozen=True)
class ThinkingPiece:
    """More of the current reasoning part; its seal closes it. A hidden one comes whole."""

    text: str
    signature: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class ToolStart:
    """A tool call begins; its arguments follow in `ToolPiece`s of the same ``index``."""

    index: int
    id: str
    name: str
    signature: str = ""


@dataclass(frozen=True)
class ToolPiece:
    """More of a tool call's arguments."""

    index: int
    arguments: str


@dataclass(frozen=True)
class Finish:
    """The answer is over."""

    stop: Stop
    usage: TokenUsage
    model: str = ""
    id: str = ""


Piece = TextPiece | ThinkingPiece | ToolStart | ToolPiece | Finish


@dataclass(frozen=True)
class Failure:
    """An error to tell a client in its format's own shape; ``code`` is ours (budget_exceeded, model_not_found, …)."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


class Untranslatable(Exception):
    """A body says what another wire format cannot say; ``field`` names it (``messages[3].content[1].type=document``)."""

    def __init__(self, field: str, to: FormatName | None = None) -> None:
        super().__init__(field)
        self.field, self.to = field, to


class Malformed(Exception):
    """A body that breaks its own format; the text names field and value."""
