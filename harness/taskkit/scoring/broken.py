"""An answer that a grader breaks on: where it broke, in one line that can be kept beside the item."""

from __future__ import annotations

import traceback
from pathlib import Path

from harness.taskkit.scoring.plain import plain_text

# What is kept of it; an exception may quote a whole answer. `ItemScore.failure` takes as much.
MAX_CHARS = 300
_CONTROL = {code: " " for code in (*range(32), 127)}


def where_it_broke(exc: BaseException, domain: Path) -> str:
    """Return ``task/tests/grader.py:45: ValueError: why``: the innermost line of the task's own code, and what went wrong there.

    Args:
        exc: the exception, as it was caught.
        domain: the folder around the task, with its ``shared/``; where none of its lines is in the traceback, dojo's are shown.
    """
    frames = traceback.extract_tb(exc.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(domain)]
    place = ""
    if own:
        place = f"{Path(own[-1].filename).relative_to(domain)}:{own[-1].lineno}: "
    elif frames:
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: "
    why = str(exc)[:MAX_CHARS]
    text = f"{place}{type(exc).__name__}" + (f": {why}" if why else "")
    return plain_text(" ".join(text.translate(_CONTROL).split()))[:MAX_CHARS]
