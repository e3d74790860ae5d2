"""The journal: an append-only JSONL file of everything done; the agent may be killed at any moment and goes on from it.

A record is acknowledged when its line, newline included, is on disk. A torn last line (the process died while writing) is cut
off when the journal is opened again, so that what follows it is readable.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Append records, read them back. One process writes; its threads may do so at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._one = threading.Lock()
        self.records: list[dict[str, Any]] = self._recover()
        self._file = path.open("ab")

    def append(self, kind: str, **data: Any) -> dict[str, Any]:
        """Write one record and return it once it is on disk.

        Raises:
            ValueError: the data hold NaN or infinity, which are no JSON.
        """
        with self._one:
            record = {"n": len(self.records), "kind": kind, **data}
            line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=str)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records.append(record)
        return record

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of one kind, oldest first."""
        return [r for r in self.records if r["kind"] == kind]

    def last(self, kind: str) -> dict[str, Any] | None:
        """Return the newest record of a kind, or None."""
        return next((r for r in reversed(self.records) if r["kind"] == kind), None)

    def close(self) -> None:
        """Close the file; the journal can be opened again."""
        self._file.close()

    def _recover(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        raw = self.path.read_bytes()
        records: list[dict[str, Any]] = []
        good = 0
        for line in raw.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
            except ValueError:
                break
            records.append(record)
            good += len(line)
        if good < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(good)
        return records
