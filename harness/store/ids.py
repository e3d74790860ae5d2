"""Run and batch ids: they sort by time, are unique on their own, and are safe as file names."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return for example ``b20261124-223015-k3xq9`` (UTC to the second, then 25 random bits)."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{prefix}{stamp}-" + "".join(secrets.choice(_ALPHABET) for _ in range(5))
