"""Where hidden things lie, and how: not in what sandboxes are shown of the host, and closed to the host's other users."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.assets.hidden_secret import secret_path
from harness.sandbox.base import Backend, Check
from harness.spec.errors import MissingError

_MOVE = "set DOJO_CACHE, DOJO_HOME or DOJO_TASKS to a folder of your own, outside the system's and Python's"


def check_places(places: Mapping[str, Path], backend: Backend) -> Check:
    """Say whether sandboxes are shown a folder with hidden things: below the host's system, or below Python's folder.

    Args:
        places: what lies there, in words, and the folder.
        backend: where the sandboxes are made; one that has a system of its own shows none of the host's.
    """
    shows: Callable[[Path], bool] = getattr(backend, "shows", lambda _path: False)
    inside = {what: path for what, path in places.items() if shows(path)}
    found = "; ".join(f"{what} in {path} can be read inside every sandbox" for what, path in inside.items())
    return Check("hidden places", not inside, found or f"{', '.join(places)}: none is shown in sandboxes", _MOVE)


def require_fine(*checks: Check) -> None:
    """Refuse to go on where hidden things do not lie as they should.

    Raises:
        MissingError: names what is wrong first.
    """
    for check in (check for check in checks if not check.ok):
        raise MissingError(check.detail, hint=check.hint)


def prepared_folders(cache: Path, task: str | None = None) -> list[Path]:
    """Return the folders of prepared data in a cache; those of one task, or all."""
    return sorted(manifest.parent for manifest in (cache / "data").glob(f"{task or '*/*'}/*/*/manifest.json"))


def check_modes(cache: Path, folders: Sequence[Path]) -> Check:
    """Say whether the host's other users can reach prepared data with hidden items in it, or the installation's secret."""
    found = list(_open_to_others((secret_path(cache), *folders)))
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return Check(
        "hidden modes",
        not found,
        f"others may read {', '.join(found[:3])}{more}" if found else f"{len(folders)} sets of data are closed to other users",
        "`dojo data verify` closes them; where somebody may have looked, remove the secret too, and a new one is made",
    )


def close_modes(cache: Path, folders: Sequence[Path]) -> Check:
    """Close prepared data and the secret to other users, and say which of them were open: they may have been looked at."""
    found = []
    for path in (secret_path(cache), *folders):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                path.chmod(mode & 0o700)
                found.append(f"{path} (mode was {mode:o})")
    left = check_modes(cache, folders)
    if not left.ok or not found:
        return left
    advice = f"if somebody may have looked, remove {secret_path(cache)}, and new hidden items are drawn"
    return Check(left.name, True, f"closed to other users just now: {', '.join(found)}; {advice}")


def _open_to_others(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        if stat.S_IMODE(mode) & 0o077:
            yield f"{path} (mode {stat.S_IMODE(mode):o})"
