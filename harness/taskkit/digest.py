"""What taskkit itself is, so that data and measurements made with another one are told apart."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from harness.files import tree_digest


@functools.cache
def taskkit_digest(part: Literal["building", "scoring"]) -> str:
    """SHA-256 over the code of one part: what data is built with, or what answers are scored with."""
    return tree_digest(Path(__file__).parent / part)
