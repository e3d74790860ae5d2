"""The system call filter of every process in a sandbox: at least as tight as Docker's default profile.

It is the complement of Docker's list: the calls below are refused with EPERM, calls newer than the table do not exist (ENOSYS),
and everything else is allowed. Numbers: Linux ``asm/unistd_64.h`` (x86_64) and ``asm-generic/unistd.h`` (aarch64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from . import syscalls

# name → number on (x86_64, aarch64); None where the machine has no such call
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # the kernel itself
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116), "acct": (163, 89), "swapon": (167, 224),
    "swapoff": (168, 225), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "lookup_dcookie": (212, 18),
    "ioperm": (173, None), "iopl": (172, None), "vhangup": (153, 58), "nfsservctl": (180, 42),
    "lsm_get_self_attr": (459, 459), "lsm_set_self_attr": (460, 460), "lsm_list_modules": (461, 461),
    # keyrings, clocks
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    # other processes and the machine's memory
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "move_pages": (279, 239),
    "migrate_pages": (256, 238), "mbind": (237, 235), "get_mempolicy": (239, 236), "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    # long dead
    "create_module": (174, None), "get_kernel_syms": (177, None), "query_module": (178, None), "uselib": (134, None),
    "ustat": (136, None), "sysfs": (139, None), "_sysctl": (156, None), "vserver": (236, None),
}  # fmt: skip
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = {"x86_64": 435, "aarch64": 435}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_PERSONALITY = {"x86_64": 135, "aarch64": 92}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
# mseal, Linux 6.10: the newest call in Docker's list when this table was made
_NEWEST = 462
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = 0x7E020000
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _one_of(values: Iterable[int], otherwise: int) -> bytes:
    """Allow when the loaded word is one of ``values``, else refuse with the errno ``otherwise``."""
    return b"".join(_op(_JUMP_EQUAL, v, 0, 1) + _op(_RETURN, _ALLOW) for v in values) + _refuse(otherwise)


def _for_call(number: int, body: bytes) -> bytes:
    """Run ``body``, which must end in a return, when the call is ``number``; the call's number is loaded before and after."""
    return _op(_JUMP_EQUAL, number, 0, len(body) // 8) + body


def build(machine: str) -> bytes:
    """Return the BPF program for ``machine`` ("x86_64" or "aarch64").

    Raises:
        KeyError: no table for this machine.
    """
    column = _COLUMN[machine]
    program = _op(_LOAD, _OFFSET_ARCH) + _op(_JUMP_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _op(_RETURN, _KILL)
    program += _op(_LOAD, _OFFSET_NUMBER)
    # the x32 calls of x86_64 carry a high bit, so they fall here too
    program += _op(_JUMP_ABOVE, _NEWEST, 0, 1) + _refuse(errno.ENOSYS)
    program += _for_call(_CLONE3[machine], _refuse(errno.ENOSYS))  # its flags lie in memory, where a filter cannot look
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            program += _for_call(number, _refuse(errno.EPERM))
    first_argument = _op(_LOAD, _OFFSET_ARGS)
    clone = first_argument + _op(_JUMP_SET, _NAMESPACE_FLAGS, 0, 1) + _refuse(errno.EPERM) + _op(_RETURN, _ALLOW)
    program += _for_call(_CLONE[machine], clone)
    program += _for_call(_PERSONALITY[machine], first_argument + _one_of(_PERSONALITIES, errno.EPERM))
    netlink = _op(_LOAD, _OFFSET_ARGS + 16) + _one_of((_NETLINK_ROUTE,), errno.EPERM)
    family = first_argument + _op(_JUMP_EQUAL, _AF_NETLINK, 0, len(netlink) // 8) + netlink
    program += _for_call(_SOCKET[machine], family + _one_of(_FAMILIES, errno.EAFNOSUPPORT))
    return program + _op(_RETURN, _ALLOW)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> None:
    """Put this process and all its children under the filter, and take away every way to gain privileges.

    Raises:
        OSError: the kernel refuses, or there is no table for this machine (ENOSYS).
    """
    machine = os.uname().machine
    if machine not in _COLUMN:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    code = build(machine)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_seccomp, filter_mode = 22, 2
    if libc.prctl(pr_set_seccomp, ctypes.c_ulong(filter_mode), ctypes.byref(program), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "the kernel refuses the system call filter")
