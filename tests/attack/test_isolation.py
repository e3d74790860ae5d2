"""What only a look from outside shows: remains, descriptors, the first process; on the backend `namespace`.

What an agent tries from inside is in `harness.attack` (tests/attack/test_threats.py) and in the contract (tests/contract).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.sandbox import cgroups
from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.contract.commands import ESCAPEE
from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.runtime import runtime_root
from harness.spec.errors import SandboxUnavailable
from harness.spec.task import Limits

LIMITS = Limits(cpus=2, memory_mb=512, pids=100, disk_mb=64)
CREATE = """
import sys
from harness.sandbox.base import SandboxSpec
from harness.sandbox.namespace import NamespaceBackend
from harness.spec.task import Limits
sandbox = NamespaceBackend().create(SandboxSpec(sys.argv[1], Limits(cpus=2, memory_mb=512, pids=100, disk_mb=64)))
sandbox.write_file("left", b"by the first harness")
print(sandbox.start(["sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo went"]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def backend() -> NamespaceBackend:
    return NamespaceBackend()


@pytest.fixture
def id(request: pytest.FixtureRequest, backend: NamespaceBackend) -> Iterator[str]:
    id = f"attack-{os.getpid()}-{abs(hash(request.node.name)) % 10**8}"
    yield id
    backend.destroy(id)


@pytest.fixture
def sandbox(backend: NamespaceBackend, id: str) -> Sandbox:
    return backend.create(SandboxSpec(id, LIMITS))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def remains(id: str) -> list[str]:
    """Everything on the host that bears the sandbox's id: files, groups, mounts, loop devices, processes."""
    found = [path for place in ("/run", "/tmp", "/var/tmp") for path in below(Path(place), f"dojo-*/**/{id}")]
    found += [str(p) for place in ("/tmp", "/var/tmp") for p in Path(place).glob(f"*{id}*")]
    found += [str(path) for root in cgroups.find_hierarchies().paths.values() if (path := root / cgroups.FOLDER / id).exists()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if id in line]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        found += [str(backing)] if id in backing.read_text() else []
    return found + [f"process {pid}" for pid in execd_processes(id)]


def below(place: Path, pattern: str) -> list[str]:
    """What matches; others' sandboxes come and go meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return [str(path) for path in place.glob(pattern)]


def execd_processes(id: str) -> list[int]:
    """Each of them has the sandbox's lock open, or is a launcher at work in its folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            targets = [os.readlink(entry / "cwd"), *(os.readlink(link) for link in (entry / "fd").iterdir())]
        except OSError:
            continue
        if any(f"/{id}/" in f"{target}/" for target in targets):
            found.append(int(entry.name))
    return found


def processes_in(namespace: str) -> list[str]:
    """Living processes of a process namespace; a dead one waits for the host's first process, which takes its time."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and os.readlink(entry / "ns" / "pid") == namespace:
                found.append(entry.name)
        except OSError:
            continue
    return found


def first_process(id: str) -> int:
    return int(json.loads((runtime_root() / "sb" / id / "init").read_text())["pid"])


def test_a_sandbox_outlives_the_harness_that_made_it(backend: NamespaceBackend, id: str) -> None:
    harness = subprocess.Popen([sys.executable, "-c", CREATE, id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    process = harness.stdout.readline().strip()
    harness.kill()
    harness.wait()
    sandbox = backend.attach(id)
    assert sandbox.read_file("left") == b"by the first harness"
    assert sandbox.spec.limits == LIMITS
    until(lambda: sandbox.poll(process).stdout == b"begun\n", "it did not begin")
    sandbox.write_file("go", b"")
    until(lambda: not sandbox.poll(process).running, "the process did not go on")
    assert sandbox.poll(process).stdout == b"begun\nwent\n"
    assert id in backend.list()
    sandbox.close()
    assert remains(id) == []


@pytest.mark.parametrize("delay_ms", range(0, 360, 30))
def test_a_half_made_sandbox_is_removed_by_its_id(backend: NamespaceBackend, id: str, delay_ms: int) -> None:
    """The harness is killed at different moments of making it; whatever is there then goes away by the id alone."""
    ready = "import harness.sandbox.namespace; print(flush=True);"
    harness = subprocess.Popen([sys.executable, "-c", ready + CREATE, id], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert harness.stdout is not None
    harness.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        harness.wait(delay_ms / 1000)
    harness.kill()
    harness.wait()
    backend.destroy(id)
    with contextlib.suppress(AssertionError):
        until(lambda: remains(id) == [], "something of it remains")
    assert remains(id) == []
    with pytest.raises(SandboxUnavailable):
        backend.attach(id)


def test_a_killed_launcher_is_no_obstacle(backend: NamespaceBackend, id: str) -> None:
    harness = subprocess.Popen([sys.executable, "-c", CREATE, id], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    record = runtime_root() / "sb" / id / "launcher"
    until(record.exists, "no launcher")
    with contextlib.suppress(ProcessLookupError):  # it may have been faster
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    harness.communicate()
    backend.destroy(id)
    assert remains(id) == []


def test_nothing_remains_after_a_violent_run(backend: NamespaceBackend, id: str) -> None:
    sandbox = backend.create(SandboxSpec(id, LIMITS))
    sandbox.start(["sh", "-c", ESCAPEE.format(name="e.pid") + "sleep 600"])
    sandbox.start(["python3", "-c", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"])
    sandbox.exec(["sh", "-c", "head -c 100000000 /dev/zero > fill"], timeout_s=20)
    before = len(list(Path("/proc/self/fd").iterdir()))
    namespace = os.readlink(f"/proc/{first_process(id)}/ns/pid")
    assert any("process" in line for line in remains(id)) and len(processes_in(namespace)) > 5  # the search finds what is there
    sandbox.close()
    assert remains(id) == [] and processes_in(namespace) == []
    assert id not in backend.list()
    assert len(list(Path("/proc/self/fd").iterdir())) < before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # the harness has no child, not even a dead one


def test_a_thousand_short_commands_leave_no_trace(sandbox: Sandbox) -> None:
    for _ in range(20):
        sandbox.exec(["true"])
    settled = sandbox.usage()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    memory = execd_memory_kb(sandbox)
    for number in range(1000):
        result = sandbox.exec(["sh", "-c", f"echo {number}"], timeout_s=60)
        assert result.stdout == b"%d\n" % number
    after = sandbox.usage()
    assert after.processes == 0
    assert after.disk_mb - settled.disk_mb < 0.1
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert execd_memory_kb(sandbox) < memory + 2048


def execd_memory_kb(sandbox: Sandbox) -> int:
    """Resident memory of the largest of execd's processes; how many there are changes from moment to moment."""
    processes = execd_processes(sandbox.spec.id)
    assert len(processes) >= 3  # control, commands, a worker
    return max(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 for pid in processes)


def test_no_process_inside_carries_the_hosts_environment(
    backend: NamespaceBackend, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-very-secret")
    sandbox = backend.create(SandboxSpec(id, LIMITS))
    assert b"very-secret" not in sandbox.exec(["sh", "-c", "env; cat /proc/*/environ"]).stdout
    first = first_process(id)
    assert b"very-secret" not in Path(f"/proc/{first}/environ").read_bytes()


def test_no_descriptor_of_the_harness_is_inherited(backend: NamespaceBackend, id: str, tmp_path: Path) -> None:
    secret = tmp_path / "ledger"
    secret.write_text("x")
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        sandbox = backend.create(SandboxSpec(id, LIMITS))
    finally:
        os.close(descriptor)
    first = first_process(id)
    opened = [os.readlink(link) for link in Path(f"/proc/{first}/fd").iterdir()]
    assert not [target for target in opened if str(tmp_path) in target]
    assert not [t for t in opened if os.path.isdir(t)], "a folder of the host would be a way out"
    assert sandbox.alive()


def test_the_word_of_death_names_the_cause(backend: NamespaceBackend, id: str, sandbox: Sandbox) -> None:
    first = first_process(id)
    os.kill(first, signal.SIGKILL)
    until(lambda: not sandbox.alive(), "it still answers")
    with pytest.raises(SandboxUnavailable, match="first process is gone"):
        sandbox.exec(["true"])
    with pytest.raises(SandboxUnavailable):
        backend.attach(id)
    assert id in backend.list()  # dead remains are listed until they are destroyed
    backend.destroy(id)
    assert remains(id) == []


def test_a_command_whose_worker_is_killed_has_a_result(sandbox: Sandbox, id: str) -> None:
    """Only want of memory can do that to a worker; the sandbox goes on and the command's tree is dead."""
    first = first_process(id)
    started = sandbox.start(["sleep", "600"])
    until(lambda: sandbox.usage().processes == 1, "not started")
    command_service = int(Path(f"/proc/{first}/task/{first}/children").read_text().split()[0])
    for worker in Path(f"/proc/{command_service}/task/{command_service}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    until(lambda: sandbox.usage().processes == 0, "its tree lives on")
    until(lambda: sandbox.poll(started).exit_code == 137, "its death is not noticed")
    assert sandbox.exec(["echo", "on"]).stdout == b"on\n"
    os.kill(command_service, signal.SIGKILL)

    def answers() -> bool:
        try:
            return sandbox.exec(["true"], timeout_s=10).ok
        except SandboxUnavailable:  # a call that was under way in the moment of the kill
            return False

    until(answers, "no new command service")
