"""The API of a real cluster takes what `dojo cluster install` would put there; nothing of it is kept."""

import copy

import pytest

from harness.cluster import objects
from harness.cluster.install import Plan, install, overlays, rendered
from harness.cluster.kustomize import containers, identity
from harness.sandbox.kubernetes import cluster
from harness.spec.errors import SandboxError

pytestmark = pytest.mark.usefixtures("settings")
_WITHOUT_QUEUES = [name for name in overlays() if "ClusterQueue" not in {body["kind"] for body in rendered(Plan(name))}]


@pytest.mark.parametrize("overlay", _WITHOUT_QUEUES)
def test_every_object_of_an_overlay_is_taken(overlay: str) -> None:
    """Server-side apply refuses unknown fields; `k8s/base` is there already, so that namespaces are."""
    steps = install(Plan(overlay, {}, None, True), lambda text: None, dry=True)
    assert {step.kind for step in steps} >= {"Deployment", "StatefulSet", "NetworkPolicy", "PersistentVolume"}
    assert {step.did for step in steps} <= {"created", "changed", "unchanged"}


def test_a_field_that_the_api_does_not_know_is_refused() -> None:
    body = copy.deepcopy(next(body for body in rendered(Plan()) if body["kind"] == "Deployment"))
    body["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(SandboxError, match="enableServiceLink"):
        objects.apply(body, dry=True)


@pytest.mark.parametrize("privileged", [False, True])
def test_pods_of_service_and_database_are_taken_at_the_level_restricted(privileged: bool) -> None:
    """Their pods as such, since a workload whose pods are refused is only warned about; the control shows that it is kept."""
    core = cluster.core()
    workloads = [body for body in rendered(Plan(with_postgres=True)) if containers(body)]
    assert len(workloads) == 2
    for body in workloads:
        spec = copy.deepcopy(body["spec"]["template"]["spec"])
        spec.pop("serviceAccountName", None)  # not there before an installation
        spec["containers"][0]["securityContext"]["privileged"] = privileged
        if privileged:
            spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")
        pod = {"metadata": {"name": identity(body)[2], "labels": body["spec"]["template"]["metadata"]["labels"]}, "spec": spec}
        if privileged:
            with pytest.raises(SandboxError, match="restricted"):
                cluster.ask("trying a pod", core.create_namespaced_pod, "dojo", pod, dry_run="All")
        else:
            cluster.ask("trying a pod", core.create_namespaced_pod, "dojo", pod, dry_run="All")
