"""Which of the tools an agent offers runs commands, and how it is called: scripts work with any agent that has one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.gateway.dialogue import Tool

_NAMES = ("bash", "shell", "exec", "terminal", "run")
_NAME = re.compile("|".join(_NAMES), re.IGNORECASE)
_PROPERTIES = ("command", "cmd", "commands", "script", "code")


def shell_call(tools: Sequence[Tool], command: str) -> tuple[str, str] | None:
    """Return name and arguments (JSON text) of the call that runs ``command``; None: no tool here runs commands."""
    able = [(tool, name) for tool in tools if _NAME.search(tool.name) and (name := _command_property(tool))]
    if not able:
        return None
    # a tool of exactly that name before one that only has it in its name: `bash` before `run_tests_in_bash`
    tool, name = min(able, key=lambda found: _NAMES.index(low) if (low := found[0].name.lower()) in _NAMES else len(_NAMES))
    schema = tool.schema or {}
    properties: Mapping[str, Any] = schema.get("properties", {})
    arguments: dict[str, Any] = {name: ["bash", "-lc", command] if "array" in _types(properties[name]) else command}
    for needed in schema.get("required", ()):
        if needed not in arguments:
            arguments[needed] = _something(properties.get(needed, {}))
    return tool.name, json.dumps(arguments, ensure_ascii=False)


def _command_property(tool: Tool) -> str:
    properties = (tool.schema or {}).get("properties")
    names = properties if isinstance(properties, Mapping) else {}
    return next((name for name in _PROPERTIES if isinstance(names.get(name), Mapping)), "")


def _types(schema: Mapping[str, Any]) -> list[str]:
    said = schema.get("type", "string")
    branches = [branch for key in ("anyOf", "oneOf") for branch in schema.get(key, ()) if isinstance(branch, Mapping)]
    if branches and "type" not in schema:
        return [kind for branch in branches for kind in _types(branch)][:1]
    return [str(kind).lower() for kind in (said if isinstance(said, list) else [said])]


def _something(schema: Mapping[str, Any]) -> Any:
    """Return a value that a required property takes: its default, its first choice, or the plainest of its type."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    plain: dict[str, Any] = {"boolean": False, "integer": 60, "number": 60, "array": [], "object": {}, "null": None}
    return plain.get(_types(schema)[0], "a step of the script")
