"""Where sockets and live sandboxes lie on the host: a short path, private to the user, gone after a reboot."""

from __future__ import annotations

import os
from pathlib import Path

from harness.spec.errors import MissingError


def runtime_root() -> Path:
    """Return ``/run/dojo-<uid>``, or ``/tmp/dojo-<uid>`` where /run is not ours; made with mode 0700.

    The path is short on purpose: a unix socket's path may have at most 107 bytes.

    Raises:
        MissingError: somebody else owns the folder, so it cannot be trusted.
    """
    uid = os.geteuid()
    base = Path("/run") if os.access("/run", os.W_OK) else Path("/tmp")
    root = base / f"dojo-{uid}"
    root.mkdir(mode=0o700, exist_ok=True)
    state = root.lstat()
    if state.st_uid != uid or state.st_mode & 0o077 or root.is_symlink():
        raise MissingError(f"{root} belongs to somebody else or is open to others", hint=f"remove {root}, then try again")
    return root
