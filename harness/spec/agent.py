"""agent.toml: a program that solves tasks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.spec.base import Spec
from harness.spec.task import Limits
from harness.spec.toml import read_toml

# An agent that only drives the API from its own sandbox needs little; one built on a Python SDK fits.
OWN_LIMITS = Limits(cpus=1.0, memory_mb=2048, pids=256, disk_mb=1024)


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
    limits: Limits = Field(OWN_LIMITS, description="of its own sandbox")
    install: AgentInstall | None = Field(None, description="programs and packages it needs, at /opt/agent in its sandbox")
    backbone: Literal["none", "optional", "required"] = Field("none", description="whether it thinks with an LLM")
    env: dict[str, str] = Field(default_factory=dict, description="extra environment variables (no secrets)")
    params: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="defaults; arrive as JSON in DOJO_AGENT_PARAMS, overridden by --agent-param"
    )

    @model_validator(mode="after")
    def _own_only(self) -> Self:
        if self.placement == "task" and (self.image or self.limits != OWN_LIMITS):
            raise ValueError('image and limits are those of a sandbox of its own: add placement = "own"')
        return self


def load_agent_config(path: Path) -> AgentConfig:
    """Read an ``agent.toml``.

    Raises:
        SpecError: it is no TOML or breaks the schema; names file, field and value.
    """
    return read_toml(path, AgentConfig)
