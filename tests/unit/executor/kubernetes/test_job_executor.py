"""The executor against a cluster in memory: which Jobs it makes, once, and what it takes their ends for."""

import json
import sys
from typing import Any

import pytest

from harness.executor.base import Work
from harness.executor.contract import Stage
from harness.executor.kubernetes import executor as module
from harness.executor.kubernetes.executor import KubernetesExecutor
from harness.executor.kubernetes.job import job as job_of
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.kubernetes import queues
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import SandboxError, StoreError, UsageError
from harness.spec.outcome import RunState
from harness.store.database import SqlStore
from tests.unit.executor.kubernetes.objects import runner_pod


class Cluster:
    """Jobs of a cluster in memory: each is over as soon as it is seen, as ``ends`` says, run by run."""

    api = None

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ends: dict[str, list[Any]] = {}
        self.made: list[str] = []
        self.refuses = ""

    def of_batch(self, batch: str) -> dict[str, Any]:
        return {job["metadata"]["labels"]["org.dojo.run"]: job for job in self.jobs.values()}

    def of_run(self, run: str) -> list[dict[str, Any]]:
        return [job for job in self.jobs.values() if job["metadata"]["labels"]["org.dojo.run"] == run]

    def next_name(self, run: str) -> tuple[str, int]:
        return "", len(self.of_run(run)) + 1

    def make(self, body: dict[str, Any]) -> None:
        run, name = body["metadata"]["labels"]["org.dojo.run"], body["metadata"]["name"]
        if self.refuses == run:
            raise SandboxError("exceeded quota: jobs", code="refused")
        self.made.append(name)
        self.jobs[name] = {**body, "status": {}}

    def remove(self, name: str, **_: Any) -> None:
        self.jobs.pop(name, None)

    def pods_of(self, name: str) -> list[dict[str, Any]]:
        return [self.jobs[name]["pod"]]

    def listed(self, selector: str) -> Any:
        return list(self.jobs.values()), "1"


class Watch:
    """Sees every Job end, in the order in which they were made."""

    def __init__(self, cluster: Cluster, stage: Stage) -> None:
        self.cluster, self.stage = cluster, stage
        self.seen: set[str] = set()

    def __call__(self, api: Any, namespace: str, selector: str, into: Any, listed: Any) -> "Watch":
        self.into = into
        return self

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def get(self, timeout: float) -> Any:
        for name, job in list(self.cluster.jobs.items()):
            if name not in self.seen:
                self.seen.add(name)
                run = job["metadata"]["labels"]["org.dojo.run"]
                ends = self.cluster.ends.get(run) or []
                end = ends.pop(0) if ends else None
                if end is None:
                    self.stage.open(run)
                    self.stage.runner.drive(run)
                    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
                else:
                    job["pod"], job["status"] = end, {"conditions": [{"type": "Failed", "status": "True", "reason": "B"}]}
                return "SEEN", job
        raise AssertionError("waits for a Job that nobody made")


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr(SqlStore, "shared", True)
    monkeypatch.setattr(module, "hand_over", lambda folder, home, user: None)
    monkeypatch.setenv("DOJO_K8S_RUNNER_STARTS", "3")
    cluster = Cluster()
    stage = Stage(KubernetesExecutor, SqlStore(tmp_path / "home"))
    watch = Watch(cluster, stage)
    monkeypatch.setattr(module, "JobWatch", watch)
    monkeypatch.setattr(KubernetesExecutor, "_jobs", cluster)
    stage.executor._changes = watch
    stage.cluster = cluster
    return stage


def test_each_run_gets_one_job_that_is_named_by_it(stage):
    batch, runs = stage.batch(2)
    stage.executor.start(batch)
    stage.factory(Work(stage.runner)).start(batch)
    assert sorted(stage.cluster.made) == sorted(f"dojo-{run}-1" for run in runs)
    assert set(stage.executor.wait(stage.stop).values()) == {RunState.DONE}


