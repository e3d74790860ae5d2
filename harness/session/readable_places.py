"""Whether sandboxes can read what they are to be shown: their user is another one, and a strict umask locks it out."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.sandbox.base import Backend, Check


def check_readable(places: Mapping[str, Iterable[Path]], backend: Backend) -> Check:
    """Say whether the user of a sandbox may read what will be shown there.

    Args:
        places: what is shown, in words, and the files and folders that it lies in. Hidden files in a folder are not asked about.
        backend: where the sandboxes are made; one whose sandboxes have the harness's own user reads all that this one reads.
    """
    another: Callable[[], bool] = getattr(backend, "another_user", lambda: False)
    if another():
        for what, paths in places.items():
            for path in paths:
                if (closed := _closed(path)) is not None:
                    mode = stat.S_IMODE(closed.stat().st_mode)
                    detail = f"{what}: others may not read {closed} (mode {mode:o}), and sandboxes have another user"
                    return Check("readable in sandboxes", False, detail, f"chmod -R go+rX {shlex.quote(str(path))}")
    return Check("readable in sandboxes", True, f"{', '.join(places)}: sandboxes may read them")


def _closed(path: Path) -> Path | None:
    """Return the first file or folder at and below ``path`` that others may not read, None where there is none."""
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode):
        return None if mode & stat.S_IROTH else path
    if not (mode & stat.S_IROTH and mode & stat.S_IXOTH):
        return path
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith((".", "__pycache__")))
    below = (_closed(path / name) for name in names if (path / name).exists())
    return next((found for found in below if found is not None), None)
