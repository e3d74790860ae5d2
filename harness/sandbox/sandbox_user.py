"""Which user the agent is in a sandbox of the backend `namespace`, by what this host allows.

Root chooses a number of its own for each sandbox. An ordinary user has what /etc/subuid and /etc/subgid give it, if the programs
that may map them are here: then each sandbox has one of those. Else there is one user for everything: the harness's own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.sandbox import uids
from harness.sandbox.execd.settings import AGENT_ID, Mode
from harness.sandbox.this_host import SYSTEM_PATH

ONE_USER_REMEDY = (
    "install newuidmap (package uidmap) and give yourself subordinate users (usermod --add-subuids 100000-165535 "
    "--add-subgids 100000-165535 NAME), or run dojo as root: then each sandbox has a user of its own"
)
# From the end: rootless container engines of the same user begin at the front.
_TAKEN = 512
_MAPPERS = ("newuidmap", "newgidmap")
# What is counted for the namespace's owner too must not be all of it: usual are some 60,000 signals and 819,200 bytes of queues.
_SHARES = {"SIGPENDING": 2048, "MSGQUEUE": 204_800}


class SandboxUser(NamedTuple):
    """Who the agent is.

    Attributes:
        mode: of execd.
        inside: its user and group id inside.
        maps: for a user namespace with more than one user: the programs that map them, each with its rows.
        rlimits: what limits it beside the sandbox's own limits.
    """

    mode: Mode
    inside: int
    maps: list[list[Any]]
    rlimits: dict[str, int]


class _Subordinate(NamedTuple):
    """Users and groups that this user may map, from these numbers on, and the programs that do it."""

    mappers: tuple[str, ...]
    users: uids.Span
    groups: uids.Span

    def maps(self, number: int) -> list[list[Any]]:
        """Return the rows for the user ``number`` and the group beside it."""
        group = self.groups.first + number - self.users.first
        ours = (os.geteuid(), os.getegid())
        return [
            [mapper, [[0, own, 1], [AGENT_ID, other, 1]]]
            for mapper, own, other in zip(self.mappers, ours, (number, group), strict=True)
        ]


def sandbox_user(folder: Path) -> SandboxUser:
    """Return the user for the sandbox that lies in ``folder``, claimed where it has one of its own.

    Raises:
        SandboxUnavailable, MissingError: there is no number left, or none at all.
    """
    if os.geteuid() == 0:
        return SandboxUser("privileged", uids.claim(folder, uids.own_span()), [], {})
    if (found := _subordinate()) is not None:
        number = uids.claim(folder, found.users, is_free=uids.free_on_this_host(but=found.users))
        return SandboxUser("privileged", AGENT_ID, found.maps(number), _SHARES)
    return SandboxUser("nested", AGENT_ID, [], {})


def likely_user() -> tuple[Mode, list[list[Any]]]:
    """Return mode and maps as a sandbox would have them, without claiming anything: for a look at what this host allows."""
    if os.geteuid() == 0:
        return "privileged", []
    found = _subordinate()
    return ("nested", []) if found is None else ("privileged", found.maps(found.users.first))


def _subordinate() -> _Subordinate | None:
    found = [shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") for name in _MAPPERS]
    mappers = tuple(path for path in found if path is not None and _gains_privileges(path))
    spans = [_largest(path) for path in uids.SUBORDINATE]
    users, groups = spans
    if len(mappers) < len(_MAPPERS) or users is None or groups is None:
        return None
    count = min(users.size, groups.size, _TAKEN)
    ends = (uids.Span(span.first + span.size - count, count) for span in (users, groups))
    return _Subordinate(mappers, *ends)


def _largest(path: Path) -> uids.Span | None:
    """Return the most numbers that one line gives to this user."""
    number = os.geteuid()
    names = [str(number)]
    with contextlib.suppress(KeyError):  # an id without an account may have a line all the same
        names.append(pwd.getpwuid(number).pw_name)
    spans: Sequence[uids.Span] = [span for owner, span in uids.subordinate(path) if owner in names and span.size]
    return max(spans, key=lambda span: span.size, default=None)


def _gains_privileges(program: str) -> bool:
    """Whether a program that is set-uid, or has capabilities of its own, gets them when we start it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    if "NoNewPrivs:\t0" not in status or os.statvfs(program).f_flag & os.ST_NOSUID:
        return False
    return bool(os.stat(program).st_mode & 0o4000) or "security.capability" in os.listxattr(program)
