"""How long work tells what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Hears a line about what is being done; what is said is for people. Wherever it may be None, nobody listens."""
