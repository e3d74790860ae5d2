import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.sandbox.base import Mount, Relay, SandboxSpec
from harness.sandbox.folder import SandboxFolder
from harness.spec.errors import SandboxError, SandboxUnavailable, UsageError
from harness.spec.task import Limits

SPEC = SandboxSpec(
    "box-1",
    Limits(cpus=2, memory_mb=100),
    (Mount(Path("/a b"), "/data"), Mount(Path("/c"), "/d", writable=True), Mount(Path("/m"), "/m", asset="model:m", digest="1f")),
    (Relay(7788, Path("/run/x/api.sock"), "api"),),
    {"DOJO_TOKEN": "secret"},
    {"run": "r1"},
    gpu_owner="r1",
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("harness.sandbox.folder.runtime_root", lambda: tmp_path)
    return tmp_path


def test_a_specification_is_read_back_as_it_was() -> None:
    folder = SandboxFolder("kind", "box-1")
    folder.create(SPEC)
    assert SandboxFolder("kind", "box-1").spec() == SPEC
    assert SandboxFolder.ids("kind") == ["box-1"] and SandboxFolder.ids("other") == []


def test_nobody_else_may_read_it() -> None:
    folder = SandboxFolder("kind", "box-1")
    folder.create(SPEC)
    assert folder.path.stat().st_mode & 0o077 == 0
    assert (folder.path / "state.json").stat().st_mode & 0o077 == 0


def test_an_id_is_taken_once() -> None:
    SandboxFolder("kind", "box-1").create(SPEC)
    with pytest.raises(SandboxError, match="already") as raised:
        SandboxFolder("kind", "box-1").create(SPEC)
    assert raised.value.code == "exists"


@pytest.mark.parametrize("id", ["", "../x", "a/b", ".hidden", "a b", "ä", "x" * 81, "-x", "a\n"])
def test_ids_that_could_lead_elsewhere_are_refused(id: str) -> None:
    with pytest.raises(UsageError):
        SandboxFolder("kind", id)


def test_the_longest_id_fits_a_sockets_path() -> None:
    path = Path("/run/dojo-4294967294/sb") / ("x" * 80) / "c"
    assert len(os.fsencode(path)) < 108


def test_a_missing_or_half_made_sandbox_cannot_be_attached_to(root: Path) -> None:
    with pytest.raises(SandboxUnavailable):
        SandboxFolder("kind", "box-1").spec()
    (root / "kind" / "box-1").mkdir(parents=True)
    with pytest.raises(SandboxUnavailable):
        SandboxFolder("kind", "box-1").spec()


def test_removing_kills_the_recorded_process() -> None:
    folder = SandboxFolder("kind", "box-1")
    folder.create(SPEC)
    child = subprocess.Popen(["sleep", "300"])
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    (folder.path / "init").write_text(json.dumps({"pid": child.pid, "started": started}))
    assert folder.first_process() == child.pid
    folder.remove(lambda: None)
    assert child.wait() == -9 and not folder.path.exists()
    folder.remove(lambda: None)


def test_a_later_process_with_the_same_number_is_left_alone() -> None:
    folder = SandboxFolder("kind", "box-1")
    folder.create(SPEC)
    child = subprocess.Popen(["sleep", "300"])
    try:
        (folder.path / "init").write_text(json.dumps({"pid": child.pid, "started": "1"}))
        assert folder.first_process() is None
        folder.remove(lambda: None)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
