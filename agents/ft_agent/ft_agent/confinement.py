"""Walls around a process that runs somebody else's code: limits, a system call filter, and files that cannot be seen.

Standard library only, and nothing of ours: it runs in the child, before the code it confines. Each wall holds without the
others; `confine` says which the kernel has put up. Call numbers: Linux ``asm/unistd_64.h`` and ``asm-generic/unistd.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# what a pure function has no use for → its number on (x86_64, aarch64); None where the machine has no such call
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "setpgid": (109, 154), "setsid": (112, 157),
    # its own limits
    "setrlimit": (160, 164), "prlimit64": (302, 261),
    # the network, and memory that outlives it
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425), "shmget": (29, 194),
    # files
    "creat": (85, None), "truncate": (76, 45), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None),
    "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utimensat": (280, 88),
}  # fmt: skip
# Their arguments lie in memory, where a filter cannot look; libraries take the older call when these do not exist.
_ABSENT = {"clone3": (435, 435), "openat2": (437, 437)}
# call → number, and which argument holds the flags
_OPENING: dict[str, tuple[int | None, int | None, int]] = {"open": (2, None, 1), "openat": (257, 56, 2)}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_X32_BIT = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_FILTER = 22, 38, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_TCP, _SIGNALS_AND_SOCKETS = 0b11, 0b11


def limit(cpu_s: int, memory_mb: int) -> None:
    """Limit this process: CPU time, address space; no file may grow, no process may be made, no core is written."""
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, memory_mb << 20, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        # a tighter limit that holds already cannot be raised, and stays
        most = resource.getrlimit(kind)[1]
        most = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(kind, (min(soft, most), most))


def readable() -> list[str]:
    """Return what Python itself needs to read: its installation and the system's libraries."""
    places = [sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    return sorted({os.path.realpath(p) for p in places if Path(p).exists()})


def confine(places: Sequence[str]) -> list[str]:
    """Put up the walls for good and name those that stand: audit, landlock, seccomp.

    ``places`` stay readable. Nothing else is, nothing can be written, started or signalled, and there is no network.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _audit(places)
    walls = ["audit"]
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return walls
    if _landlock(libc, places):
        walls.append("landlock")
    if os.uname().machine in _COLUMN and _seccomp(libc, os.uname().machine):
        walls.append("seccomp")
    return walls


def _audit(places: Sequence[str]) -> None:
    """Refuse to open other files in Python's own words; it holds where the kernel knows no Landlock."""
    inside = tuple(p.rstrip("/") + "/" for p in places)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            if path not in places and not path.startswith(inside):
                raise PermissionError(errno.EACCES, "a data program works on its rows only and may not open", path)

    sys.addaudithook(hook)


def _landlock(libc: Any, places: Sequence[str]) -> bool:
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    fields = [handled, *([_TCP] if version >= 4 else []), *([_SIGNALS_AND_SOCKETS] if version >= 6 else [])]
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    for place in places:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
        allowed = _READ_FILE | (_READ_DIR if Path(place).is_dir() else 0)
        added = libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", allowed, opened), 0)
        os.close(opened)
        if added:
            return False
    restricted: bool = libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(rules)
    return restricted


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _seccomp(libc: Any, machine: str) -> bool:
    code = call_filter(machine)
    program = _Program(len(code) // 8, code)
    rest = (ctypes.c_ulong(0), ctypes.c_ulong(0))
    return bool(libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_FILTER), ctypes.byref(program), *rest) == 0)


def call_filter(machine: str) -> bytes:
    """Return the filter as a BPF program for ``machine`` (x86_64 or aarch64)."""
    column = _COLUMN[machine]
    program = _op(_LOAD, 4) + _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _op(_RETURN, _KILL) + _op(_LOAD, 0)
    program += _op(_AT_LEAST, _X32_BIT, 0, 1) + _refuse(errno.ENOSYS)
    for table, answer in ((_DENIED, errno.EPERM), (_ABSENT, errno.ENOSYS)):
        for numbers in table.values():
            if numbers[column] is not None:
                program += _op(_EQUAL, numbers[column], 0, 1) + _refuse(answer)
    for x86, arm, argument in _OPENING.values():
        number = (x86, arm)[column]
        if number is not None:
            flags = _op(_LOAD, 16 + 8 * argument) + _op(_ANY_BIT, _WRITING, 0, 1) + _refuse(errno.EPERM) + _op(_RETURN, _ALLOW)
            program += _op(_EQUAL, number, 0, len(flags) // 8) + flags
    return program + _op(_RETURN, _ALLOW)


def _op(code: int, value: int | None, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)
