"""The filter is run here by a small interpreter of the kernel's filter machine, for both kinds of machine."""

import errno
import struct

import pytest

from harness.sandbox.execd import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86, ARM = "x86_64", "aarch64"
ARCH = {X86: 0xC000003E, ARM: 0xC00000B7}
NEW_USER, NEW_NET, THREAD_FLAGS = 0x10000000, 0x40000000, 0x003D0F00


def refused(number: int) -> int:
    return 0x00050000 | number


def run(machine: str, call: int, *arguments: int, arch: int | None = None) -> int:
    """Return what the filter answers to one system call."""
    arguments = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("IIQ6Q", call, ARCH[machine] if arch is None else arch, 0, *arguments)
    program = seccomp.build(machine)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("I", data, value)
        elif code in (0x15, 0x25, 0x45):
            hit = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[code]
            at += if_true if hit else if_false
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"an instruction the kernel's filters have not: {code:#x}")


@pytest.mark.parametrize(
    ("name", "x86", "arm"),
    [("read", 0, 63), ("execve", 59, 221), ("openat", 257, 56), ("kill", 62, 129), ("ptrace", 101, 117), ("mmap", 9, 222)],
)
def test_ordinary_calls_are_allowed(name: str, x86: int, arm: int) -> None:
    assert run(X86, x86) == ALLOW and run(ARM, arm) == ALLOW


@pytest.mark.parametrize(
    ("name", "x86", "arm"),
    [
        ("mount", 165, 40), ("umount2", 166, 39), ("pivot_root", 155, 41), ("unshare", 272, 97), ("setns", 308, 268),
        ("bpf", 321, 280), ("perf_event_open", 298, 241), ("add_key", 248, 217), ("request_key", 249, 218), ("keyctl", 250, 219),
        ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426), ("io_uring_register", 427, 427), ("userfaultfd", 323, 282),
        ("kexec_load", 246, 104), ("kexec_file_load", 320, 294), ("init_module", 175, 105), ("finit_module", 313, 273),
        ("delete_module", 176, 106), ("open_by_handle_at", 304, 265), ("reboot", 169, 142), ("swapon", 167, 224),
        ("settimeofday", 164, 170), ("clock_settime", 227, 112), ("syslog", 103, 116), ("quotactl", 179, 60), ("acct", 163, 89),
        ("fsopen", 430, 430), ("open_tree", 428, 428), ("move_mount", 429, 429), ("mount_setattr", 442, 442), ("chroot", 161, 51),
    ],
)  # fmt: skip
def test_doors_into_the_kernel_are_shut(name: str, x86: int, arm: int) -> None:
    assert run(X86, x86) == refused(errno.EPERM) and run(ARM, arm) == refused(errno.EPERM)


def test_a_foreign_machines_call_ends_the_process() -> None:
    assert run(X86, 0, arch=0x40000003) == KILL  # i386, whose numbers mean other calls
    assert run(ARM, 63, arch=ARCH[X86]) == KILL


def test_x32_calls_do_not_exist() -> None:
    assert run(X86, 0x40000000 | 165) == refused(errno.ENOSYS)


def test_calls_newer_than_the_table_do_not_exist() -> None:
    assert run(X86, 463) == refused(errno.ENOSYS) and run(ARM, 463) == refused(errno.ENOSYS)


def test_clone_makes_processes_and_threads_but_no_namespaces() -> None:
    for machine, clone in ((X86, 56), (ARM, 220)):
        assert run(machine, clone, 17) == ALLOW and run(machine, clone, THREAD_FLAGS) == ALLOW
        for flag in (NEW_USER, NEW_NET, 0x20000, 0x20000000, 0x08000000, 0x04000000, 0x02000000):
            assert run(machine, clone, 17 | flag) == refused(errno.EPERM)
        assert run(machine, 435, 0) == refused(errno.ENOSYS)  # clone3: the C library falls back to clone


def test_only_harmless_kinds_of_sockets_exist() -> None:
    for machine, socket in ((X86, 41), (ARM, 198)):
        for family in (1, 2, 10):
            assert run(machine, socket, family, 1, 0) == ALLOW
        assert run(machine, socket, 16, 3, 0) == ALLOW  # netlink route: asked by every look at interfaces
        assert run(machine, socket, 16, 3, 16) == refused(errno.EPERM)  # netlink generic
        for family in (17, 38, 40, 31, 44, 3, 9, 45):
            assert run(machine, socket, family, 1, 0) == refused(errno.EAFNOSUPPORT)


def test_a_program_may_only_ask_for_common_personalities() -> None:
    assert run(X86, 135, 0) == ALLOW and run(X86, 135, 0xFFFFFFFF) == ALLOW
    assert run(X86, 135, 0x0040000) == refused(errno.EPERM)  # no address randomisation


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.build("riscv64")
