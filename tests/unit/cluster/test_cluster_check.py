"""`dojo cluster check` says of each thing whether it is ready, and of a pod that tried it what it found."""

from typing import Any

import pytest

from harness.cluster import check as module
from harness.cluster import pod_probe
from harness.cluster.check import check
from harness.cluster.install import Plan, install
from harness.cluster.ready import unready
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.base import Check
from harness.spec.errors import SandboxError
from tests.unit.cluster.fake_cluster import FakeCluster, use

_READY = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(module.sandboxes, "checks", lambda: [Check("cluster", True, "fine")])
    monkeypatch.setattr(module, "try_a_pod", lambda settings, artefacts: [Check("a pod", True, "tried")])
    monkeypatch.setattr(module, "pods_say", lambda body: ["its image is not to be had"])
    return use(monkeypatch)


def deployment(**status: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "x", "generation": 2},
        "spec": {"replicas": 2},
        "status": {**_READY, **status},
    }


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (deployment(), ""),
        (deployment(readyReplicas=1), "1 of 2 ready"),
        (deployment(updatedReplicas=1), "1 of them up to date"),
        (deployment(replicas=3), "2 of 2 ready"),
        (deployment(observedGeneration=1), "not been taken up"),
        ({"kind": "PersistentVolumeClaim", "metadata": {}, "spec": {}, "status": {"phase": "Pending"}}, "no volume"),
        ({"kind": "PersistentVolumeClaim", "metadata": {}, "spec": {}, "status": {"phase": "Bound"}}, ""),
        ({"kind": "Service", "metadata": {}, "spec": {}}, ""),
    ],
    ids=["ready", "one ready", "rolling out", "an old pod left", "not seen", "unbound", "bound", "nothing to wait for"],
)
def test_a_workload_is_ready_when_all_its_pods_are_up_to_date_and_answer(body: dict[str, Any], word: str) -> None:
    assert (word in unready(body)) if word else unready(body) == ""


def test_an_empty_cluster_says_what_to_do_first(fake: FakeCluster) -> None:
    (_, line) = check()
    assert not line.ok and "dojo cluster install" in line.hint


def test_a_whole_installation_is_tried_from_a_pod(fake: FakeCluster) -> None:
    install(Plan(with_postgres=True), lambda text: None)
    for (kind, _, _), body in fake.held.items():
        if kind == "PersistentVolumeClaim":
            body["status"] = {"phase": "Bound"}
    found = check()
    assert all(line.ok for line in found) and found[-1].name == "a pod"


def test_artefacts_are_tried_as_the_service_has_them_or_as_is_said_here(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "try_a_pod", lambda settings, artefacts: [Check(artefacts, True, settings.artefacts)])
    chosen = {"DOJO_ARTEFACTS": "s3://theirs", "DOJO_K8S_RUNNER_ARTEFACTS": "bucket-keys"}
    install(Plan("single-node", chosen, None, True), lambda text: None)
    for (kind, _, _), body in fake.held.items():
        if kind == "PersistentVolumeClaim":
            body["status"] = {"phase": "Bound"}
    assert (check()[-1].name, check()[-1].detail) == ("s3://theirs", "bucket-keys")
    monkeypatch.setenv("DOJO_ARTEFACTS", "s3://mine")
    assert check()[-1].name == "s3://mine"


def test_what_is_not_ready_is_named_with_the_clusters_words_and_no_pod_is_tried(fake: FakeCluster) -> None:
    install(Plan(with_postgres=True), lambda text: None)
    fake.held["Deployment", "dojo", "dojo-service"]["status"]["readyReplicas"] = 0
    bad = {line.name: line for line in check() if not line.ok}
    assert "image is not to be had" in bad["service dojo-service"].detail and "volume dojo-home" in bad
    assert "a pod" not in {line.name for line in check()}


@pytest.mark.parametrize("said", ["", "Insufficient quota"])
def test_a_queue_is_as_kueue_says(fake: FakeCluster, said: str) -> None:
    install(Plan("gpu-cluster", {}, None, True), lambda text: None)
    queue = fake.held["ClusterQueue", "", "dojo"]
    queue["status"] = {"conditions": [{"type": "Active", "status": "False" if said else "True", "message": said or "Can admit"}]}
    (line,) = (line for line in check() if line.name == "queue dojo")
    assert line.ok is not bool(said) and (said or "Can admit") in line.detail


def test_a_pod_tells_of_each_thing_that_a_runner_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"results": "", "cache": "Permission denied", "database": "", "version": "15.20", "artefacts": "403 AccessDenied"}
    monkeypatch.setattr(pod_probe, "_try", lambda settings, artefacts: said)
    results, cache, database = pod_probe.try_a_pod(RunnerSettings.from_environment({}))
    assert results.ok and database.ok and "15.20" in database.detail
    assert not cache.ok and "Permission denied" in cache.detail and "chown" in cache.hint
    artefacts = pod_probe.try_a_pod(RunnerSettings.from_environment({}), "s3://bucket")[-1]
    assert not artefacts.ok and artefacts.detail == "403 AccessDenied" and "DOJO_K8S_RUNNER_ARTEFACTS" in artefacts.hint


def test_a_pod_that_does_not_come_up_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: RunnerSettings, artefacts: str) -> str:
        raise SandboxError("making a pod: the cluster refuses", hint="look there")

    monkeypatch.setattr(pod_probe, "_try", refuse)
    (line,) = pod_probe.try_a_pod(RunnerSettings.from_environment({}))
    assert not line.ok and line.hint == "look there"
    monkeypatch.setattr(pod_probe, "_try", lambda settings, artefacts: "its image is not to be had")
    (line,) = pod_probe.try_a_pod(RunnerSettings.from_environment({}))
    assert not line.ok and "image" in line.detail
