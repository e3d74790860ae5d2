"""What was made is kept by what it was made from: a run that is started again pays nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reading.rows import Row


class Kept:
    """A folder of JSONL files, each named after the digest of what its rows were made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, kind: str, made_from: Any, make: Callable[[], list[Row] | None]) -> list[Row] | None:
        """Return the rows made before from the same, else make and keep them.

        Args:
            kind: opens the file's name.
            made_from: anything that JSON can say.
            make: is asked only where nothing is kept; None (it failed) is not kept.
        """
        path = self.folder / f"{kind}-{digest(made_from)}.jsonl"
        if path.exists():
            return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        made = make()
        if made is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text("".join(json.dumps(asdict(r)) + "\n" for r in made), encoding="utf-8")
            part.replace(path)
        return made


def digest(value: Any) -> str:
    """Name a value by what it says."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def said_by(rows: Sequence[Row]) -> str:
    """Name rows by all they say."""
    return digest([asdict(r) for r in rows])


def made_source(kind: str, made_from: Any) -> str:
    """Name the source of new rows, so that what was made from something else has other ids."""
    return f"{kind}_{digest(made_from)[:6]}"
