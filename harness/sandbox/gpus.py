"""Which GPUs of this host belong to which owner (a run): no two share one, whichever harness process made their sandboxes.

A claim is a file in the sandbox's folder, so it lasts as long as the sandbox is on the host, over crashes too, and the owner's
GPUs are free again when the last of its sandboxes is destroyed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.sandbox.nvidia.driver import HOST, DriverTree, Gpu, require_usable
from harness.sandbox.runtime import runtime_root
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

_CLAIM, _LOCK = "gpus.json", "gpus.lock"


def claim_gpus(
    folder: Path, owner: str, count: int, tree: DriverTree = HOST, environ: Mapping[str, str] = os.environ
) -> tuple[Gpu, ...]:
    """Return ``count`` of the GPUs that dojo may use here (see `usable`), claimed as by `claim`.

    Raises:
        MissingError: this host has fewer, or they cannot be used; says what to do.
        SandboxUnavailable: fewer are free.
    """
    if count == 0:
        return ()
    there = require_usable(count, tree, environ)
    names = claim(folder, owner, count, [gpu.name for gpu in there])
    return tuple(gpu for gpu in there if gpu.name in names)


def held_by(owner: str, root: Path | None = None) -> tuple[str, ...]:
    """Return the names of the GPUs that an owner's sandboxes on this host have now; none where they are elsewhere."""
    return tuple(sorted({name for other, names in _claims(root or runtime_root()) if other == owner for name in names}))


def claim(folder: Path, owner: str, count: int, there: Sequence[str]) -> tuple[str, ...]:
    """Return ``count`` GPUs that no other owner has: those that this owner's other sandboxes have, where there are any.

    Args:
        folder: the sandbox's folder, ``<runtime root>/<kind>/<id>``; the claims of all kinds lie beside it.
        owner: who shares them.
        count: how many.
        there: names of the GPUs that may be claimed.

    Raises:
        MissingError: this host has fewer.
        SandboxUnavailable: fewer are free; names the owners of the others.
    """
    if count == 0:
        return ()
    if len(there) < count:
        raise MissingError(f"the sandbox needs {count} GPUs and this host shows {len(there)}", hint="look for /dev/nvidia0")
    root = folder.parent.parent
    with open(root / _LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held: dict[str, set[str]] = {}
        for other, names in _claims(root):
            held.setdefault(other, set()).update(names)
        mine = held.pop(owner, set())
        taken = {number for numbers in held.values() for number in numbers}
        usable = sorted((number for number in there if number not in taken), key=lambda number: number not in mine)
        if len(usable) < count:
            message = (
                f"the sandbox needs {count} GPUs; of {len(there)} here {len(usable)} are free, "
                f"the others belong to {', '.join(sorted(held))}"
            )
            raise SandboxUnavailable(
                message, hint="wait for those runs, or `dojo gc` if they are dead", death=Death(Cause.SCHEDULING, message)
            )
        chosen = tuple(usable[:count])
        (folder / _CLAIM).write_text(json.dumps({"owner": owner, "numbers": chosen}))
        return chosen


def _claims(root: Path) -> Iterator[tuple[str, Sequence[str]]]:
    for path in root.glob(f"*/*/{_CLAIM}"):
        with contextlib.suppress(FileNotFoundError):  # its sandbox is being destroyed
            claimed = json.loads(path.read_text())
            yield claimed["owner"], claimed["numbers"]
