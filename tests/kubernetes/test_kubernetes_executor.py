"""The executor `kubernetes` keeps its promises on a real cluster: runners in Jobs, a database and a volume that they share.

The cluster has one node, which is this machine. Nothing of a sandbox is needed: the runs are played.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.executor.base import Work
from harness.executor.contract import PROMISES, Gate, Stage
from harness.executor.kubernetes import KubernetesExecutor
from harness.sandbox.kubernetes import cluster
from harness.spec.outcome import RunState
from harness.store.database import SqlStore
from tests.unit.store.conftest import PROGRAMS

pytestmark = pytest.mark.slow
_PLAYED = ("python", "-m", "harness.executor.contract")
_USER = 1000


@pytest.fixture(scope="module")
def address(settings: pytest.MonkeyPatch) -> str:
    """The node's address, at which pods reach this machine."""
    (node,) = cluster.core().list_node(label_selector="type!=kwok").items
    return next(each.address for each in node.status.addresses if each.type == "InternalIP")


@pytest.fixture(scope="module")
def database(address: str) -> Iterator[str]:
    """A server that pods reach, with an empty database."""
    if not PROGRAMS or os.getuid() != 0:
        pytest.skip("no PostgreSQL server is installed, or this is not root: scripts/postgres.sh installs one on Debian")
    folder = Path(tempfile.mkdtemp(prefix="dojo-pg-", dir="/var/tmp"))
    shutil.chown(folder, "postgres", "postgres")
    port = 20000 + os.getpid() % 20000
    options = f"-k {folder} -c listen_addresses={address} -c port={port} -c fsync=off -c max_connections=200"

    def run(program: str, *arguments: str, check: bool = True) -> None:
        command = [str(PROGRAMS[-1].parent / program), *arguments]
        subprocess.run(
            command, check=check, stdout=subprocess.DEVNULL, cwd="/", user="postgres", group="postgres", extra_groups=[]
        )

    try:
        run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "dojo", "--locale=C.UTF-8", "-E", "UTF8")
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all all trust\n")
        run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
        run("createdb", "-h", str(folder), "-p", str(port), "-U", "dojo", "dojo")
        yield f"postgresql://dojo@{address}:{port}/dojo"
    finally:
        run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(settings: pytest.MonkeyPatch, database: str) -> Iterator[Path]:
    """A results directory that this machine and pods see, and what tells pods of it and of the database."""
    core, name = cluster.core(), f"dojo-test-{os.getpid()}"
    namespace = os.environ.get("DOJO_K8S_RUNNER_NAMESPACE", "dojo")
    folder = Path(tempfile.mkdtemp(prefix="dojo-home-", dir="/var/tmp"))
    os.chown(folder, _USER, _USER)
    size = {"storage": "1Gi"}
    volume = {"capacity": size, "hostPath": {"path": str(folder)}, "claimRef": {"namespace": namespace, "name": name}}
    shared: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    core.create_persistent_volume({"metadata": {"name": name}, "spec": {**shared, **volume}})
    try:
        claim = {"metadata": {"name": name}, "spec": {**shared, "volumeName": name, "resources": {"requests": size}}}
        core.create_namespaced_persistent_volume_claim(namespace, claim)
        core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "stringData": {"url": database}})
        for variable, value in {"HOME": f"{name}/", "CACHE": f"{name}/", "DATABASE": name, "USER": str(_USER)}.items():
            settings.setenv(f"DOJO_K8S_RUNNER_{variable}", value)
        settings.setenv("DOJO_K8S_RUNNER_MEMORY_MB", "256")
        settings.setenv("DOJO_K8S_RUNNER_PULL", "Never")
        yield folder
    finally:
        with suppress(Exception):
            core.delete_namespaced_secret(name, namespace)
        with suppress(Exception):
            core.delete_namespaced_persistent_volume_claim(name, namespace)
        core.delete_persistent_volume(name)
        shutil.rmtree(folder, ignore_errors=True)


def played(work: Work) -> KubernetesExecutor:
    """An executor whose Jobs play their runs."""
    return KubernetesExecutor(work, _PLAYED)


@pytest.fixture
def stage(home: Path, database: str) -> Iterator[Stage]:
    store = SqlStore(home, database)
    yield Stage(played, store)
    core, namespace = cluster.core(), os.environ.get("DOJO_K8S_RUNNER_NAMESPACE", "dojo")
    from kubernetes.client import BatchV1Api

    batches = [batch.id for batch in store.batches()]
    for batch in batches:
        BatchV1Api(core.api_client).delete_collection_namespaced_job(
            namespace, label_selector=f"org.dojo.batch={batch}", propagation_policy="Background"
        )
    # a runner that is asked to go gives its lease back; one that is killed leaves it until it has run out
    driven = [run.id for run in store.runs()]
    end = time.monotonic() + 150
    while any(map(store.holder, driven)) and time.monotonic() < end:
        time.sleep(0.2)
    store.remove(batches)
    store.close()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_kubernetes_executor_keeps_its_promise(promise: Any, stage: Stage) -> None:
    promise(stage)


def test_a_runner_that_is_killed_is_followed_by_another_job_for_the_same_run(stage: Stage) -> None:
    batch, (run,) = stage.batch(1)
    stage.executor.start(batch)
    assert stage.runner.started(run).wait(120)
    (process,) = [pid for pid in _processes() if run in pid[1]]
    os.kill(process[0], signal.SIGKILL)
    stage.open(run)
    assert stage.executor.wait(stage.stop) == {run: RunState.DONE}
    names = [job["metadata"]["name"] for job in stage.executor._jobs.of_run(run)]  # type: ignore[attr-defined]
    assert sorted(names) == [f"dojo-{run}-1", f"dojo-{run}-2"], "both are kept"


def test_a_runner_that_is_told_to_stop_before_it_listens_is_ended(stage: Stage, home: Path) -> None:
    batch, (run,) = stage.batch(1)
    program = ("sh", "-c", "echo $$ >$DOJO_HOME/.pid; mv $DOJO_HOME/.pid $DOJO_HOME/pid; while true; do sleep 1; done")
    executor = KubernetesExecutor(Work(stage.runner), program)
    executor.start(batch)
    assert Gate(home / "pid").wait(120)
    assert (home / "pid").read_text().strip() != "1", "SIGTERM does nothing to a first process that has not asked for it"
    stage.stop.set()
    assert executor.wait(stage.stop) == {run: RunState.QUEUED}


def test_a_job_that_may_have_no_pod_says_why_in_the_clusters_words(stage: Stage, settings: pytest.MonkeyPatch) -> None:
    with settings.context() as patch:
        patch.setenv("DOJO_K8S_RUNNER_CACHE", "/var/tmp")  # a path of the node, which the level "restricted" forbids
        batch, (run,) = stage.batch(1)
        executor = played(Work(stage.runner))
        executor.start(batch)
        end = time.monotonic() + 30
        while "PodSecurity" not in (said := executor.why(stage.store.run(run))):
            assert time.monotonic() < end, f"it says {said!r}"
            time.sleep(0.5)
    stage.executor.cancel(run)
    assert stage.store.run(run).state is RunState.CANCELLED


def _processes() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "harness.executor.contract" in words:
                    found.append((int(folder.name), words))
    return found
