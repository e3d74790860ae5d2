"""k8s/gateway, which is no part of an overlay: its objects are the API's, closed, and about the command that there is."""

from typing import Any

import click

from harness.cli.gateway import serve
from harness.cli.main import cli
from harness.cluster.kustomize import containers, render
from harness.project import bundled
from tests.unit.cluster.schemas import faults


def one(kind: str) -> dict[str, Any]:
    (found,) = [body for body in render(bundled("k8s") / "gateway") if body["kind"] == kind]
    return found


def test_every_field_is_one_of_the_api_and_no_secret_is_among_them() -> None:
    found = render(bundled("k8s") / "gateway")
    assert [fault for body in found for fault in faults(body)] == []
    assert sorted(body["kind"] for body in found) == ["Deployment", "NetworkPolicy", "Service"]
    assert {body["metadata"]["namespace"] for body in found} == {"dojo"}


def test_its_pods_are_as_restricted_demands_and_hold_nothing_that_they_do_not_need() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False and not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    (container,) = containers(one("Deployment"))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert {key for volume in pod["volumes"] for key in volume} == {"name", "configMap", "emptyDir"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (priority,) = {pod["priorityClassName"]}
    assert priority in {body["metadata"]["name"] for body in render(bundled("k8s") / "base") if body["kind"] == "PriorityClass"}


def test_runners_alone_reach_the_port_that_it_listens_at() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    (rule,) = one("NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"org.dojo.role": "runner"}}}]  # of its own namespace
    for chosen in (one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], one("Service")["spec"]["selector"]):
        assert chosen.items() <= labels.items()
    (container,) = containers(one("Deployment"))
    (port,) = container["ports"]
    assert [each["port"] for each in rule["ports"]] == [port["containerPort"]]
    assert [each["targetPort"] for each in one("Service")["spec"]["ports"]] == [port["name"]]


def test_its_command_is_one_and_ends_before_the_cluster_ends_it() -> None:
    from harness.gateway.shared.serve import _DRAIN_S

    (container,) = containers(one("Deployment"))
    assert container["command"][:3] == ["dojo", "gateway", "serve"]
    dojo = click.Context(cli, **cli.context_settings)  # a command keeps the options of its first context, so it is the real one
    given = serve.make_context("serve", container["command"][3:], dojo)
    assert isinstance(given, click.Context) and given.params["port"] == container["ports"][0]["containerPort"]
    assert one("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > _DRAIN_S
