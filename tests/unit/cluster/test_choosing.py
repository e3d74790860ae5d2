"""What an operator sets is carried out on the objects; what would change nothing, or is not understood, is refused."""

from pathlib import Path
from typing import Any

import pytest

from harness.cluster import objects
from harness.cluster.choices import parse
from harness.cluster.install import Plan, install, rendered
from harness.cluster.kustomize import containers, render
from harness.spec.errors import DojoError, NotFoundError, SpecError, UsageError


def one(overlay: str, settings: list[str], kind: str, name: str = "", with_postgres: bool = True) -> dict[str, Any]:
    found = rendered(Plan(overlay, parse(settings), None, with_postgres))
    return next(body for body in found if body["kind"] == kind and name in ("", body["metadata"]["name"]))


def test_all_images_come_from_the_registry_that_is_set() -> None:
    found = rendered(Plan("gpu-cluster", parse(["registry=reg.example.org/ours/"]), None, True))
    images = {container["image"] for body in found for container in containers(body)}
    assert images == {"reg.example.org/ours/runner:cpu", "reg.example.org/ours/postgres:15"}
    (settings,) = (body["data"] for body in found if body["kind"] == "ConfigMap")
    assert settings["DOJO_IMAGE_TASK"] == "reg.example.org/ours/task:cuda"
    assert settings["DOJO_IMAGE_RUNNER"] == "reg.example.org/ours/runner:cpu"
    assert "DOJO_IMAGE_GRADER_VLLM" not in settings  # named, it would be what `auto` takes
    with_vllm = ["DOJO_IMAGE_GRADER_VLLM=dojo/grader-vllm:cuda", "registry=reg.example.org/ours"]
    named = one("gpu-cluster", with_vllm, "ConfigMap")["data"]
    assert named["DOJO_IMAGE_GRADER_VLLM"] == "reg.example.org/ours/grader-vllm:cuda"


def test_a_pull_policy_is_that_of_runners_and_sandboxes_too() -> None:
    data = one("single-node", ["pull=Never"], "ConfigMap")["data"]
    assert data["DOJO_K8S_PULL"] == data["DOJO_K8S_RUNNER_PULL"] == "Never"
    assert containers(one("single-node", ["pull=Never"], "Deployment"))[0]["imagePullPolicy"] == "Never"


def test_places_replicas_classes_quotas_and_variables_are_set() -> None:
    volume = one("single-node", ["home=/mnt/a"], "PersistentVolume", "dojo-home")
    assert volume["spec"]["hostPath"]["path"] == "/mnt/a"
    assert one("single-node", ["replicas=3"], "Deployment")["spec"]["replicas"] == 3
    claim = one("gpu-cluster", ["storage-class=nfs"], "PersistentVolumeClaim", "dojo-home")
    assert claim["spec"]["storageClassName"] == "nfs"
    flavor = one("gpu-cluster", ["gpus=16", "memory=1Ti"], "ClusterQueue")["spec"]["resourceGroups"][0]["flavors"][0]
    assert {each["name"]: each["nominalQuota"] for each in flavor["resources"]}["nvidia.com/gpu"] == 16
    assert {each["name"]: each["nominalQuota"] for each in flavor["resources"]}["memory"] == "1Ti"
    assert one("single-node", ["DOJO_K8S_DISK=node"], "ConfigMap")["data"]["DOJO_K8S_DISK"] == "node"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("pull", UsageError), ("pull=", UsageError), ("pull=never", UsageError), ("replicas=0", UsageError),
        ("gpus=many", UsageError), ("home=srv", UsageError), ("replica=2", NotFoundError), ("dojo_x=1", NotFoundError),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_name(text: str, error: type[DojoError]) -> None:
    with pytest.raises(error, match=text.partition("=")[0]):
        parse([text])


@pytest.mark.parametrize(
    ("plan", "error", "word"),
    [
        (Plan("nowhere"), NotFoundError, "nowhere"),
        (Plan(chosen={"gpus": "4"}), UsageError, "gpus"),
        (Plan(database="mysql://root:sesame@db/dojo"), UsageError, "--database"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_where_no_cluster_is(
    plan: Plan, error: type[DojoError], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "read", lambda *_: pytest.fail("a cluster was asked"))
    with pytest.raises(error, match=word) as refused:
        install(plan, print)
    assert "sesame" not in str(refused.value.as_dict())


@pytest.mark.parametrize("text", ["gpus=4", "storage-class=nfs"])
def test_a_setting_about_nothing_in_the_overlay_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="nothing"):
        rendered(Plan("single-node", parse([text])))


_PATCH = "resources: [thing.yaml]\npatches: [{target: {kind: ConfigMap}, patch: '[%s]'}]"
_THING = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: y}\ndata: {a: b}\n"


@pytest.mark.parametrize(
    ("kustomization", "thing", "word"),
    [
        ("resources: [thing.yaml]\nnamePrefix: a-", _THING, "namePrefix"),
        ("resources: [other.yaml]", _THING, "not there"),
        ("resources: [thing.yaml]", "a: [", "thing.yaml"),
        ("resources: [thing.yaml]", "kind: ConfigMap", "no object"),
        ("resources: [thing.yaml]", f"{_THING}---\n{_THING}", "twice"),
        ("resources: [thing.yaml]\npatches: [{target: {kind: Secret}, patch: '[]'}]", _THING, "not there"),
        (_PATCH % "{op: replace, path: /data/z, value: 1}", _THING, "replace"),
        (_PATCH % "{op: move, path: /data/a}", _THING, "move"),
        ("resources: [thing.yaml]\npatches: [{path: p.yaml}]", _THING, "target"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_and_never_left_out(tmp_path: Path, kustomization: str, thing: str, word: str) -> None:
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    (tmp_path / "thing.yaml").write_text(thing)
    with pytest.raises(SpecError, match=word):
        render(tmp_path)


def test_a_patch_changes_the_object_it_names_and_no_other(tmp_path: Path) -> None:
    steps = "{op: add, path: /data/c~1d, value: e}, {op: remove, path: /data/a}"
    (tmp_path / "kustomization.yaml").write_text((_PATCH % steps).replace("ConfigMap", "ConfigMap, name: x"))
    (tmp_path / "thing.yaml").write_text(f"{_THING}---\n{_THING.replace('name: x', 'name: z')}")
    first, second = render(tmp_path)
    assert first["data"] == {"c/d": "e"} and second["data"] == {"a": "b"}
