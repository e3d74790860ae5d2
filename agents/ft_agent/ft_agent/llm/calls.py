"""What the backbone is asked for: one typed answer a call. What does not fit goes back once, in the validator's own words.

Every text has a greatest length and every list a greatest number: an answer is data that is shown again in later prompts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
Brief = Annotated[str, StringConstraints(strip_whitespace=True, max_length=400)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Reply(BaseModel):
    """What all answers share: fields nobody asked for are passed over, numbers are finite."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


class SourceNote(Reply):
    """What one source is worth."""

    source: Line
    worth: Literal["use", "clean", "avoid"]
    why: Line


class Survey(Reply):
    """What the task wants and what the sources hold; asked once a run."""

    task: Line
    good_row: Line
    sources: list[SourceNote] = Field(max_length=24)
    risks: list[Line] = Field(max_length=6)


class DataChange(Reply):
    """One operation put into a data recipe (in place of one of the same name), or taken out."""

    do: Literal["put", "take_out"]
    operation: Name
    args: dict[str, Any] = Field(default_factory=dict)


class Changes(Reply):
    """What is set differently against the plan that an idea starts from. An argument that is null goes back to its default."""

    trainer: dict[str, Any] = Field(default_factory=dict)
    lora: dict[str, Any] = Field(default_factory=dict)
    data: list[DataChange] = Field(default_factory=list, max_length=4)
    method: Literal["sft", "dpo", "grpo"] | None = None
    full_weights: bool = False
    average: list[int] = Field(default_factory=list, max_length=4)


class ProgramWish(Reply):
    """A data program that an idea needs: its name, and what it must do to rows."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    purpose: Line


class Idea(Reply):
    """One experiment: one hypothesis, what it changes, what it may bring and cost."""

    hypothesis: Line
    knob: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    phase: Literal["probe", "exploit", "polish"] = "probe"
    go_on: bool = Field(False, description="start from the champion's adapter instead of the base model")
    changes: Changes = Field(default_factory=Changes)
    program: ProgramWish | None = None
    expected_gain: float = Field(ge=-1, le=1)
    seconds: float = Field(gt=0, le=1e7)
    evidence: Brief = ""


class Proposal(Reply):
    """Up to three ideas; the best first."""

    ideas: list[Idea] = Field(min_length=1, max_length=3)


class Program(Reply):
    """A data program: Python source that defines ``transform(rows)``."""

    code: str = Field(min_length=1, max_length=12_000)
    note: Brief = ""


class Cause(Reply):
    """Why an outcome is as it is, and what shows it."""

    cause: Line
    evidence: Line
    test: Brief = ""


class Causes(Reply):
    """Causes of an iteration's outcome; the likeliest first."""

    causes: list[Cause] = Field(min_length=1, max_length=4)


class Lesson(Reply):
    """One thing that holds beyond this iteration."""

    lesson: Line
    evidence: Brief = ""
    scope: Literal["task", "model", "general"] = "task"


class Lessons(Reply):
    """All lessons, written anew each time."""

    lessons: list[Lesson] = Field(max_length=12)


class MadeRow(Reply):
    """A question with its answer, made up by the backbone."""

    prompt: str = Field(min_length=1, max_length=8_000)
    answer: str = Field(min_length=1, max_length=2_000)
    rationale: str = Field("", max_length=8_000)
    slice: str = Field("", max_length=120)


class MadeRows(Reply):
    """New rows."""

    rows: list[MadeRow] = Field(min_length=1, max_length=64)


class RewrittenRow(Reply):
    """A row given, written anew: ``id`` as it was given; what is empty stays as it was."""

    id: str = Field(min_length=1, max_length=200)
    prompt: str = Field("", max_length=8_000)
    answer: str = Field("", max_length=2_000)
    rationale: str = Field("", max_length=8_000)


class RewrittenRows(Reply):
    """Rows given, written anew; those left out are dropped."""

    rows: list[RewrittenRow] = Field(max_length=64)


# name of a call → what answers it
CALLS: dict[str, type[Reply]] = {
    "survey": Survey,
    "propose": Proposal,
    "write_program": Program,
    "diagnose": Causes,
    "lessons": Lessons,
    "synthesise": MadeRows,
    "rewrite": RewrittenRows,
}


# What a schema says to upstreams that write by it: not lengths and patterns, which some refuse and some are slow to build, and
# which are checked here anyway.
_SAID = frozenset({"type", "properties", "required", "items", "enum", "const", "anyOf", "maxItems", "additionalProperties"})


def schema_of(call: str) -> dict[str, Any]:
    """Return the JSON schema of a call's answer: every part in its place, nothing that not all upstreams read."""
    model = CALLS[call]
    whole = model.model_json_schema()
    return {"title": model.__name__, **_plain(whole, whole.get("$defs", {}))}


def _plain(part: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        return _plain(parts[part["$ref"].rpartition("/")[2]], parts)
    plain = {name: value for name, value in part.items() if name in _SAID}
    if "properties" in plain:
        plain["properties"] = {name: _plain(value, parts) for name, value in plain["properties"].items()}
        plain["additionalProperties"] = False
    if "items" in plain:
        plain["items"] = _plain(plain["items"], parts)
    if "anyOf" in plain:
        plain["anyOf"] = [_plain(each, parts) for each in plain["anyOf"]]
    return plain
