"""What an agent said to its backbone, searched for hidden items: it was never shown one, so none should be there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from harness.assets.leak_scan import scan_texts
from harness.assets.prepare import PreparedTask
from harness.gateway.recording import Recording
from harness.spec.event import Integrity
from harness.store.run_dir import RunDir
from harness.taskkit.building.overlap import texts

# Items named in the event; how many there are is said too.
_NAMED = 10


def scan_talk(run: RunDir, prepared: PreparedTask) -> Integrity | None:
    """Return what was found of the hidden items in the run's talk, or None where it had none."""
    if not run.talk.exists():
        return None
    report = scan_texts(prepared.hidden_path, _said(Recording(run.talk)))
    items = sorted({hit.item for hit in report.hits})
    found: dict[str, Any] = {"hidden_items_in_talk": report.found, "talk_texts_scanned": report.rows}
    if items:
        found["hidden_items_found"] = items[:_NAMED]
    return Integrity(**found)


def _said(recording: Recording) -> Iterator[tuple[str, str]]:
    """Yield each text once, with the call it was first said in: histories are sent again with every call."""
    seen: set[bytes] = set()
    for exchange in recording.read():
        for text in texts(exchange.body):
            mark = hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()
            if mark not in seen:
                seen.add(mark)
                yield f"call {exchange.call}", text
