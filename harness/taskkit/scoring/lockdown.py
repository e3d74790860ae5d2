"""Shuts a process in for good before it runs a model's code: its own folder, libraries to read, and nothing else.

Works without privileges, on top of whatever sandbox the grader is in: Landlock closes the file system, a system call filter takes
away sockets, new processes, signals, other processes' memory and priority, and what Landlock lets through (modes, owners, times
and attributes of files), resource limits bound the rest. Numbers: Linux ``asm/unistd_64.h`` (x86_64) and
``asm-generic/unistd.h`` (aarch64); ``linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Sequence

MAX_MEMORY = 4 * 1024**3
MAX_FILE = 16 * 1024**2
MAX_OPEN_FILES = 128

# name → number on (x86_64, aarch64); None where the machine has no such call
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "ptrace": (101, 117),
    "kcmp": (312, 272), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51),
    "open_by_handle_at": (304, 265), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122), "setpriority": (141, 140), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273),
    # Landlock covers none of these, nor truncate before its third version: they change files by name that cannot be opened
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469), "truncate": (76, 45),
    # and these reach any process of the same user
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "process_mrelease": (448, 448),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_CLONE_THREAD = 0x00010000
# fcntl(F_SETOWN), fcntl(F_SETOWN_EX): have the kernel send signals to another process for a file of one's own
_FCNTL, _SET_OWNER = (72, 25), (8, 15)
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE, _FILTER = 38, 22, 4, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FILES_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI → number of file rights, each a bit
_EXECUTE, _WRITE, _READ, _READ_DIR, _REMOVE_DIR, _REMOVE, _MAKE_DIR, _MAKE_FILE = (1 << bit for bit in (0, 1, 2, 3, 4, 5, 7, 8))
_TRUNCATE = 1 << 14
_LIBRARY = _EXECUTE | _READ | _READ_DIR
_OWN = _WRITE | _READ | _READ_DIR | _REMOVE_DIR | _REMOVE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE

_libc = ctypes.CDLL(None, use_errno=True)


def shut_in(own: str, libraries: Sequence[str], cpu_s: int) -> None:
    """Leave this process one folder to write to, ``libraries`` to read, ``cpu_s`` seconds of CPU, and no way to anyone else.

    Raises:
        OSError: the kernel cannot do it (no Landlock, no filter, an unknown machine); nothing may be run then.
    """
    for name, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        hard = resource.getrlimit(name)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (limit, limit))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _close_files(own, libraries)
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    _filter_calls()


def _close_files(own: str, libraries: Sequence[str]) -> None:
    abi = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock, so a model's code cannot be kept from files")
    handled = (1 << _FILES_OF_ABI.get(abi, 16)) - 1
    ruleset = struct.pack("Q", handled)
    if abi >= 4:
        ruleset += struct.pack("Q", 3)  # TCP: bind and connect
    if abi >= 6:
        ruleset += struct.pack("Q", 3)  # scope: abstract unix sockets and signals
    descriptor = _libc.syscall(_CREATE_RULESET, ctypes.c_char_p(ruleset), ctypes.c_size_t(len(ruleset)), 0)
    _check(descriptor, "landlock_create_ruleset")
    for path, rights in [(own, _OWN), *((path, _LIBRARY) for path in libraries)]:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed = rights & handled & (-1 if os.path.isdir(path) else _ON_FILES)
        rule = struct.pack("=Qi", allowed, opened)
        _check(_libc.syscall(_ADD_RULE, descriptor, 1, ctypes.c_char_p(rule), 0), f"landlock_add_rule {path}")
        os.close(opened)
    _check(_libc.syscall(_RESTRICT_SELF, descriptor, 0), "landlock_restrict_self")
    os.close(descriptor)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter_calls() -> None:
    machine = os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    code = _program(machine)
    program = _Program(len(code) // 8, code)
    _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(program), 0, 0), "system call filter")


def _program(machine: str) -> bytes:
    column = 0 if machine == "x86_64" else 1
    refuse, missing = _op(_RETURN, _ERRNO | errno.EPERM), _op(_RETURN, _ERRNO | errno.ENOSYS)
    program = _op(_LOAD, 4) + _op(_JUMP_EQUAL, _AUDIT_ARCH[machine], 1, 0) + _op(_RETURN, _KILL) + _op(_LOAD, 0)
    program += _op(_JUMP_AT_LEAST, _X32_BIT, 0, 1) + missing
    program += _op(_JUMP_EQUAL, _CLONE3[column], 0, 1) + missing  # its flags lie in memory, where a filter cannot look
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            program += _op(_JUMP_EQUAL, number, 0, 1) + refuse
    owner = _op(_LOAD, 24) + _op(_JUMP_EQUAL, _SET_OWNER[0], 2, 0) + _op(_JUMP_EQUAL, _SET_OWNER[1], 1, 0)
    owner += _op(_RETURN, _ALLOW) + refuse
    program += _op(_JUMP_EQUAL, _FCNTL[column], 0, len(owner) // 8) + owner
    thread = _op(_LOAD, 16) + _op(_JUMP_SET, _CLONE_THREAD, 1, 0) + refuse + _op(_RETURN, _ALLOW)
    return program + _op(_JUMP_EQUAL, _CLONE[column], 0, len(thread) // 8) + thread + _op(_RETURN, _ALLOW)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
