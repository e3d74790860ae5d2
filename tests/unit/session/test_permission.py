"""A file that is closed to the agent is named, and what the answer advises opens it."""

import io
import os
import shlex
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from harness.grading.submission.leftovers import PATTERNS
from harness.sandbox.execd.tarballs import Room, write_archive
from harness.session.permission import not_permitted

NOBODY = 65_534


def archived_by(user: int, folder: str, without: tuple[str, ...] = ()) -> OSError | None:
    """Archive a folder as a user without rights, in a child process, and return what it failed with."""
    assert tarfile.open, "read before the child gives up its right to read Python's own folder"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            write_archive(folder, io.BytesIO(), Room(10**6, 10**6, without))
            os.write(writing, b"fine")
        except OSError as exc:
            os.write(writing, f"{exc.errno} {exc.filename}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 1000).decode()
    os.close(reading)
    if said == "fine":
        return None
    number, _, name = said.partition(" ")
    return PermissionError(int(number), os.strerror(int(number)), name)


@pytest.fixture
def out():
    """A folder of the agent's user, in a place that anybody may go through (pytest's own is closed to others)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        yield filled(Path(place) / "out")


def filled(folder):
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "training_args.bin"):
        (folder / name).write_bytes(b"x")
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    return folder


def test_a_file_of_mode_000_is_named_and_the_advice_opens_it(out):
    (out / "adapter_model.safetensors").chmod(0)
    failed = archived_by(NOBODY, str(out))
    assert isinstance(failed, PermissionError)
    said = not_permitted("/workspace/out", failed)
    assert (said.code, "'/workspace/out/adapter_model.safetensors'" in said.message) == ("permission", True)
    command = shlex.split(said.hint.split("`")[1])
    assert command == ["chmod", "-R", "u+rwX", "/workspace/out"]
    subprocess.run([*command[:-1], str(out)], check=True)
    assert archived_by(NOBODY, str(out)) is None


def test_a_closed_file_that_is_left_out_anyway_stops_nobody(out):
    (out / "training_args.bin").chmod(0)
    assert isinstance(archived_by(NOBODY, str(out)), PermissionError)
    assert archived_by(NOBODY, str(out), PATTERNS) is None


@pytest.mark.parametrize("path", ["/proc/1/root", "/workspace/../etc/shadow", "/workspaces/x"])
def test_a_place_outside_the_workspace_is_said_not_to_be_the_agent_s(path):
    said = not_permitted(path, PermissionError(13, "Permission denied", path))
    assert "not yours" in said.message and said.hint == "use /workspace"
