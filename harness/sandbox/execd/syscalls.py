"""The Linux calls that Python's standard library lacks, through ctypes. Numbers come from the kernel's own headers."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL = 0, 1, 3, 4, 5
CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE = 6, 7, 10
CAP_LAST = 63
# what root keeps inside: a strict part of what Docker leaves a container's root
KEPT_CAPS = (CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE)

_CLOCK_BOOTTIME, _TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = 7, 0o4000, 0o2000000, 1

_libc = ctypes.CDLL(None, use_errno=True)
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAP_VERSION_3 = 0x20080522


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Make or change a mount; an OSError names the target."""
    args = [a.encode() if a else None for a in (source, target, kind)]
    _check(_libc.mount(*args, ctypes.c_ulong(flags), data.encode() if data else None), target)


def unmount(target: str, flags: int = 0) -> None:
    """Call umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), target)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and show the old one at ``old``."""
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], new.encode(), old.encode()), new)


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags`` for new ones."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def prctl(option: int, argument: int | bytes = 0) -> None:
    """Set a property of this process, with one argument."""
    value = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, value, zero, zero, zero), f"prctl({option})")


def set_name(name: str) -> None:
    """Set the name that ps shows, at most 15 bytes."""
    prctl(PR_SET_NAME, name.encode()[:15])


def become_subreaper() -> None:
    """Adopt every descendant whose parent dies, so that none gets away by a double fork."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def _capabilities() -> tuple[int, int, int]:
    values = {"CapEff": 0, "CapPrm": 0, "CapInh": 0}
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in values:
                values[name] = int(value, 16)
    return values["CapEff"], values["CapPrm"], values["CapInh"]


def _set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    head = struct.pack("Ii", _CAP_VERSION_3, 0)
    low = 0xFFFFFFFF
    parts = [(effective & low, permitted & low, inheritable & low), (effective >> 32, permitted >> 32, inheritable >> 32)]
    _check(_libc.capset(head, b"".join(struct.pack("III", *p) for p in parts)), "capset")


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Give up every capability but ``kept``, for good and for all children."""
    for cap in range(CAP_LAST + 1):
        if cap not in kept:
            try:
                prctl(PR_CAPBSET_DROP, cap)
            except OSError:
                break  # past the kernel's last capability
    mask = sum(1 << cap for cap in kept) & _capabilities()[1]
    _set_capabilities(mask, mask, 0)


def clear_effective() -> int:
    """Stop using capabilities for a while; return what `restore_effective` takes."""
    effective, permitted, inheritable = _capabilities()
    if effective:
        _set_capabilities(0, permitted, inheritable)
    return effective


def restore_effective(effective: int) -> None:
    """Use the capabilities again that `clear_effective` returned."""
    if effective:
        _, permitted, inheritable = _capabilities()
        _set_capabilities(effective, permitted, inheritable)


def make_timer() -> int:
    """Return a timer's descriptor: readable when it has rung. Its clock goes on while the machine is suspended."""
    descriptor: int = _libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
    _check(min(descriptor, 0), "timerfd_create")
    return descriptor


def set_timer(descriptor: int, moment: int) -> None:
    """Let it ring once at ``moment``, nanoseconds of CLOCK_BOOTTIME; at once if that has passed; never if it is 0."""
    setting = struct.pack("qqqq", 0, 0, *divmod(moment, 1_000_000_000))
    _check(_libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, setting, None), "timerfd_settime")


def map_single_user(inside_uid: int, inside_gid: int, outside_uid: int, outside_gid: int) -> None:
    """In a new user namespace: let ``outside`` be ``inside``, and nobody else exist."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside_uid} {outside_uid} 1")
    _write("/proc/self/gid_map", f"{inside_gid} {outside_gid} 1")


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def raise_loopback() -> None:
    """Set the interface lo up in this network namespace."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, siocgifflags, request), 16)
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sH14x", b"lo", flags | iff_up))
