"""Which GPUs of this host belong to which owner (a run): no two share one, whichever harness process made their sandboxes.

A claim is a file in the sandbox's folder, so it lasts as long as the sandbox is on the host, over crashes too, and the owner's
GPUs are free again when the last of its sandboxes is destroyed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

_CLAIM, _LOCK = "gpus.json", "gpus.lock"
_OF_THE_JOB = "SLURM_JOB_GPUS"


def gpu_numbers(devices: Path = Path("/dev"), environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the numbers of this host's NVIDIA GPUs: "0" for /dev/nvidia0. In a job of Slurm with GPUs: those of the job."""
    numbers = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    given = _listed(environment.get(_OF_THE_JOB, ""))
    return tuple(sorted((n for n in numbers if n.isdigit() and (not given or int(n) in given)), key=int))


def _listed(text: str) -> set[int]:
    """Read numbers as Slurm lists them: ``0,2-3``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last if last.isdigit() else first) + 1))
    return found


def claim(folder: Path, owner: str, count: int, there: Sequence[str]) -> tuple[str, ...]:
    """Return ``count`` GPUs that no other owner has: those that this owner's other sandboxes have, where there are any.

    Args:
        folder: the sandbox's folder, ``<runtime root>/<kind>/<id>``; the claims of all kinds lie beside it.
        owner: who shares them.
        count: how many.
        there: numbers of the host's GPUs.

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
        for path in root.glob(f"*/*/{_CLAIM}"):
            with contextlib.suppress(FileNotFoundError):  # its sandbox is being destroyed
                other = json.loads(path.read_text())
                held.setdefault(other["owner"], set()).update(other["numbers"])
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