def test_a_runner_that_dies_is_followed_by_another_one_that_is_told_so(stage):
    batch, (run,) = stage.batch(1)
    stage.cluster.ends[run] = [runner_pod(137)]
    stage.executor.start(batch)
    assert stage.executor.wait(stage.stop) == {run: RunState.DONE}
    assert stage.cluster.made == [f"dojo-{run}-1", f"dojo-{run}-2"], "both are kept"
    env = stage.cluster.jobs[f"dojo-{run}-2"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "DOJO_AFTER", "value": "its runner was ended (exit code 137)"} in env


def test_the_third_death_of_a_runner_is_no_accident_and_leaves_the_run_resumable(stage):
    batch, (run,) = stage.batch(1)
    stage.cluster.ends[run] = [runner_pod(137)] * 3
    stage.executor.start(batch)
    found = stage.executor.wait(stage.stop)[run]
    assert isinstance(found, StoreError) and found.code == "runner_lost" and "died 3 times" in found.message
    assert not stage.store.run(run).state.final and len(stage.cluster.made) == 3
    stage.executor.start(batch)
    assert stage.executor.wait(stage.stop)[run] is RunState.DONE, "whoever resumes it begins to count anew"


def test_an_error_of_a_runner_is_its_runs_and_is_not_tried_again(stage):
    batch, (run, other) = stage.batch(2)
    said = json.dumps({"error": {"code": "missing", "message": "no such backbone", "hint": "name one"}})
    stage.cluster.ends[run] = [runner_pod(3, said)]
    stage.executor.start(batch)
    outcomes = stage.executor.wait(stage.stop)
    assert outcomes[run].code == "missing" and outcomes[other] is RunState.DONE
    assert len(stage.cluster.made) == 2


def test_a_job_that_the_cluster_refuses_stops_no_other_run(stage):
    batch, (run, other) = stage.batch(2)
    stage.cluster.refuses = run
    stage.executor.start(batch)
    outcomes = stage.executor.wait(stage.stop)
    assert "quota" in outcomes[run].message and outcomes[other] is RunState.DONE


