"""Which files of the harness some code rests on: read from its import lines, so that a change there is noticed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_IMPORT = re.compile(r"^\s*from harness\.(assets|grading|spec)\.(\w+) import", re.MULTILINE)


def imported_code(files: Iterable[Path]) -> list[Path]:
    """Return the files under ``harness/{assets,grading,spec}`` that ``files`` import, directly or through others, sorted."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        for folder, name in _IMPORT.findall(waiting.pop().read_text(encoding="utf-8")):
            path = _PACKAGE / folder / f"{name}.py"
            if path.is_file() and path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(found)
