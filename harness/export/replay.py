"""An agent's directory that does again what a recorded agent did."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.export.commands import Command
from harness.files import build_folder
from harness.spec.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def write_agent(target: Path, template: Path, commands: Iterable[Command], run: str) -> None:
    """Make ``target``, whole or not at all: the agent `replay` with these commands.

    Raises:
        UsageError: the directory's name cannot be an agent's.
    """
    name = target.name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{target.name!r} cannot be an agent's name", hint="use a-z, 0-9 and _ in the name of the directory")
    lines = [json.dumps(command.model_dump(exclude_defaults=True), ensure_ascii=False) for command in commands]
    with build_folder(target) as folder:
        if folder is None:
            raise UsageError(f"{target} is there already", hint="give --out a new name")
        shutil.copyfile(template / "replay.py", folder / "replay.py")
        (folder / "commands.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        config = (template / "agent.toml").read_text(encoding="utf-8")
        config = re.sub(r"(?m)^name = .*$", f'name = "{name}"', config)
        config = re.sub(r"(?m)^description = .*$", f'description = "Runs again what was run in {run}."', config)
        (folder / "agent.toml").write_text(config, encoding="utf-8")
