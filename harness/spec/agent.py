"""agent.toml: a program that solves tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.spec.base import Spec
from harness.spec.errors import SpecError, UsageError
from harness.spec.task import Limits
from harness.spec.toml import read_toml

# An agent that only drives the API from its own sandbox needs little; one built on a Python SDK fits. It is taken from what the
# task gives a run, of which the smallest is one CPU, 6,000 MB of memory, 4,096 of disk and 512 processes.
OWN_LIMITS = Limits(cpus=0.25, memory_mb=1024, pids=64, disk_mb=256)
# What is divided between two sandboxes, and what must be left for the one that trains.
_DIVIDED = {"cpus": 0.05, "memory_mb": 64, "pids": 8, "disk_mb": 16}


# Linux starts no program with an argument or variable of more than 128 kB; what cannot start is refused before it is planned.
_WORDS_BYTES = 100_000


_CONSTRAINT = re.compile(r"(>=|<=|==|<|>)(\d+)\.(\d+)")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AgentInstall(Spec):
    """``[install]`` of ``agent.toml``: what must be in place before a run; made once, from locks, and shown at ``/opt/agent``."""

    python: str = Field("", description="a pip lock with hashes beside agent.toml; gives /opt/agent/python/bin/python")
    python_version: str = Field(">=3.11", description="the Python that the lock is for, as >=3.12 or >=3.11,<3.14")
    npm: str = Field("", description="package-lock.json beside agent.toml and its package.json; gives /opt/agent/node_modules")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.python and not self.npm:
            raise ValueError('install says nothing to install: add python = "requirements.lock" or npm = "package-lock.json"')
        for kind, name in (("python", self.python), ("npm", self.npm)):
            if name and not _FILE.fullmatch(name):
                raise ValueError(f"install.{kind}: {name!r} is no file name: the lock lies beside agent.toml")
        if self.npm and self.npm != "package-lock.json":
            raise ValueError(f"install.npm: npm reads no other name than package-lock.json, not {self.npm!r}")
        if not all(_CONSTRAINT.fullmatch(part.strip()) for part in self.python_version.split(",")):
            raise ValueError(f"install.python_version: {self.python_version!r} is not of the form >=3.12 or >=3.11,<3.14")
        return self

    def admits(self, major: int, minor: int) -> bool:
        """Whether the lock is for this Python."""
        found = (major, minor)
        for part in self.python_version.split(","):
            sign, *wanted = _CONSTRAINT.fullmatch(part.strip()).groups()  # type: ignore[union-attr]
            given = (int(wanted[0]), int(wanted[1]))
            holds = {
                ">=": found >= given,
                "<=": found <= given,
                "==": found == given,
                "<": found < given,
                ">": found > given,
            }
            if not holds[sign]:
                return False
        return True


class AgentConfig(Spec):
    """The contents of ``agent.toml``. The directory is mounted read-only at ``/agent`` in the sandbox."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="the folder's name; `-` and `_` are alike on the command line")
    version: str = "0.1.0"
    description: str = ""
    command: tuple[str, ...] = Field(min_length=1, description="argv inside the sandbox, cwd /workspace")
    shared: tuple[str, ...] = Field((), description="folders beside the agent's own that it takes along, as ../reading")
    placement: Literal["task", "own"] = Field("task", description="own: in a second sandbox that sees only the agent API")
    image: str = Field("", description="of its own sandbox, for backends that make sandboxes of images; default the task's")
    limits: Limits = Field(OWN_LIMITS, description="of its own sandbox, taken from the task's")
    install: AgentInstall | None = Field(None, description="programs and packages it needs, at /opt/agent in its sandbox")
    backbone: Literal["none", "optional", "required"] = Field("none", description="whether it thinks with an LLM")
    env: dict[str, str] = Field(default_factory=dict, description="extra variables of its own process (no secrets)")
    params: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="defaults; arrive as JSON in DOJO_AGENT_PARAMS, overridden by --agent-param"
    )
    choices: dict[str, tuple[str | int | float | bool, ...]] = Field(
        default_factory=dict, description="params with a closed set of values, name → values; another one is refused before a run"
    )

    @field_validator("limits", mode="before")
    @classmethod
    def _small_unless_said(cls, value: Any) -> Any:
        return {**OWN_LIMITS.model_dump(), **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _no_gpus(self) -> Self:
        if self.limits.gpus:
            raise ValueError("limits.gpus: the GPUs are the task sandbox's")
        return self

    @model_validator(mode="after")
    def _defaults_are_choices(self) -> Self:
        for name, values in self.choices.items():
            if name not in self.params:
                raise ValueError(f"choices.{name}: there is no such parameter in [params]")
            if self.params[name] not in values:
                raise ValueError(f"params.{name} = {self.params[name]!r} is none of its choices: {_listed(values)}")
        return self

    @model_validator(mode="after")
    def _can_start(self) -> Self:
        words = [*self.command, *self.env, *self.env.values()]
        if any("\0" in word for word in words):
            raise ValueError("command and env cannot hold a NUL")
        if any(not name or "=" in name for name in self.env):
            raise ValueError("env: a variable's name is not empty and has no = in it")
        if sum(len(word.encode(errors="replace")) for word in (*words, json.dumps(self.params))) > _WORDS_BYTES:
            raise ValueError(f"command, env and params have more than {_WORDS_BYTES} bytes: put what is long into a file")
        return self


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)


def shares(limits: Limits, config: AgentConfig) -> dict[str, Limits]:
    """Return what each sandbox of an agent may use, by its role (task, agent): together what the task gives a run.

    Raises:
        UsageError: the agent's own takes all there is of something.
    """
    if config.placement == "task":
        return {"task": limits}
    left = {name: round(getattr(limits, name) - getattr(config.limits, name), 3) for name in _DIVIDED}
    for name, least in _DIVIDED.items():
        if left[name] < least:
            raise UsageError(
                f"{config.name}: its own sandbox takes {getattr(config.limits, name):g} of the {getattr(limits, name):g} {name} "
                "that the task gives a run, and both sandboxes share those",
                hint=f"ask for less in [limits] of agent.toml: {least:g} must be left",
            )
    return {"task": limits.model_copy(update=left), "agent": config.limits}


def load_agent_config(path: Path) -> AgentConfig:
    """Read an ``agent.toml``.

    Raises:
        SpecError: it is no TOML or breaks the schema; names file, field and value.
    """
    config = read_toml(path, AgentConfig)
    # here alone: a run's record holds every field, with the defaults of the day when it was written
    if config.placement == "task" and {"image", "limits"} & config.model_fields_set:
        raise SpecError(f"{path}: image and limits are those of a sandbox of its own", hint='add placement = "own"')
    return config
