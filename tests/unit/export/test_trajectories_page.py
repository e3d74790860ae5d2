"""docs/trajectories.md: the names it tells are in the code, its example is a step of ATIF, its commands are commands."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import get_args

import click
import pytest

from harness.cli.main import cli
from harness.spec.event import FileMoved

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "trajectories.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
NAMES = sorted({part for said in re.findall(r"`([^`\n]+)`", PROSE) for part in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", said)})
COMMANDS = [line.partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith("    dojo ")]
EXAMPLE = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])


def test_every_name_of_the_page_is_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "harness").rglob("*.py"))
    assert len(NAMES) > 10
    # ATIF's own, never written here; the deeds with files are named by what was done with them
    made = {"is_copied_context", *(f"file_{op}" for op in get_args(FileMoved.model_fields["op"].annotation))}
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", code) and name not in made] == []


def test_the_example_holds_only_what_steps_are_written_with() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "harness" / "export").glob("*.py"))
    keys = {*EXAMPLE, *EXAMPLE["metrics"], *EXAMPLE["extra"], *EXAMPLE["tool_calls"][0], *EXAMPLE["observation"]["results"][0]}
    assert [key for key in sorted(keys) if not re.search(rf'["\s({{]{key}["=]', code)] == []


def test_the_example_is_a_step_of_atif() -> None:
    atif = pytest.importorskip("atif")
    whole = {
        "schema_version": "ATIF-v1.8",
        "session_id": "r",
        "agent": {"name": "a", "version": "1"},
        "steps": [EXAMPLE | {"step_id": 1}],
    }
    assert len(atif.Trajectory.model_validate(whole).steps) == 1


def test_the_program_is_one() -> None:
    for text in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        ast.parse(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command: str) -> None:
    words = shlex.split(command)[1:]
    found: click.Command = cli
    context = click.Context(found, info_name="dojo")
    while isinstance(found, click.Group):
        name = words.pop(0)
        inner = found.get_command(context, name)
        assert inner is not None, command
        found, context = inner, click.Context(inner, info_name=name, parent=context)
    options = {option for param in found.params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options
