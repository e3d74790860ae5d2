"""Every overlay of k8s/ is checked without a cluster: it renders, its objects are the API's, and what they name is there."""

import copy
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from harness.cluster import objects
from harness.cluster.install import Plan, overlays, rendered
from harness.cluster.kustomize import containers, identity, render
from harness.executor.kubernetes.settings import RunnerSettings
from harness.project import bundled
from harness.sandbox.kubernetes.checks import _RIGHTS
from tests.unit.cluster.schemas import faults

FOLDERS = sorted(str(path.parent.relative_to(bundled("k8s"))) for path in bundled("k8s").rglob("kustomization.yaml"))
PLANS = [Plan(name, {}, None, with_postgres) for name in overlays() for with_postgres in (False, True)]
_NAMES = [f"{plan.overlay}{' with postgres' if plan.with_postgres else ''}" for plan in PLANS]
each_plan = pytest.mark.parametrize("plan", PLANS, ids=_NAMES)
# what `install` makes and files do not hold
MADE = {("Secret", "dojo", "dojo-database"), ("Secret", "dojo", "dojo-postgres")}


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [body for body in found if body["kind"] == kind]


def workloads(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in found if containers(body)]


def pod_of(body: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def test_there_are_the_overlays_that_the_page_names() -> None:
    assert set(overlays()) >= {"single-node", "gpu-cluster", "air-gapped", "kind"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_kubectl_renders_the_same_objects(folder: str) -> None:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl is installed, which the renderer is compared with")
    said = subprocess.run([program, "kustomize", str(bundled("k8s") / folder)], capture_output=True, text=True, check=True)
    assert sorted(render(bundled("k8s") / folder), key=identity) == sorted(yaml.safe_load_all(said.stdout), key=identity)


@each_plan
def test_every_field_is_one_of_the_api(plan: Plan) -> None:
    assert [fault for body in rendered(plan) for fault in faults(body)] == []


@pytest.mark.parametrize(
    ("way", "word"),
    [
        (("spec", "template", "spec", "automountServiceAccountTokn"), "unknown"),
        (("spec", "template", "spec", "containers", 0, "securityContext", "runAsNonroot"), "unknown"),
        (("spec", "replicas"), "is no int"),
        (("spec", "selector"), "is no object"),
    ],
)
def test_a_planted_typo_is_found(way: tuple[Any, ...], word: str) -> None:
    (body,) = (each for each in rendered(Plan()) if each["kind"] == "Deployment")
    body = copy.deepcopy(body)
    inside: Any = body
    for part in way[:-1]:
        inside = inside[part]
    inside[way[-1]] = "x"
    assert [fault for fault in faults(body) if word in fault and str(way[-1]) in fault]


def test_a_field_that_the_api_requires_and_is_not_there_is_found() -> None:
    (body,) = (each for each in rendered(Plan()) if each["kind"] == "Deployment")
    body = copy.deepcopy(body)
    del body["spec"]["selector"]
    assert faults(body)


@each_plan
def test_selectors_mean_pods_that_there_are(plan: Plan) -> None:
    found = rendered(plan)
    pods = [body["spec"]["template"]["metadata"]["labels"] for body in workloads(found)]
    for body in workloads(found):
        chosen = body["spec"]["selector"]["matchLabels"].items()
        assert chosen <= body["spec"]["template"]["metadata"]["labels"].items()
    selectors = [body["spec"]["selector"] for body in of(found, "Service")]
    selectors += [body["spec"]["selector"]["matchLabels"] for body in of(found, "PodDisruptionBudget")]
    selectors += [labels for body in of(found, "NetworkPolicy") if (labels := body["spec"]["podSelector"].get("matchLabels"))]
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in pods), selector


@each_plan
def test_services_lead_to_ports_that_containers_have(plan: Plan) -> None:
    found = rendered(plan)
    for service in of(found, "Service"):
        chosen = service["spec"]["selector"].items()
        meant = [body for body in workloads(found) if chosen <= body["spec"]["template"]["metadata"]["labels"].items()]
        named = {port["name"] for body in meant for container in containers(body) for port in container.get("ports", ())}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


@each_plan
def test_policies_open_the_ports_that_containers_have(plan: Plan) -> None:
    found = rendered(plan)
    ports = {port["containerPort"] for body in workloads(found) for c in containers(body) for port in c.get("ports", ())} | {7443}
    opened = {p["port"] for b in of(found, "NetworkPolicy") for rule in b["spec"].get("ingress", ()) for p in rule["ports"]}
    assert opened == ports
    closed = {b["metadata"]["namespace"] for b in of(found, "NetworkPolicy") if not any(b["spec"]["podSelector"].values())}
    assert closed == {body["metadata"]["name"] for body in of(found, "Namespace")}


@each_plan
def test_what_pods_name_is_there_or_made_by_install(plan: Plan) -> None:
    found = rendered(plan)
    there = {identity(body) for body in found} | MADE
    for body in workloads(found):
        pod, space = pod_of(body), body["metadata"]["namespace"]
        if account := pod.get("serviceAccountName"):
            assert ("ServiceAccount", space, account) in there
        if priority := pod.get("priorityClassName"):
            assert ("PriorityClass", "", priority) in there
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", space, volume["persistentVolumeClaim"]["claimName"]) in there
            if "secret" in volume:
                assert ("Secret", space, volume["secret"]["secretName"]) in there
        for container in containers(body):
            shown = {mount["name"] for mount in container["volumeMounts"]}
            assert shown <= {volume["name"] for volume in pod["volumes"]}
            for entry in container.get("env", ()):
                if "valueFrom" in entry:
                    assert ("Secret", space, entry["valueFrom"]["secretKeyRef"]["name"]) in there
            for entry in container.get("envFrom", ()):
                if not entry.get("secretRef", {}).get("optional"):  # an operator's own, such as for artefacts
                    assert ("ConfigMap", space, entry["configMapRef"]["name"]) in there


@each_plan
def test_what_runners_name_is_there_or_made_by_install(plan: Plan) -> None:
    there = {identity(body) for body in rendered(plan)} | MADE
    runners = RunnerSettings.from_environment({})
    for kind, name in (
        ("ServiceAccount", runners.account),
        ("PersistentVolumeClaim", runners.home),
        ("PersistentVolumeClaim", runners.cache),
        ("Secret", runners.database),
    ):
        assert (kind, runners.namespace, name) in there
    assert ("PriorityClass", "", runners.priority_class) in there


@each_plan
def test_volumes_and_claims_belong_together(plan: Plan) -> None:
    found = rendered(plan)
    volumes = {body["metadata"]["name"]: body["spec"] for body in of(found, "PersistentVolume")}
    for claim in of(found, "PersistentVolumeClaim"):
        if name := claim["spec"].get("volumeName"):
            spec = volumes[name]
            assert spec["claimRef"] == {"namespace": claim["metadata"]["namespace"], "name": claim["metadata"]["name"]}
            assert spec["accessModes"] == claim["spec"]["accessModes"]
            assert spec["storageClassName"] == claim["spec"]["storageClassName"] == ""
            assert spec["persistentVolumeReclaimPolicy"] == "Retain"


@each_plan
def test_every_role_is_bound_and_every_binding_means_a_role_and_an_account(plan: Plan) -> None:
    found = rendered(plan)
    there = {identity(body) for body in found}
    bound = set()
    for binding in of(found, "RoleBinding"):
        role = ("Role", binding["metadata"]["namespace"], binding["roleRef"]["name"])
        assert role in there
        bound.add(role)
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in there
    assert {identity(body) for body in of(found, "Role")} == bound
    rules = [rule for body in of(found, "Role") for rule in body["rules"]]
    assert not any("*" in rule[key] for rule in rules for key in ("apiGroups", "resources", "verbs"))


@each_plan
def test_pods_of_the_namespace_dojo_are_as_restricted_demands(plan: Plan) -> None:
    found = rendered(plan)
    spaces = [body["metadata"] for body in of(found, "Namespace")]
    levels = {space["name"]: space["labels"]["pod-security.kubernetes.io/enforce"] for space in spaces}
    assert levels == {"dojo": "restricted", "dojo-sandboxes": "baseline"}
    for body in workloads(found):
        pod = pod_of(body)
        assert body["metadata"]["namespace"] == "dojo"
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all(set(volume) & {"persistentVolumeClaim", "emptyDir", "secret", "configMap"} for volume in pod["volumes"])
        for container in containers(body):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]


