"""What the cluster is asked for: nothing that an agent could use, and limits that are kept."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.base import Mount, Relay, SandboxSpec
from harness.sandbox.folder import from_json
from harness.sandbox.kubernetes import pod
from harness.sandbox.kubernetes.identity import agent_user, new_credentials, pod_name, service_code, service_name
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import UsageError
from harness.spec.task import Limits

LIMITS = Limits(cpus=1.5, memory_mb=2000, pids=99, disk_mb=500, gpus=0)
SPEC = SandboxSpec(
    "r20261128-120000-abcde-1-task",
    LIMITS,
    mounts=(Mount(Path("/somewhere/model"), "/models/base"), Mount(Path("/somewhere/tool"), "/opt/dojo/bin/dojo-tool")),
    relays=(Relay(8700, Path("/run/dojo/api.sock"), "api"),),
    env={"A": "b"},
    labels={"run": "r20261128-120000-abcde"},
)


def made(settings: Settings | None = None, spec: SandboxSpec = SPEC) -> dict[str, Any]:
    return pod.pod(spec, settings or Settings(), "dojo/task:cpu", "a-secret")


def main_of(whole: dict[str, Any]) -> dict[str, Any]:
    (container,) = whole["spec"]["containers"]
    return dict(container)


def test_nothing_of_the_cluster_is_handed_to_a_sandbox() -> None:
    spec = made()["spec"]
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert spec["dnsPolicy"] == "None" and spec["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume or "projected" in volume]


@pytest.mark.parametrize("stage", [0, 1])
def test_every_container_is_as_small_as_pod_security_can_ask(stage: int) -> None:
    whole = made()["spec"]
    container = [*whole["initContainers"], *whole["containers"]][stage]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": pod.CAPABILITIES},
    }
    assert whole["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_what_is_shown_is_read_only_and_written_by_the_first_stage_alone() -> None:
    whole = made()
    (fill,) = whole["spec"]["initContainers"]
    shown = {mount["mountPath"]: mount for mount in main_of(whole)["volumeMounts"] if mount["name"] == "assets"}
    assert set(shown) == {"/models/base", "/opt/dojo/bin/dojo-tool"} and all(mount["readOnly"] for mount in shown.values())
    assert [m for m in fill["volumeMounts"] if m["name"] == "assets"] == [{"name": "assets", "mountPath": "/assets"}]
    assert not [m for m in fill["volumeMounts"] if m["name"] == "disk"], "the agent's disk is not there yet"


def test_limits_are_requests_too_so_that_the_pod_is_guaranteed() -> None:
    for container in (*made()["spec"]["initContainers"], main_of(made())):
        resources = container["resources"]
        assert resources["limits"] == resources["requests"] == {"cpu": "1500m", "memory": f"{2000 + 500 + pod.RESERVE_MB}Mi"}


def test_on_the_nodes_disk_the_kubelet_keeps_the_limit() -> None:
    resources = main_of(made(Settings(disk="node")))["resources"]
    assert resources["limits"]["ephemeral-storage"] == f"{500 + pod.RESERVE_MB}Mi"
    assert resources["limits"]["memory"] == f"{2000 + pod.RESERVE_MB}Mi"
    (disk,) = [v["emptyDir"] for v in made(Settings(disk="node"))["spec"]["volumes"] if v["name"] == "disk"]
    assert disk == {"sizeLimit": "500Mi"}


def test_gpus_are_asked_for_by_the_stage_that_uses_them() -> None:
    whole = made(spec=SandboxSpec("x", LIMITS.model_copy(update={"gpus": 2})))
    assert main_of(whole)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in whole["spec"]["initContainers"][0]["resources"]["limits"]


def test_a_queue_and_a_runtime_are_named_where_the_operator_has_them() -> None:
    whole = made(Settings(queue="lab", queued="all", runtime_class="gvisor"))
    assert whole["metadata"]["labels"][pod.QUEUE_LABEL] == "lab" and whole["spec"]["runtimeClassName"] == "gvisor"
    assert pod.QUEUE_LABEL not in made()["metadata"]["labels"] and "runtimeClassName" not in made()["spec"]
    assert pod.QUEUE_LABEL not in made(Settings(queue="lab"))["metadata"]["labels"], "a pod without GPUs waits in no queue"


def test_a_sandbox_makes_no_room_for_what_is_less_urgent() -> None:
    assert (
        made()["spec"]["priorityClassName"] == "dojo-measured"
        and "priorityClassName" not in made(Settings(priority_class=""))["spec"]
    )
    assert made()["metadata"]["annotations"][pod.NOT_MOVED] == "false"


def test_the_secret_keeps_the_specification_for_who_attaches_and_shows_the_pod_none_of_it() -> None:
    credentials = new_credentials("x")
    secret = pod.secret(SPEC, Settings(far_ends="10.0.0.1:443"), credentials)
    files = {name: base64.b64decode(data).decode() for name, data in secret["data"].items()}
    assert from_json(json.loads(files["spec.json"])) == SPEC
    plan = json.loads(files["plan.json"])
    assert plan["relays"] == [8700] and plan["far_ends"] == [["10.0.0.1", 443]] and plan["env"] == {"A": "b"}
    assert "/somewhere" not in files["plan.json"] and "PATH" not in plan["base_env"]
    volume = next(v for v in made()["spec"]["volumes"] if v["name"] == "secret")["secret"]
    assert {item["key"] for item in volume["items"]} == {"plan.json", "cert.pem", "key.pem", "token"}
    assert volume["defaultMode"] == 0o400


def test_pods_that_follow_each_other_under_one_name_are_shown_secrets_of_different_names() -> None:
    def made_as(uid: str) -> dict[str, Any]:
        body = pod.secret(SPEC, Settings(), new_credentials("x"))
        return body | {"metadata": body["metadata"] | {"uid": uid}}

    first, second = (made_as(uid) for uid in ("01234567-aa", "89abcdef-aa"))
    shown = [pod.shown_secret(each) for each in (first, second)]
    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert len({each["metadata"]["name"] for each in shown}) == 2
    for whole, part in zip((first, second), shown, strict=True):
        assert part["data"] == {name: value for name, value in whole["data"].items() if name != "spec.json"}
        assert part["metadata"]["ownerReferences"][0]["uid"] == whole["metadata"]["uid"], "it goes when that does"
        # who looks for sandboxes finds each once
        assert not {pod.ID_LABEL, pod.OWNER_LABEL} & set(part["metadata"]["labels"])
        named = [
            v["secret"]["secretName"]
            for v in pod.pod(SPEC, Settings(), "i", part["metadata"]["name"])["spec"]["volumes"]
            if "secret" in v
        ]
        assert named == [part["metadata"]["name"]] * 2


@pytest.mark.parametrize(
    "id", ["r20261128-120000-abcde-1-task", "A.b_C", "x" * 80, "contract-1-2", "UPPER-case", "9"], ids=lambda id: id[:20]
)
def test_any_id_has_a_name_that_kubernetes_takes(id: str) -> None:
    name = pod_name(id)
    assert len(name) <= 63 and name == name.lower() and name.replace("-", "").isalnum() and not name.endswith("-")


def test_ids_that_look_alike_have_names_and_users_of_their_own() -> None:
    ids = ["a.b", "a-b", "a_b", "A-B"]
    assert len({pod_name(id) for id in ids}) == len({agent_user(id) for id in ids}) == 4
    assert all(agent_user(id) > 1_000_000 for id in ids)


def test_the_code_inside_is_named_by_what_it_is_and_imports_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(service_code())) as archive:
        names = archive.namelist()
    assert {"sandbox/execd/main.py", "sandbox/jail/pod.py", "sandbox/jail/door.py"} <= set(names)
    assert all(name.startswith("sandbox/") for name in names) and len(service_code()) < 900_000, "a ConfigMap holds a mebibyte"
    assert service_name() == service_name() and len(service_name()) < 63


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DISK", "ssd", "memory"),
        ("CPU_SHARE", "0", "greater than 0"),
        ("CPU_SHARE", "half", "number"),
        ("QUEUE", "Not_A_Label", "lower-case"),
        ("NAMESPACE", "-x", "lower-case"),
        ("FAR_ENDS", "api.cluster:443", "no names"),
        ("FAR_ENDS", "10.0.0.1", "no names"),
        ("WAIT", "-1", "greater than 0"),
        ("PULL", "Sometimes", "Always"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value(variable: str, value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({f"DOJO_K8S_{variable}": value})
    assert f"DOJO_K8S_{variable}" in caught.value.message and value in caught.value.message
    assert said in caught.value.message + caught.value.hint


def test_settings_come_from_the_environment() -> None:
    found = Settings.from_environment({"DOJO_K8S_FAR_ENDS": "10.0.0.1:443, [fd00::1]:6443", "DOJO_K8S_CPU_SHARE": "0.5"})
    assert found.far_end_pairs() == [("10.0.0.1", 443), ("fd00::1", 6443)] and found.cpu_share == 0.5
    assert main_of(made(found))["resources"]["requests"]["cpu"] == "750m"
