"""Touching files with a user's rights: a worker takes them for the time of one operation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from . import syscalls
from .settings import Settings


@contextlib.contextmanager
def acting_as(settings: Settings, user: str) -> Iterator[None]:
    """Have the rights of ``user`` ("agent" or "root") on files until the end of the block.

    The real and the saved user stay root, so the agent cannot signal or trace the worker meanwhile.
    """
    if user == "root":
        yield
        return
    if settings.mode != "privileged":  # one and the same user: what sets root apart are its capabilities
        effective = syscalls.clear_effective()
        try:
            yield
        finally:
            syscalls.restore_effective(effective)
        return
    os.setgroups([])
    os.setegid(settings.agent)
    os.seteuid(settings.agent)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
