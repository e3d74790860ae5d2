"""Which big parts of a run were dropped here because they are safe elsewhere: said by a file in the run's folder."""

from __future__ import annotations

from pydantic import ValidationError

from harness.files import write_atomic
from harness.spec.base import Spec
from harness.spec.errors import StoreError
from harness.spec.toml import describe
from harness.store.run_dir import RunDir, damaged

MARKER = "dropped.json"
PARTS = ("sealed", "submissions", "workspace.zip")
"""What is large in a run's folder, and needed only to grade it again or to look at what its agent left."""
HALF_FETCHED = ".pulled-"
"""How a file is called in a run's folder while it is brought back."""


class _Dropped(Spec):
    parts: tuple[str, ...]


def dropped_parts(run: RunDir) -> tuple[str, ...]:
    """Return the parts that are not here (or no longer whole); none where nothing was dropped.

    Raises:
        StoreError: the file that says it cannot be read (code ``damaged``).
    """
    path = run.path / MARKER
    try:
        return _Dropped.model_validate_json(path.read_bytes()).parts
    except FileNotFoundError:
        return ()
    except ValidationError as exc:
        raise damaged(f"{path} is damaged: {describe(exc)}", "delete it, then `dojo artefacts pull` the run") from exc
    except OSError as exc:
        raise damaged(f"cannot read {path}: {exc.strerror}", "check the permissions of the run's folder") from exc


def mark_dropped(run: RunDir, parts: tuple[str, ...]) -> None:
    """Say which parts are not here; none takes the file away.

    Raises:
        StoreError: it cannot be written.
    """
    path = run.path / MARKER
    try:
        if parts:
            write_atomic(path, _Dropped(parts=parts).model_dump_json(indent=1).encode())
        else:
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}", hint="check free disk space and permissions there") from exc
