"""Which GPUs of this host belong to which run: no two runs share one, whichever harness process made them.

A claim is a file in the run's runtime folder, so it lasts as long as anything of the run is on the host, over crashes too.
"""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path

from harness.spec.errors import SandboxUnavailable

_CLAIM, _LOCK = "gpus", "gpus.lock"


def gpu_numbers(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the numbers of this host's NVIDIA GPUs: "0" for /dev/nvidia0."""
    numbers = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    return tuple(sorted((n for n in numbers if n.isdigit()), key=int))


def claim(run_folder: Path, count: int, there: Sequence[str]) -> tuple[str, ...]:
    """Return ``count`` GPUs that no other run has; the same ones when asked again.

    Args:
        run_folder: the run's runtime folder; its siblings are the other runs'.
        count: how many.
        there: numbers of the host's GPUs.

    Raises:
        SandboxUnavailable: fewer are free; names the runs that hold the others.
    """
    if count == 0:
        return ()
    run_folder.mkdir(parents=True, exist_ok=True)
    with open(run_folder.parent / _LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mine = run_folder / _CLAIM
        if mine.exists():
            return tuple(mine.read_text().split())
        held = {path.parent.name: path.read_text().split() for path in run_folder.parent.glob(f"*/{_CLAIM}")}
        taken = {number for numbers in held.values() for number in numbers}
        free = [number for number in there if number not in taken]
        if len(free) < count:
            raise SandboxUnavailable(
                f"the run needs {count} GPUs; of {len(there)} here {len(free)} are free, "
                f"the others belong to {', '.join(sorted(held))}",
                hint="wait for those runs, or `dojo gc` if they are dead",
            )
        mine.write_text(" ".join(free[:count]))
        return tuple(free[:count])
