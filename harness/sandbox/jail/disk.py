"""The one disk behind everything writable in a sandbox: an ext4 image on a loop device, or a tmpfs of a fixed size."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from ..execd import syscalls

# Kept for root of the sandbox: the output of detached processes is still written when the user has filled the disk.
RESERVE_MB = 80
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_MAJOR = 7
# struct loop_config: fd, block size, struct loop_info64 (its flags are the 13th word), reserved
_LOOP_CONFIG = struct.Struct("=II 5Q 4I 64s64s32s2Q 8Q")
_ATTEMPTS = 50
_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV


def mount_tmpfs(target: str, size_mb: int) -> None:
    """Mount a tmpfs of ``size_mb``; what lies in it counts as memory of who writes it."""
    syscalls.mount("tmpfs", target, "tmpfs", _FLAGS, f"size={size_mb}m,mode=755")


def mount_image(image: str, target: str, size_mb: int, mkfs: str) -> None:
    """Make a sparse ext4 image with ``size_mb`` for the user and mount it; it is gone when the last mount of it is.

    Raises:
        OSError: no loop device to be had, mkfs failed, or no room for the image.
    """
    reserve = min(RESERVE_MB, size_mb)
    small = size_mb < 512
    # inode tables and block bitmaps: 256 bytes an inode
    overhead = size_mb // (14 if small else 48) + 4
    total = size_mb + reserve + overhead
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, total * 1024 * 1024)
        command = [
            mkfs,
            "-q",
            "-F",
            "-O",
            "^has_journal,^resize_inode",
            "-b",
            "4096",
            "-I",
            "256",
            "-i",
            "4096" if small else "16384",
        ]
        command += ["-m", f"{100 * reserve / total:.2f}", "-E", "lazy_itable_init=1,nodiscard", image]
        made = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(mkfs, command, {}), 0)[1])
        if made:
            raise OSError(errno.EIO, f"it ended with exit code {made}", mkfs)
        device, loop = _attach(descriptor)
        try:
            syscalls.mount(device, target, "ext4", _FLAGS | syscalls.MS_NOATIME, "noinit_itable,discard,nobarrier")
        finally:
            os.close(loop)
    finally:
        os.unlink(image)
        os.close(descriptor)


def _attach(image: int) -> tuple[str, int]:
    """Return path and descriptor of a loop device on ``image`` that frees itself after its last use."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            device = f"/dev/loop{number}"
            if not os.path.exists(device):
                os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(_LOOP_MAJOR, number))
            loop = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            config = _LOOP_CONFIG.pack(
                image, 0, *[0] * 5, 0, 0, 0, _LO_FLAGS_AUTOCLEAR, b"", b"", b"", 0, 0, *[0] * 8
            )  # fmt: skip
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
            except OSError as exc:
                os.close(loop)
                if exc.errno != errno.EBUSY:  # somebody else was faster
                    raise
                continue
            return device, loop
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device", "/dev/loop-control")
