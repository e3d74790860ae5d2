"""A new agent that works at once: a copy of one that comes along, under its own name and with all it needs in its own folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from harness.assets.agent_dir import Agent, load_agent
from harness.assets.agent_files import copy_files
from harness.spec.errors import UsageError

AgentKind = Literal["shell", "python", "llm", "cli"]

EXAMPLES: Mapping[str, str] = MappingProxyType(
    {"shell": "example_shell", "python": "example_python", "llm": "example_llm", "cli": "opencode"}
)
"""Which agent a new one of a kind starts from."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
_README = "README.md"


def new_agent(name: str, folder: Path, example: Agent) -> Agent:
    """Start an agent in ``folder`` as a copy of ``example``; what that shares with others becomes its own.

    Raises:
        UsageError: the name is no agent name, or the directory exists.
        SpecError: the example holds something else than plain files.
    """
    name = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no agent name", hint="use small letters, digits and _")
    target = folder / name
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another name")
    copy_files(example.path, target, (_README,))
    for shared in example.shared:
        copy_files(shared, target / shared.name, (_README,))
    config = target / "agent.toml"
    config.write_text(_renamed(config.read_text(encoding="utf-8"), name, example.name), encoding="utf-8")
    (target / _README).write_text(f"# {name}\n\nWhat it does and how. It began as a copy of {example.name}.\n", encoding="utf-8")
    return load_agent(target)


def _renamed(text: str, name: str, before: str) -> str:
    text = re.sub(r"^shared = .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^version = .*$", 'version = "0.1.0"', text, count=1, flags=re.MULTILINE)
    return text.replace(f'name = "{before}"', f'name = "{name}"', 1)
