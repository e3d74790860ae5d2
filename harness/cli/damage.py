"""Damaged run folders: a line each on standard error, beside whatever could be shown."""

from __future__ import annotations

from typing import Any

from harness.cli.output import Output
from harness.cli.sanitise import one_line


def tell(data: Any, output: Output) -> None:
    """Say each damage of a document's ``damaged`` in a line."""
    for found in data.get("damaged") or []:
        output.say(one_line(f"damaged: run {found['run']}: {found['message']} ({found['hint']})"))
