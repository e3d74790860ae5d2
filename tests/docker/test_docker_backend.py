"""The Docker backend beyond the contract: what the engine was asked for, and what is said when something is missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox import engine
from harness.sandbox.base import Mount, Sandbox, SandboxSpec
from harness.sandbox.docker import DockerBackend
from harness.spec.errors import MissingError, SandboxError, SandboxUnavailable
from harness.spec.task import Limits

LIMITS = Limits(cpus=1, memory_mb=256, pids=60, disk_mb=64)
CREATE = """
import sys
from harness.sandbox.base import SandboxSpec
from harness.sandbox.docker import DockerBackend
from harness.spec.task import Limits
sandbox = DockerBackend().create(SandboxSpec(sys.argv[1], Limits(cpus=1, memory_mb=256, pids=60, disk_mb=64)))
sandbox.write_file("left", b"by the first harness")
print(sandbox.start(["sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo went"]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sandbox(backend: DockerBackend, id: str) -> Sandbox:
    return backend.create(SandboxSpec(id, LIMITS, labels={"dojo.run": "r1"}))


def container_of(id: str) -> dict:
    return engine.client().containers.get(f"dojo-{os.geteuid()}-{id}").attrs


def test_the_engine_was_asked_for_a_closed_place(sandbox: Sandbox) -> None:
    attrs = container_of(sandbox.spec.id)
    host = attrs["HostConfig"]
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["CapDrop"] == ["ALL"] and "SYS_ADMIN" not in str(host["CapAdd"]) and "SETPCAP" not in str(host["CapAdd"])
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] == (256 + 256) * 1024**2
    assert host["PidsLimit"] == 60 + 128
    assert attrs["Config"]["Labels"]["org.dojo.sandbox"] == sandbox.spec.id
    assert attrs["Config"]["Labels"]["dojo.run"] == "r1"


def test_what_the_engine_is_told_holds_no_secret(backend: DockerBackend, id: str) -> None:
    sandbox = backend.create(SandboxSpec(id, LIMITS, env={"DOJO_TOKEN": "very-secret"}))
    assert sandbox.exec(["sh", "-c", "echo $DOJO_TOKEN"]).stdout == b"very-secret\n"
    assert "very-secret" not in str(container_of(id))


def test_a_harness_killed_by_force_leaves_a_sandbox_that_the_next_one_takes_over(backend: DockerBackend, id: str) -> None:
    first = subprocess.Popen([sys.executable, "-c", CREATE, id], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    process = first.stdout.readline().decode().strip()
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = backend.attach(id)
    assert again.read_file("left") == b"by the first harness"
    begun = again.poll(process, wait_s=30)
    assert begun.stdout == b"begun\n" and begun.running
    again.write_file("go", b"")
    status = again.poll(process, stdout_offset=6, wait_s=30)
    while status.running:
        status = again.poll(process, stdout_offset=6, wait_s=30)
    assert status.stdout == b"went\n" and status.exit_code == 0


def test_a_container_that_is_killed_is_a_cause(sandbox: Sandbox) -> None:
    assert sandbox.exec(["true"]).ok
    engine.client().containers.get(f"dojo-{os.geteuid()}-{sandbox.spec.id}").kill()
    with pytest.raises(SandboxUnavailable, match=r"its container ended: exit code 137"):
        sandbox.exec(["true"])


def test_a_container_removed_by_somebody_is_a_cause_and_leaves_nothing(backend: DockerBackend, sandbox: Sandbox) -> None:
    engine.client().containers.get(f"dojo-{os.geteuid()}-{sandbox.spec.id}").remove(force=True)
    with pytest.raises(SandboxUnavailable, match="its container is gone"):
        sandbox.exec(["true"])
    backend.destroy(sandbox.spec.id)
    assert sandbox.spec.id not in backend.list()


def test_nothing_is_left_on_the_host_after_closing(backend: DockerBackend, sandbox: Sandbox) -> None:
    id = sandbox.spec.id
    sandbox.start(["sh", "-c", "trap '' TERM; (setsid sleep 600 &) ; sleep 600"])
    assert id in Path("/proc/self/mounts").read_text() or os.geteuid() != 0
    sandbox.close()
    assert id not in backend.list()
    assert id not in Path("/proc/self/mounts").read_text()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/dojo-docker/{id}"))
    backing = [p.read_text() for p in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not [b for b in backing if id in b]


def test_a_missing_image_is_named_with_the_remedy(backend: DockerBackend, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOJO_IMAGE_TASK", "dojo/nowhere:none")
    with pytest.raises(MissingError, match="dojo/nowhere:none") as caught:
        backend.create(SandboxSpec(id, LIMITS))
    assert "dojo images build" in caught.value.hint
    assert id not in backend.list()


def test_it_says_which_images_the_engine_has(backend: DockerBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.has_image("task", 0)
    monkeypatch.setenv("DOJO_IMAGE_GRADER_VLLM", "dojo/nowhere:none")
    assert not backend.has_image("grader-vllm", 0)
    [row] = [check for check in backend.check() if check.name == "image grader-vllm"]
    assert row.ok and "dojo images build grader-vllm" in row.detail  # only who generates with vLLM needs it


def test_an_unknown_runtime_is_refused_and_leaves_nothing(
    backend: DockerBackend, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_DOCKER_RUNTIME", "no-such-runtime")
    with pytest.raises((SandboxError, SandboxUnavailable), match="no-such-runtime"):
        backend.create(SandboxSpec(id, LIMITS))
    assert id not in backend.list()
    check = next(c for c in backend.check() if c.name == "runtime")
    assert not check.ok and "no-such-runtime" in check.detail


def test_an_image_without_python_says_what_it_needs(backend: DockerBackend, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import tarfile

    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    tag = f"dojo-test-empty:{os.getpid()}"
    docker = engine.client()
    docker.api.import_image_from_data(empty.getvalue(), repository=tag.split(":")[0], tag=tag.split(":")[1])
    try:
        monkeypatch.setenv("DOJO_IMAGE_TASK", tag)
        with pytest.raises((SandboxError, SandboxUnavailable), match="python3"):
            backend.create(SandboxSpec(id, LIMITS))
        assert id not in backend.list()
    finally:
        docker.images.remove(tag, force=True)


def test_a_shown_folder_is_read_only_and_what_is_mounted_below_it_is_not_shown(
    backend: DockerBackend, id: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("shown")
    tmp_path.chmod(0o777)
    sandbox = backend.create(SandboxSpec(id, LIMITS, mounts=(Mount(tmp_path, "/data/x"),)))
    assert sandbox.exec(["cat", "/data/x/file"]).stdout == b"shown"
    assert b"Read-only" in sandbox.exec(["touch", "/data/x/new"]).stderr
    assert b"Read-only" in sandbox.exec(["touch", "/data/x/new"], user="root").stderr
