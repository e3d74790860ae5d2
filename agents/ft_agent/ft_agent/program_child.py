"""The child that runs one data program: a job and rows in on standard input, JSON lines out, nothing else.

The first line in is the job (code, limits, seed), every other a row. Out come ``{"walls"}`` first, then ``{"row"}`` for each row
or ``{"error", "row"}``, then ``{"done"}``. What the program prints goes to standard error. Run by `ft_agent.programs`, which
believes none of it.
"""

from __future__ import annotations

import json
import linecache
import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

NAME = "program.py"
# An error's text goes into a prompt: its end says what happened.
LONGEST_ERROR = 1500


def main() -> int:
    """Read, confine, run, write."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from ft_agent.confinement import confine, limit, readable

    del sys.path[0]
    job, *rows = (json.loads(line) for line in sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(line: dict[str, Any]) -> None:
        out.write(json.dumps(line, ensure_ascii=True) + "\n")

    random.seed(job["seed"])
    limit(job["cpu_s"], job["memory_mb"])
    emit({"walls": confine(readable())})
    given = {id(row): row for row in rows}
    before = {id(row): dict(row) for row in rows}
    try:
        returned = 0
        for row in _transform(job["code"])(rows):
            emit({"row": row})
            returned += 1
            if returned > job["most"]:
                raise ValueError(f"it returned more than {job['most']} rows for the {len(given)} given")
        emit({"done": returned})
    except BaseException as exc:
        at = _row_at(exc, given)
        emit({"error": _told(exc), "row": None if at is None else before[at]})
    out.flush()
    return 0


def _transform(code: str) -> Any:
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    space: dict[str, Any] = {"__name__": "program"}
    exec(compile(code, NAME, "exec"), space)
    transform = space.get("transform")
    if not callable(transform):
        raise TypeError("it defines no function transform(rows)")
    return transform


def _row_at(exc: BaseException, given: dict[int, Any]) -> int | None:
    """Find the row that was being worked on: a variable of the program's innermost frame that is one of the rows."""
    found = None
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        if frame.f_code.co_filename == NAME:
            found = next((id(v) for v in frame.f_locals.values() if id(v) in given), found)
    return found


def _told(exc: BaseException) -> str:
    """Write the error with the program's own lines, without ours."""
    lines = [
        f"line {frame.lineno}, in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename == NAME
    ]
    what = "".join(traceback.format_exception_only(exc)).strip()
    return "\n".join([*lines, what])[-LONGEST_ERROR:]


if __name__ == "__main__":
    sys.exit(main())
