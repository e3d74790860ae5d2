"""One JSON line for what a server has done."""

from __future__ import annotations

import json
import sys
from typing import Any


def log(line: dict[str, Any]) -> None:
    """Write one JSON line to standard error. Never a token, a query, or a body."""
    sys.stderr.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stderr.flush()
