"""agent.toml: a program that solves tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.toml import read_toml


class AgentConfig(Spec):
    """The contents of ``agent.toml``. The directory is mounted read-only at ``/agent`` in the sandbox."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="the folder's name; `-` and `_` are alike on the command line")
    version: str = "0.1.0"
    description: str = ""
    command: tuple[str, ...] = Field(min_length=1, description="argv inside the sandbox, cwd /workspace")
    shared: tuple[str, ...] = Field((), description="folders beside the agent's own that it takes along, as ../reading")
    placement: Literal["task", "own"] = Field("task", description="own: in a second sandbox that sees only the agent API")
    backbone: Literal["none", "optional", "required"] = Field("none", description="whether it thinks with an LLM")
    env: dict[str, str] = Field(default_factory=dict, description="extra environment variables (no secrets)")
    params: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="defaults; arrive as JSON in DOJO_AGENT_PARAMS, overridden by --agent-param"
    )


def load_agent_config(path: Path) -> AgentConfig:
    """Read an ``agent.toml``.

    Raises:
        SpecError: it is no TOML or breaks the schema; names file, field and value.
    """
    return read_toml(path, AgentConfig)
