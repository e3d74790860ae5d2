"""Whole runs whose sandboxes are pods: an agent that thinks, driven from here and by a Job, and one whose pods share a GPU.

They need what CI's cluster has not: dojo/task:cpu and dojo/grader:cpu, with torch, on the node, and the last one Kueue.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.executor.kubernetes.job import HOME
from harness.sandbox.kubernetes import KubernetesBackend, cluster, sharing
from harness.sandbox.kubernetes.probe import image_on
from harness.sandbox.kubernetes.settings import Settings
from tests.e2e import conftest as e2e
from tests.e2e.conftest import HAND_IN_BASE, Commands
from tests.e2e.test_backbone import THINKER
from tests.kubernetes import test_kubernetes_executor as by_jobs
from tests.kubernetes.gpus import Kueue, Looks, require_gpu

pytestmark = pytest.mark.slow
tiny_model = e2e.tiny_model
address, database, home = by_jobs.address, by_jobs.database, by_jobs.home
IMAGES = {"DOJO_IMAGE_TASK": "dojo/task:cpu", "DOJO_IMAGE_GRADER": "dojo/grader:cpu"}
SCRIPT = """
[[replies]]
when = "whole"
text = "an answer"
usage = { input = 21, output = 15 }

[[replies]]
when = "streamed"
text = "another answer"
usage = { input = 12, output = 4 }
"""
EVALUATES = 'print("dev", api.evaluate("/workspace/out")["primary"])\n'


@pytest.fixture
def environ(settings: pytest.MonkeyPatch) -> dict[str, str]:
    """What makes a command's sandboxes pods, where the node has their images."""
    core = cluster.core()
    nodes = core.api_client.sanitize_for_serialization(core.list_node(label_selector="type!=kwok").items)
    for image in IMAGES.values():
        found = image_on(nodes, image, Settings(pull="Never"))
        if not found.ok:
            pytest.skip(f"{image} is {found.detail}: it is loaded by hand (docker save)")
    return {"DOJO_SANDBOX": "kubernetes", "DOJO_GRADER_ENGINE": "transformers", **IMAGES}


@pytest.fixture
def dojo(environ: dict[str, str], tmp_path: Path, tiny_model: Path) -> Iterator[Commands]:
    small_task(tmp_path / "tasks")
    environ |= {"DOJO_TASKS": str(tmp_path / "tasks")}
    commands = Commands(tmp_path / "home", tmp_path / "cache", tiny_model, tmp_path / "agents", environ=environ)
    yield from e2e.closed(commands, KubernetesBackend())


@pytest.fixture
def by_a_job(environ: dict[str, str], tmp_path: Path, tiny_model: Path, home: Path, database: str) -> Iterator[Commands]:
    """Commands over results, cache, task, model and backbone that runners in pods see by paths of their own."""
    core, name = cluster.core(), f"dojo-talk-{os.getpid()}"
    small_task(home / "tasks")
    shutil.copytree(tiny_model, home / "models/tiny")
    (home / "replies.toml").write_text(SCRIPT)
    config = '[backbones.thinker]\nupstream = "scripted"\nscript = "{}/replies.toml"\n'
    (tmp_path / "dojo.toml").write_text(config.format(home))
    settings: Any = {"metadata": {"name": name}, "data": {"dojo.toml": config.format(HOME)}}
    core.create_namespaced_config_map("dojo", settings)
    environ |= {"DOJO_CONFIG": str(tmp_path / "dojo.toml"), "DOJO_DATABASE": database, "DOJO_K8S_RUNNER_CONFIG": name}
    environ |= {"DOJO_K8S_RUNNER_MEMORY_MB": "768", "DOJO_TASKS": str(home / "tasks")}
    try:
        commands = Commands(home, home, home / "models/tiny", tmp_path / "agents", environ=environ)
        yield from e2e.closed(commands, KubernetesBackend())
    finally:
        core.delete_namespaced_config_map(name, "dojo")


def small_task(folder: Path, gpus: int = 0) -> None:
    """Copy the task of the whole runs' tests, with less memory, as the node has others' sandboxes too."""
    shutil.copytree(e2e.HERE / "tasks", folder, dirs_exist_ok=True)
    config = folder / "test/parity/task.toml"
    config.write_text(config.read_text().replace("memory_mb = 4000", f"gpus = {gpus}, memory_mb = 1500"))


def ended(dojo: Commands, *more: str) -> dict[str, Any]:
    """Return what `dojo show` says of a run that ended well."""
    run = dojo(*more, timeout=580).data["runs"][0]
    said = [(dojo.run_folder() / f"agent.{stream}").read_text()[-2000:] for stream in ("stdout", "stderr")]
    assert run["outcome"]["cause"] == "completed", (run["outcome"], said)
    shown: dict[str, Any] = dojo("show", run["id"]).data
    return shown


def attempts(shown: dict[str, Any]) -> int:
    return [phase["state"] for phase in shown["timeline"]].count("preparing")


def test_an_agent_that_thinks_in_the_cluster_is_graded_and_its_tokens_are_counted(dojo: Commands, tmp_path: Path) -> None:
    (tmp_path / "replies.toml").write_text(SCRIPT)
    agent = dojo.agent("thinker", THINKER, backbone="required")
    require_counted(ended(dojo, *dojo.submit(agent, "--backbone", f"scripted:{tmp_path / 'replies.toml'}")))


def test_a_job_drives_an_agent_that_thinks_and_its_gateway_counts_the_tokens(by_a_job: Commands) -> None:
    agent = by_a_job.agent("thinker", THINKER, backbone="required")
    words = ["submit", "--executor", "kubernetes", "--agent", str(agent), "--task", str(by_a_job.home / "tasks/test/parity")]
    words += ["--profile", "mini", "--base-model", str(by_a_job.model), "--backbone", "thinker"]
    require_counted(ended(by_a_job, *words))


def require_counted(shown: dict[str, Any]) -> None:
    assert shown["grade"]["scores"] and shown["submissions"] == 1 and attempts(shown) == 1
    assert (shown["usage"]["tokens"], shown["usage"]["requests"]) == (21 + 15 + 12 + 4, 2), shown["usage"]


def test_a_run_is_evaluated_and_graded_where_there_is_one_gpu_and_a_quota_of_one(dojo: Commands) -> None:
    require_gpu()
    kueue, name = Kueue(), f"h-one-gpu-{os.getpid()}"
    small_task(Path(dojo.environ["DOJO_TASKS"]), gpus=1)
    dojo.environ |= {"DOJO_K8S_QUEUE": name, "DOJO_K8S_DEV_GRADER": "shared"}
    agent = dojo.agent("asker", HAND_IN_BASE + EVALUATES + 'api.submit("/workspace/out")\n')
    with kueue.made(kueue.queue(name, gpus=1)), Looks(kueue, name) as looks:
        shown = ended(dojo, *dojo.submit(agent))
    assert shown["grade"]["scores"] and shown["evaluations"] == 1 and attempts(shown) == 1
    assert max(looks.used) == 1, "never two GPUs of the quota"
    roles = {id.rpartition("-")[2]: pod for id, pod in looks.pods.items()}
    asked = {role: "nvidia.com/gpu" in pod["spec"]["containers"][0]["resources"]["limits"] for role, pod in roles.items()}
    assert asked == {"task": True, "dev": False, "grade": True}
    assert sharing.pinned_to(roles["dev"]) == roles["task"]["spec"]["nodeName"]
