"""Backbones: the language models that agents think with, reached only through the gateway."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.spec.base import Spec

FormatName = Literal["chat", "responses", "messages", "google"]
"""Wire formats: OpenAI chat completions, OpenAI responses, Anthropic messages, Google generateContent."""

UpstreamName = Literal["openai", "anthropic", "google", "scripted", "manual", "replay"]
"""What answers: an OpenAI-compatible, Anthropic or Google endpoint; a file of replies; a person or program; a recorded run."""

NATIVE: dict[str, tuple[FormatName, ...]] = {
    "openai": ("chat",),
    "anthropic": ("messages",),
    "google": ("google",),
    "scripted": ("chat", "responses", "messages", "google"),
    "manual": ("chat", "responses", "messages", "google"),
    "replay": ("chat", "responses", "messages", "google"),
}
"""Which wire formats an upstream speaks where its backbone does not say; the first is the one that others are translated to."""


class Prices(Spec):
    """What a model costs, dollars per million tokens. Cached tokens cost ``input`` where nothing else is known."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False, description="reasoning tokens too")
    cached: float | None = Field(None, ge=0, allow_inf_nan=False, description="input read from the provider's cache")
    cache_write: float | None = Field(None, ge=0, allow_inf_nan=False, description="input written to the provider's cache")


class SharedLimits(Spec):
    """What all runs together may do with one backbone, at each replica of the gateway that they share."""

    requests_per_minute: int | None = Field(None, gt=0, le=1_000_000, description="begun in any minute; default no limit")
    concurrency: int = Field(64, gt=0, description="calls at the provider at once; more wait, each run's in its turn")
    wait_s: float = Field(25, gt=0, le=600, description="a call that has waited so long is answered 429, seconds")


class Backbone(Spec):
    """One ``[backbones.NAME]`` of dojo.toml: an upstream, a model and the terms on which agents use it."""

    upstream: UpstreamName
    model: str = Field("", description="as the upstream calls it; agents are told this name")
    formats: tuple[FormatName, ...] = Field((), description="wire formats the upstream speaks; default its kind's own")
    base_url: str = Field("", description="of the upstream, for example http://127.0.0.1:8000/v1; default the provider's")
    key: str = Field("", description="NAME of the environment variable that holds the key, never the key itself")
    prices: Prices | None = Field(None, description="default: those known for the model")
    context: int | None = Field(None, gt=0, description="tokens the model takes in and gives out together")
    max_output: int | None = Field(None, gt=0, description="tokens of one answer; asked for where an agent asks for more or none")
    models: tuple[str, ...] = Field((), description="further names agents may ask for; all are answered by `model`")
    concurrency: int = Field(16, gt=0, description="calls of one run that are upstream at once; more wait")
    timeout_s: float = Field(600, gt=0, allow_inf_nan=False, description="for one answer, seconds")
    attempts: int = Field(5, gt=0, description="tries of one call, where the upstream fails")
    script: Path | None = Field(None, description="of `scripted`: the file of replies (docs/backbones.md)")
    run: str = Field("", description="of `replay`: the run whose talk is played again")

    shared: SharedLimits | None = Field(None, description="served to many runs by `dojo gateway serve`, within these limits")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.upstream == "scripted" and self.script is None:
            raise ValueError("upstream scripted needs `script`: a file of replies (docs/backbones.md)")
        if self.upstream == "replay" and not self.run:
            raise ValueError("upstream replay needs `run`: the run whose talk is played again")
        if self.upstream in ("openai", "anthropic", "google") and not self.model:
            raise ValueError(f"upstream {self.upstream} needs `model`")
        if "@" in self.base_url.split("//", 1)[-1].split("/", 1)[0]:
            raise ValueError("base_url holds a password: name the variable with the key in `key` instead")
        return self

    @property
    def speaks(self) -> tuple[FormatName, ...]:
        """The wire formats of the upstream; the first is the one that others are translated to."""
        return self.formats or NATIVE[self.upstream]


class BackboneRef(Spec):
    """Which backbone a run thinks with, frozen in its RunSpec: what can be compared, and neither address nor key."""

    name: str
    upstream: UpstreamName
    model: str = ""
    formats: tuple[FormatName, ...] = ()
    context: int | None = None
    max_output: int | None = None
    prices: Prices | None = None
    digest: str = Field("", description="SHA-256 of what answers where that is a file: a script, a recorded talk")

    @property
    def words(self) -> str:
        """For headings: the name, and the model where that says more."""
        return self.name if self.model in ("", self.name, self.upstream) else f"{self.name} ({self.model})"

    @property
    def identity(self) -> str:
        """What must be equal for two runs to have thought with the same backbone: upstream, model, caps and content."""
        facts = self.model_dump(mode="json", exclude={"name", "prices"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
