"""A sandbox's disk on the host, for backends whose runtime cannot limit one: an ext4 image, mounted in the sandbox's folder.

Its file has no name and its loop device frees itself, so a mount is all that a dead harness can leave.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from harness.sandbox.execd import syscalls
from harness.sandbox.jail import disk
from harness.sandbox.this_host import SYSTEM_PATH, disk_folder

# The kernel lets go of a loop device a moment after the last process that used it.
RELEASE_S = 10.0
# folder of the disk → where it is shown inside, and its mode
PLACES = {
    "workspace": ("/workspace", 0o755),
    "tmp": ("/tmp", 0o1777),
    "shm": ("/dev/shm", 0o1777),
    "spool": ("/run/dojo/spool", 0o700),
}


def disk_kind() -> tuple[str, str]:
    """Return "ext4" and the path of mkfs where images can be mounted, else "tmpfs" and the reason."""
    if os.geteuid() != 0:
        return "tmpfs", "an ordinary user cannot mount disk images"
    if not os.path.exists("/dev/loop-control"):
        return "tmpfs", "there are no loop devices here"
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    return ("ext4", mkfs) if mkfs else ("tmpfs", "mkfs.ext4 is not installed (package e2fsprogs)")


def image_path(id: str) -> Path:
    """Return where the image of the sandbox ``id`` lies until it is mounted; its loop device keeps the name."""
    return disk_folder() / f"dojo-{os.geteuid()}-{id}.ext4"


class HostDisk:
    """The disk of the sandbox ``id``, mounted at ``folder`` (only where `disk_kind` says "ext4")."""

    def __init__(self, folder: Path, id: str) -> None:
        self.folder = folder
        self.image = image_path(id)

    def create(self, size_mb: int, agent: int) -> None:
        """Make and mount it, with the folders of `PLACES`; the workspace is of the user ``agent``.

        Raises:
            OSError: no loop device to be had, mkfs failed, or no room for the image.
        """
        self.folder.mkdir(mode=0o700)
        disk.mount_image(str(self.image), str(self.folder), size_mb, disk_kind()[1])
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "lost+found").rmdir()
        for name, (_, mode) in PLACES.items():
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        os.chown(self.folder / "workspace", agent, agent)

    def remove(self) -> None:
        """Unmount it and wait until its loop device is free; fine if there is none."""
        while os.path.ismount(self.folder):
            syscalls.unmount(str(self.folder), syscalls.MNT_DETACH)
        with contextlib.suppress(FileNotFoundError):
            self.image.unlink()
        await_release(self.image)


def await_release(image: Path) -> None:
    """Wait until no loop device holds ``image`` any more, for `RELEASE_S` at most."""
    deadline = time.monotonic() + RELEASE_S
    while _in_use(image) and time.monotonic() < deadline:
        time.sleep(0.003)


def _in_use(image: Path) -> bool:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if image.name in backing.read_text():
                return True
    return False
