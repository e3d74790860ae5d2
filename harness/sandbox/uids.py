"""A user of its own for every sandbox, whose number belongs to nobody else on this host.

What the kernel counts or grants by user (reading a process, signals, inotify, pipes, queued signals, message queues, keyrings) is
shared by all that has one number: by two sandboxes, and by whoever of this host happens to be called so.

A claim is a file in the sandbox's folder, so it lasts as long as the sandbox is on the host, over crashes too. A number that was
given back comes again only when all others have been used.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

_CLAIM, _LOCK = "user.json", "users.lock"
SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))


class Span(NamedTuple):
    """Numbers of users (and of groups, the same ones) from ``first`` on."""

    first: int
    size: int


# Between what container managers take (to 1,879,048,191) and what is set aside above 2,147,352,575 nobody hands numbers out. Each
# user who runs dojo has a part, so that two of them never meet.
_FREE, _PART, _PARTS = 1_900_000_000, 2048, 65_536
# The same for hosts and engines that know no large numbers, as they are in a container themselves: the gap above the users that
# systemd makes for homes.
_FREE_SMALL = Span(60_706, 478)


def own_span() -> Span:
    """Return the numbers that this process's user may give to sandboxes.

    Raises:
        MissingError: neither range exists in this user namespace.
    """
    large = Span(_FREE + os.geteuid() % _PARTS * _PART, _PART)
    maps = [Path(f"/proc/self/{name}").read_text(encoding="ascii") for name in ("uid_map", "gid_map")]
    for span in (large, _FREE_SMALL):
        if all(_covers(text, span) for text in maps):
            return span
    raise MissingError(
        f"this user namespace has no user ids {_FREE_SMALL.first} and on, so sandboxes cannot have one each",
        hint="give the container more ids (65536 are usual), or run dojo outside it",
    )


def small_span() -> Span:
    """Return the numbers that exist inside containers of engines that map users."""
    return _FREE_SMALL


def _covers(map_text: str, span: Span) -> bool:
    rows = (tuple(int(part) for part in line.split()) for line in map_text.splitlines())
    return any(inside <= span.first and span.first + span.size <= inside + count for inside, _, count in rows)


def claim(folder: Path, span: Span, *, is_free: Callable[[int], bool] | None = None) -> int:
    """Return a number of ``span`` that no other sandbox has, no account, no subordinate range and no process.

    Args:
        folder: the sandbox's folder, ``<runtime root>/<kind>/<id>``; the claims of all kinds lie beside it.
        span: numbers to choose from.
        is_free: whether a number belongs to nobody; None asks this host.

    Raises:
        SandboxUnavailable: all are taken.
    """
    root = folder.parent.parent
    with open(root / _LOCK, "a+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = set()
        for path in root.glob(f"*/*/{_CLAIM}"):
            with contextlib.suppress(FileNotFoundError):  # its sandbox is being destroyed
                taken.add(int(json.loads(path.read_text())))
        lock.seek(0)
        last = int(lock.read() or -1)
        free = is_free or free_on_this_host()
        for number in _from(span, last + 1):
            if number not in taken and free(number):
                (folder / _CLAIM).write_text(json.dumps(number))
                lock.truncate(0)
                lock.write(str(number))
                return number
    message = f"all {span.size} user ids from {span.first} on are taken"
    raise SandboxUnavailable(message, hint="`dojo gc` removes dead sandboxes", death=Death(Cause.SCHEDULING, message))


def _from(span: Span, start: int) -> Iterator[int]:
    """Yield all numbers, beginning at ``start`` if it is one."""
    offset = start - span.first if span.first <= start < span.first + span.size else 0
    for step in range(span.size):
        yield span.first + (offset + step) % span.size


def free_on_this_host(but: Span | None = None) -> Callable[[int], bool]:
    """Return the question whether a number belongs to nobody now: no account, no group, no subordinate range, no process.

    Args:
        but: numbers that a subordinate range may have all the same, because it is ours.
    """
    given = [span for path in SUBORDINATE for _, span in subordinate(path) if but is None]
    busy = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                busy.add(entry.stat().st_uid)

    def free(number: int) -> bool:
        if number in busy or any(span.first <= number < span.first + span.size for span in given):
            return False
        for known in (pwd.getpwuid, grp.getgrgid):
            with contextlib.suppress(KeyError):
                known(number)
                return False
        return True

    return free


def subordinate(path: Path) -> list[tuple[str, Span]]:
    """Return (owner, numbers) of every line of /etc/subuid or /etc/subgid; none where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if first.isdigit() and count.isdigit():
            found.append((owner, Span(int(first), int(count))))
    return found
