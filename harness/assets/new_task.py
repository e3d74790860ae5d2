"""A new task that works at once: the example of the guide `docs/write-a-task.md` under another name, to be changed."""

from __future__ import annotations

import re
from pathlib import Path

from harness.assets.task_dir import Task, load_task
from harness.project import bundled
from harness.spec.errors import MissingError, UsageError

_GUIDE = bundled("docs") / "write-a-task.md"
_EXAMPLE = "text/initials"
_FILE = re.compile(rf"^`mytasks/{_EXAMPLE}/([^`]+)`\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")


def new_task(name: str, root: Path) -> Task:
    """Write the task ``domain/name`` into ``root``.

    Raises:
        UsageError: the name is no task name, or the directory exists.
        MissingError: the guide is not beside this package.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no task name", hint="write domain/name in small letters, digits and _: biology/folding")
    if not _GUIDE.is_file():
        raise MissingError("the guide docs/write-a-task.md is not beside this package", hint="install dojo again")
    target = root / name
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another name or another --dir")
    for path, text in _FILE.findall(_GUIDE.read_text(encoding="utf-8")):
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_renamed(text, name), encoding="utf-8")
    return load_task(target)


def _renamed(text: str, name: str) -> str:
    for old, new in ((_EXAMPLE, name), ("text-initials", name.replace("/", "-")), ("text_initials", name.replace("/", "_"))):
        text = text.replace(old, new)
    return text