@each_plan
def test_no_secret_stands_in_a_file(plan: Plan) -> None:
    assert of(rendered(plan), "Secret") == []


@each_plan
def test_images_are_ours_with_a_tag_that_is_not_latest(plan: Plan) -> None:
    for body in workloads(rendered(plan)):
        for container in containers(body):
            name, _, tag = container["image"].rpartition(":")
            assert name.rpartition("/")[0].endswith("dojo") and tag not in ("", "latest")


@each_plan
def test_install_knows_every_kind_and_marks_every_object_as_its_own(plan: Plan) -> None:
    found = rendered(plan)
    assert all(body["metadata"]["labels"][objects.LABEL] == "cluster" for body in found)
    order = [list(objects.KINDS).index(body["kind"]) for body in found]
    assert order == sorted(order)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_kueue_queue_is_where_sandboxes_are(folder: str) -> None:
    found = render(bundled("k8s") / folder)
    flavors = {body["metadata"]["name"] for body in of(found, "ResourceFlavor")}
    queues = {body["metadata"]["name"] for body in of(found, "ClusterQueue")}
    for body in of(found, "ClusterQueue"):
        for group in body["spec"]["resourceGroups"]:
            assert {flavor["name"] for flavor in group["flavors"]} <= flavors
            for flavor in group["flavors"]:
                assert [resource["name"] for resource in flavor["resources"]] == group["coveredResources"]
    for body in of(found, "LocalQueue"):
        assert body["spec"]["clusterQueue"] in queues and body["metadata"]["namespace"] == "dojo-sandboxes"
    if queues and (settings := [b for b in of(found, "ConfigMap") if b["metadata"]["name"] == "dojo-service"]):
        assert settings[0]["data"]["DOJO_K8S_QUEUE"] in {body["metadata"]["name"] for body in of(found, "LocalQueue")}


def test_a_runner_has_the_rights_that_doctor_asks_for_and_that_the_backend_uses() -> None:
    """Beside those that `checks` asks for it may look at what makes a pod wait and at what closes it."""
    found = render(bundled("k8s") / "base")
    (role,) = (b for b in of(found, "Role") if b["metadata"]["name"] == "dojo-runner")
    given = {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert set(_RIGHTS) <= given
    assert given - set(_RIGHTS) == {("list", "resourcequotas"), ("list", "networkpolicies")}