def test_each_owners_runs_are_driven_with_his_queue_and_without_one_they_say_so(stage, monkeypatch):
    monkeypatch.setattr(queues, "_is_there", lambda namespace, name: name == "dojo-ann")
    monkeypatch.setenv("DOJO_K8S_QUEUE", "dojo-{owner}")
    (anns, (run,)), (bobs, (lost,)) = (stage.batch(1, settings={"owner": owner}) for owner in ("ann", "bob"))
    executor = KubernetesExecutor(Work(stage.runner))
    executor._changes = stage.executor._changes
    for batch in (anns, bobs):
        executor.start(batch)
    (job,) = stage.cluster.jobs.values()
    env = {each["name"]: each.get("value") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DOJO_K8S_QUEUE"] == "dojo-ann"
    outcomes = executor.wait(stage.stop)
    assert outcomes[run] is RunState.DONE and outcomes[lost].code == "no_queue" and "dojo-bob" in outcomes[lost].message
    monkeypatch.setattr(executor._why, "said_of", lambda batch, run: "")
    assert executor.why(stage.store.run(lost)) == "there is no LocalQueue dojo-bob in dojo-sandboxes for bob"
    assert executor.why(stage.store.run(run)) == ""


def test_a_store_that_is_a_file_is_refused_before_anything_is_made(tmp_path):
    stage = Stage(KubernetesExecutor, SqlStore(tmp_path / "home"))
    batch, _ = stage.batch(1)
    with pytest.raises(StoreError, match="PostgreSQL") as caught:
        stage.executor.start(batch)
    assert "DOJO_DATABASE" in caught.value.hint


def job(stage, runners=None, **sandboxes):
    _, (run,) = stage.batch(1)
    spec = stage.store.files(run).spec()
    return spec, job_of(spec, 1, runners or RunnerSettings(user=1000), Settings(**sandboxes), ("dojo", "run"))


def test_a_job_can_do_nothing_that_the_strictest_level_of_pod_security_forbids(stage):
    _, body = job(stage)
    pod = body["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = pod["containers"][0]["securityContext"]
    assert rights["capabilities"] == {"drop": ["ALL"]} and not rights["allowPrivilegeEscalation"]
    assert all("hostPath" not in volume for volume in pod["volumes"])


def test_a_job_ends_by_itself_and_is_never_begun_twice_by_the_cluster_for_its_own_fault(stage):
    spec, body = job(stage, wait=100.0, start=10.0)
    assert body["spec"]["backoffLimit"] == 0
    assert body["spec"]["activeDeadlineSeconds"] == 3 * (spec.budget.wall + 2 * 110 + 7200)
    assert body["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["type"] == "DisruptionTarget"


def test_a_runner_makes_its_sandboxes_as_its_submitter_would(stage, monkeypatch):
    monkeypatch.setenv("DOJO_GRADER_ENGINE", "vllm")
    monkeypatch.setenv("DOJO_IMAGE_GRADER_VLLM", "ours/graders:7")
    monkeypatch.setenv("DOJO_VLLM_PYTHON", sys.executable)  # of this host: it means nothing in a pod
    _, body = job(stage, namespace="theirs", queue="gpus", owner="me")
    env = {each["name"]: each.get("value") for each in body["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (env["DOJO_K8S_NAMESPACE"], env["DOJO_K8S_QUEUE"], env["DOJO_K8S_OWNER"]) == ("theirs", "gpus", "me")
    assert (env["DOJO_GRADER_ENGINE"], env["DOJO_IMAGE_GRADER_VLLM"]) == ("vllm", "ours/graders:7")
    assert "DOJO_VLLM_PYTHON" not in env


def test_a_runner_gets_the_place_of_artefacts_and_its_credentials_from_a_secret_alone(stage, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-in-a-job")
    spec, plain = job(stage)
    body = job_of(spec, 1, RunnerSettings(user=1000), Settings(), ("dojo", "run"), artefacts="s3://bucket/dojo")
    container = body["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "DOJO_ARTEFACTS", "value": "s3://bucket/dojo"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "dojo-artefacts", "optional": True}}]
    assert (
        "never-in-a-job" not in json.dumps(body) and "ARTEFACTS" not in json.dumps(plain) and "artefacts" not in json.dumps(plain)
    )


def test_a_folder_of_this_machine_is_refused_as_place_of_artefacts(stage):
    batch, _ = stage.batch(1)
    stage.executor._artefacts = "file:///srv/artefacts"
    with pytest.raises(StoreError, match="file:///srv/artefacts") as caught:
        stage.executor.start(batch)
    assert caught.value.code == "not_shared"


def test_a_volume_is_a_claim_a_folder_of_one_or_a_path_of_the_node(stage):
    runners = RunnerSettings(home="dojo/results", cache="/srv/cache", user=1000)
    pod = job(stage, runners)[1]["spec"]["template"]["spec"]
    assert {"name": "home", "persistentVolumeClaim": {"claimName": "dojo"}} in pod["volumes"]
    assert {"name": "cache", "hostPath": {"path": "/srv/cache", "type": "Directory"}} in pod["volumes"]
    assert {"name": "home", "mountPath": "/dojo/home", "subPath": "results"} in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("name", "value"), [("STARTS", "0"), ("NAMESPACE", "Not_A_Name"), ("USER", "root"), ("PULL", "Sometimes")]
)
def test_a_setting_that_cannot_be_is_refused_with_its_variable(name, value):
    with pytest.raises(UsageError, match=f"DOJO_K8S_RUNNER_{name}="):
        RunnerSettings.from_environment({f"DOJO_K8S_RUNNER_{name}": value})


@pytest.mark.parametrize(("queued", "gpus", "queue"), [("gpu", 0, ""), ("gpu", 1, "lq"), ("all", 0, "lq"), ("all", 1, "lq")])
def test_a_queue_admits_pods_with_gpus_or_all(queued, gpus, queue):
    assert Settings(queue="lq", queued=queued).queue_of(gpus) == queue
