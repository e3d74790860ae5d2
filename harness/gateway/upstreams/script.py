"""A file of replies: what a scripted upstream says, and the shape in which people and programs answer a manual one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from harness.gateway.dialogue import TokenUsage
from harness.spec.base import Spec
from harness.spec.errors import MissingError, SpecError
from harness.spec.toml import describe
from harness.spec.toml_text import read_text, read_toml_text

_PAGE = "docs/backbones.md says what a script holds"


class ScriptedCall(Spec):
    """One tool call of a reply."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] | str = Field(default_factory=dict, description="text for a tool that takes free text")

    @property
    def text(self) -> str:
        """The arguments as models write them."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


class ScriptedUsage(Spec):
    """Tokens that a reply reports."""

    input: int | None = Field(None, ge=0)
    output: int | None = Field(None, ge=0)
    cached: int | None = Field(None, ge=0)
    cache_write: int | None = Field(None, ge=0)
    reasoning: int | None = Field(None, ge=0)

    @property
    def tokens(self) -> TokenUsage:
        """The same as the gateway counts."""
        return TokenUsage(**self.model_dump())


class ScriptedReply(Spec):
    """One reply, free of any wire format."""

    text: str = ""
    tools: tuple[ScriptedCall, ...] = ()
    shell: str = Field("", description="a command: a call of whichever tool on offer runs commands, else a fenced bash block")
    stop: Literal["end", "length", "refusal"] = Field("end", description="why it ends, where it calls no tool")
    usage: ScriptedUsage | Literal[False] | None = Field(
        None, description="tokens to report; false: none are reported; default: four bytes of prompt and answer count as one"
    )
    when: str = Field("", description="a regular expression: answers whatever newest message it is found in, out of turn")
    first_delay_s: float = Field(0, ge=0, le=3600, description="before the first byte")
    delay_s: float = Field(0, ge=0, le=3600, description="before the last bytes")
    status: int = Field(200, ge=200, le=599, description="an error, where it is not 2xx; `text` is its message")
    code: str = Field("scripted_error", description="of an error")
    retry_after_s: float | None = Field(None, ge=0, description="of an error: when to come again")
    times: int | None = Field(None, gt=0, description="so many tries of a call get the error, the next one the reply")
    raw: str | None = Field(None, description="the body as it is, in place of all the above")

    @field_validator("when")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"no regular expression: {exc}") from exc
        return value

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if 300 <= self.status < 400:
            raise ValueError("a status of 3xx is neither answer nor error; take 4xx or 5xx")
        if self.times is not None and self.status < 300:
            raise ValueError("times is for replies with an error's status")
        return self

    @property
    def fails(self) -> bool:
        """Whether it is an error."""
        return self.status >= 300


class Script(Spec):
    """A file of replies."""

    order: Literal["dialogue", "calls"] = Field(
        "dialogue",
        description="a reply's turn is the number of answers already in the request, or the call's number in its run",
    )
    replies: tuple[ScriptedReply, ...] = ()
    otherwise: ScriptedReply | None = Field(None, description="answers calls that offer no tool; default: their turn's reply")
    last: ScriptedReply = Field(ScriptedReply(text="done"), description="answers whatever comes after the last reply")

    @field_validator("otherwise", "last", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """Let plain text stand for a reply."""
        return {"text": value} if isinstance(value, str) else value


def read_script(path: Path) -> Script:
    """Read a script: TOML with ``[[replies]]``, or JSON lines (``.jsonl``) with a reply each.

    Raises:
        MissingError: the file is not there.
        SpecError: it does not hold a script; the message names file, line or field.
    """
    if not path.is_file():
        why = "it is a folder" if path.is_dir() else "there is no such file"
        raise MissingError(f"script of replies {path} cannot be read: {why}", hint=f"name a file that is there; {_PAGE}")
    raw = _lines(path, read_text(path, "JSON lines are")) if path.suffix == ".jsonl" else read_toml_text(path)[1]
    try:
        return Script.model_validate(raw)
    except ValidationError as exc:
        raise SpecError(f"{path}: {describe(exc, Script)}", hint=_PAGE) from exc


def _lines(path: Path, text: str) -> dict[str, Any]:
    """Read JSON lines; one with ``replies``' neighbours (`order`, `otherwise`, `last`) may stand first."""
    settings: dict[str, Any] = {}
    replies: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            read = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise SpecError(f"{path}, line {number}: not valid JSON: {exc}", hint="each line is one reply, as JSON") from exc
        if not isinstance(read, Mapping):
            raise SpecError(f"{path}, line {number}: {line.strip()[:60]!r} is no object", hint='write {"text": …}')
        if not replies and not settings and set(read) & {"order", "otherwise", "last"}:
            settings = dict(read)
        else:
            replies.append(read)
    return settings | {"replies": replies}
