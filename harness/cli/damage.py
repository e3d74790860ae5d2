"""Damaged run folders: a line each on standard error, beside whatever could be shown."""

from __future__ import annotations

from typing import Any

from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line


def tell(data: Any, output: Output) -> None:
    """Say each damage of a document's ``damaged`` in a line."""
    for found in data.get("damaged") or []:
        output.say(one_line(f"damaged: run {found['run']}: {found['message']} ({found['hint']})"))


def with_damage(value: Any, damaged: Any) -> Any:
    """Return a document with what is damaged beside it."""
    return {**plain(value), "damaged": plain(damaged)}
