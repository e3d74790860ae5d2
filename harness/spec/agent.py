"""agent.toml: a program that solves tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.spec.base import Spec
from harness.spec.task import Limits
from harness.spec.toml import read_toml

# An agent that only drives the API from its own sandbox needs little; one built on a Python SDK fits.
OWN_LIMITS = Limits(cpus=1.0, memory_mb=2048, pids=256, disk_mb=1024)


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
