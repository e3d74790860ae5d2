"""Modes: what is hidden is closed to the host's other users under every umask, what sandboxes are shown is open to theirs."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.assets.hidden_secret import secret_path
from harness.assets.prepare import limited, prepare_task
from harness.assets.task_dir import load_task
from harness.attack.task import TASK_FOLDER
from harness.files import write_atomic
from harness.session.hidden_places import check_modes, close_modes, prepared_folders
from harness.session.readable_places import check_readable
from harness.store.run_dir import RunDir
from tests.unit.store.test_database import spec


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids="umask {0:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_hidden_is_closed_and_what_is_shown_is_open_under_every_umask(tmp_path: Path, umask: int) -> None:
    cache = tmp_path / "cache"
    prepared = prepare_task(load_task(TASK_FOLDER), "mini", cache)
    few = limited(prepared, 2, cache)
    assert {mode(found.dir) for found in (prepared, few)} == {0o700}
    assert mode(secret_path(cache)) == 0o600 or not secret_path(cache).exists()
    for file in (*(prepared.dir / "sources").iterdir(), prepared.few_shot_path, prepared.hidden_path, few.hidden_path):
        assert mode(file) & 0o444 == 0o444, file  # single files are shown to graders and agents, who are other users
    assert mode(prepared.dir / "sources") & 0o055 == 0o055
    run = RunDir.create(tmp_path / "run", spec("r1", "b1"))
    write_atomic(run.answers_path(1), b"{}", 0o600)
    assert (mode(run.private), mode(run.answers_path(1))) == (0o700, 0o600)
    assert check_modes(cache, prepared_folders(cache)).ok


@pytest.mark.parametrize("opened", [0o755, 0o750, 0o711, 0o777, 0o701])
@pytest.mark.parametrize("what", ["data", "secret"])
def test_what_lies_open_is_found_and_closed_and_named(tmp_path: Path, opened: int, what: str) -> None:
    prepared = prepare_task(load_task(TASK_FOLDER), "mini", tmp_path)
    write_atomic(secret_path(tmp_path), b"0" * 64, 0o600)
    path = prepared.dir if what == "data" else secret_path(tmp_path)
    path.chmod(opened)
    found = check_modes(tmp_path, [prepared.dir])
    assert not found.ok and str(path) in found.detail and "dojo data verify" in found.hint
    mended = close_modes(tmp_path, [prepared.dir])
    assert mended.ok and str(path) in mended.detail and f"{opened:o}" in mended.detail
    assert (
        check_modes(tmp_path, [prepared.dir]).ok
        and close_modes(tmp_path, [prepared.dir]).detail == "1 sets of data are closed to other users"
    )


class Backend:
    name = "test"

    def __init__(self, other: bool) -> None:
        self.other = other

    def another_user(self) -> bool:
        return self.other


@pytest.mark.parametrize("made_under", [0o027, 0o077])
@pytest.mark.parametrize("where", ["a folder", "a folder's file", "a file deep in it"])
def test_what_sandboxes_cannot_read_is_told_with_a_remedy_that_works(tmp_path: Path, made_under: int, where: str) -> None:
    folder = tmp_path / "a model"
    (folder / "deep" / ".git").mkdir(parents=True)
    (folder / "deep" / ".git" / "hidden").touch(0o600)
    files = [folder / "config.json", folder / "deep" / "model.safetensors"]
    for path in (*files, folder / "deep" / "link"):
        path.symlink_to("gone") if path.name == "link" else path.write_text("x")
    for path in (folder, folder / "deep"):
        path.chmod(0o755)
    for path in files:
        path.chmod(0o644)
    assert check_readable({"base model": [folder]}, Backend(True)).ok  # type: ignore[arg-type]
    closed = {"a folder": folder, "a folder's file": files[0], "a file deep in it": files[1]}[where]
    closed.chmod((0o777 if closed.is_dir() else 0o666) & ~made_under)
    assert check_readable({"base model": [folder]}, Backend(False)).ok  # type: ignore[arg-type]
    found = check_readable({"base model": [folder]}, Backend(True))  # type: ignore[arg-type]
    assert not found.ok and str(closed) in found.detail and "base model" in found.detail
    subprocess.run(shlex.split(found.hint), check=True)
    assert check_readable({"base model": [folder]}, Backend(True)).ok  # type: ignore[arg-type]
