"""A Docker engine that is restarted under running sandboxes: one of the test's own, beside the machine's."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.sandbox import engine, images
from harness.sandbox.base import SandboxSpec
from harness.sandbox.docker import DockerBackend
from harness.sandbox.execd import syscalls
from harness.spec.errors import DojoError, MissingError, SandboxUnavailable
from harness.spec.task import Limits

LIMITS = Limits(cpus=1, memory_mb=256, pids=60, disk_mb=64)


class Engine:
    """A dockerd with a folder, a socket and a containerd of its own."""

    def __init__(self, folder: Path, *, live_restore: bool) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/d.sock"
        self._live_restore = live_restore
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            "dockerd", "--host", self.address, "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
            "--pidfile", f"{self.folder}/pid", "--bridge", "none", "--iptables=false", "--ip-forward=false",
            f"--live-restore={str(self._live_restore).lower()}", "--add-runtime", f"second={shutil.which('runc')}",
        ]  # fmt: skip
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        until(self._answers, f"the engine: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """As `systemctl stop docker` does: TERM, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=90)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        engine._client.cache_clear()
        try:
            engine.client()
        except MissingError:
            return False
        return True

    def remove(self) -> None:
        self.stop()
        pid = self.folder / "exec" / "containerd" / "containerd.pid"
        if pid.exists() and Path(f"/proc/{pid.read_text()}").exists():  # with live restore it outlives its engine
            os.kill(int(pid.read_text()), 15)
            until(lambda: not Path(f"/proc/{pid.read_text()}/exe").exists(), "containerd's end")
        while (
            f" {self.folder}/data " in Path("/proc/self/mounts").read_text()
        ):  # an engine with live restore leaves it mounted on itself
            syscalls.unmount(str(self.folder / "data"))
        shutil.rmtree(self.folder)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def own_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("starting an engine needs root and dockerd")
    base = images.reference("base", "cpu")
    try:
        docker = engine.client()
        with engine.speaking("reading the base image"):
            image = b"".join(docker.images.get(base).save(named=True))
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    found = Engine(Path(tempfile.mkdtemp(prefix="dojo-engine-", dir="/var/tmp")), live_restore=request.param)
    monkeypatch.setenv("DOCKER_HOST", found.address)
    monkeypatch.setenv("DOJO_IMAGE_TASK", base)
    try:
        found.start()
        engine.client().images.load(image)
        yield found
    finally:
        found.remove()
        engine._client.cache_clear()


@pytest.fixture
def id(own_engine: Engine) -> Iterator[str]:
    id = f"fault-{os.getpid()}-{time.time_ns()}"
    yield id
    DockerBackend().destroy(id)


@pytest.mark.slow
@pytest.mark.parametrize("own_engine", [True], indirect=True, ids=["live-restore"])
def test_a_restart_of_the_engine_is_not_noticed_inside(own_engine: Engine, id: str) -> None:
    backend = DockerBackend()
    sandbox = backend.create(SandboxSpec(id, LIMITS))
    process = sandbox.start(["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; echo went on"])
    own_engine.stop()
    assert sandbox.exec(["echo", "without an engine"]).stdout == b"without an engine\n"
    assert backend.attach(id).poll(process).running
    with pytest.raises((MissingError, SandboxUnavailable)):
        backend.create(SandboxSpec(f"{id}-second", LIMITS))
    own_engine.start()
    sandbox.write_file("go", b"")
    until(lambda: not sandbox.poll(process).running, "the process")
    assert sandbox.poll(process).stdout == b"went on\n"
    backend.destroy(id)
    assert id not in backend.list()


@pytest.mark.slow
@pytest.mark.parametrize("own_engine", [False], indirect=True, ids=["no-live-restore"])
def test_sandboxes_that_end_with_their_engine_say_so_and_can_be_removed(
    own_engine: Engine, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_DOCKER_RUNTIME", "second")
    backend = DockerBackend()
    sandbox = backend.create(SandboxSpec(id, LIMITS))
    assert engine.client().containers.get(f"dojo-{os.geteuid()}-{id}").attrs["HostConfig"]["Runtime"] == "second"
    assert sandbox.exec(["true"]).ok
    own_engine.stop()
    with pytest.raises(SandboxUnavailable, match=r"no Docker engine answers|engine does not answer"):
        sandbox.exec(["true"])
    with pytest.raises((MissingError, SandboxUnavailable)):
        backend.destroy(id)  # nothing is said to be gone that may not be
    assert id in backend.list()
    own_engine.start()
    with pytest.raises(SandboxUnavailable, match="its container ended"):
        sandbox.exec(["true"])
    backend.destroy(id)
    assert id not in backend.list()
