"""What an operator decides about an installation: `--set NAME=VALUE`, carried out on the rendered objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from harness.cluster.kustomize import Object, containers
from harness.spec.errors import NotFoundError, UsageError

SETTINGS = "dojo-service"
"""The ConfigMap with the variables of the service, and the Deployment that reads it."""

_PULL = ("Always", "IfNotPresent", "Never")
_PULL_VARIABLES = ("DOJO_K8S_PULL", "DOJO_K8S_RUNNER_PULL")
_VLLM = "DOJO_IMAGE_GRADER_VLLM"
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kKMGTP]i?)?")
_QUOTAS = {"cpus": "cpu", "memory": "memory", "disk": "ephemeral-storage", "gpus": "nvidia.com/gpu"}
_PLACES = ("home", "cache", "postgres")
KNOWN = ("registry", "pull", "replicas", "storage-class", *_PLACES, *_QUOTAS)
"""The names; beside them any variable of the service, as DOJO_…"""


def parse(given: Sequence[str]) -> dict[str, str]:
    """Return what was set, by name.

    Raises:
        UsageError: one is not NAME=VALUE, or its value cannot be one.
        NotFoundError: no such name.
    """
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not value:
            raise UsageError(f"--set {text!r} sets nothing", hint="write NAME=VALUE")
        if name not in KNOWN and not re.fullmatch(r"DOJO_[A-Z0-9_]+", name):
            raise NotFoundError.named("setting of a cluster", name, [*KNOWN, "DOJO_…"])
        _refuse_bad(name, value)
        found[name] = value
    return found


def _refuse_bad(name: str, value: str) -> None:
    good = {
        "pull": (value in _PULL, ", ".join(_PULL)),
        "replicas": (value.isdecimal() and int(value) > 0, "a number from 1"),
        **{place: (value.startswith("/"), "an absolute path of the node") for place in _PLACES},
        **{quota: (bool(_QUANTITY.fullmatch(value)), "a quantity such as 8, 64 or 512Gi") for quota in _QUOTAS},
    }.get(name, (True, ""))
    if not good[0]:
        raise UsageError(f"--set {name}={value!r} is not {good[1]}", hint=f"{name} is {good[1]}")


def carry_out(objects: list[Object], chosen: Mapping[str, str]) -> None:
    """Change the objects as was chosen.

    Raises:
        UsageError: a choice is about nothing that this overlay has.
    """
    does: dict[str, Callable[[list[Object], str], int]] = {
        "registry": _registry,
        "pull": _pull,
        "replicas": lambda all_, value: _put(all_, "Deployment", ("spec", "replicas"), int(value)),
        "storage-class": _storage_class,
        **{place: _place(place) for place in _PLACES},
        **{quota: _quota(resource) for quota, resource in _QUOTAS.items()},
    }
    for name, value in chosen.items():
        done = does[name](objects, value) if name in does else _variable(objects, name, value)
        if not done:
            raise UsageError(
                f"--set {name}={value}: this overlay has nothing that it is about", hint="leave it out, or take another"
            )


def _of(objects: list[Object], kind: str, name: str = "") -> list[Object]:
    return [body for body in objects if body["kind"] == kind and name in ("", body["metadata"]["name"])]


def _put(objects: list[Object], kind: str, way: tuple[str, ...], value: object) -> int:
    found = _of(objects, kind)
    for body in found:
        inside = body
        for part in way[:-1]:
            inside = inside[part]
        inside[way[-1]] = value
    return len(found)


def _variable(objects: list[Object], name: str, value: str) -> int:
    found = _of(objects, "ConfigMap", SETTINGS)
    for body in found:
        body["data"][name] = value
    return len(found)


def _registry(objects: list[Object], prefix: str) -> int:
    """Take every image of ours from a registry, those of sandboxes and runners too."""
    prefix = prefix.rstrip("/")
    found = [container for body in objects for container in containers(body)]
    for container in found:
        container["image"] = f"{prefix}/{container['image'].rpartition('/')[2]}"
    kind = "cuda" if _of(objects, "ClusterQueue") else "cpu"
    for body in _of(objects, "ConfigMap", SETTINGS):
        for name, variant in (("runner", "cpu"), ("task", kind), ("grader", kind)):
            there = body["data"].get(f"DOJO_IMAGE_{name.upper()}") or f"dojo/{name}:{variant}"
            body["data"][f"DOJO_IMAGE_{name.upper()}"] = f"{prefix}/{there.rpartition('/')[2]}"
        if there := body["data"].get(_VLLM):  # graders use it where it is named, so it is no default
            body["data"][_VLLM] = f"{prefix}/{there.rpartition('/')[2]}"
    return len(found)


def _pull(objects: list[Object], policy: str) -> int:
    found = [container for body in objects for container in containers(body)]
    for container in found:
        container["imagePullPolicy"] = policy
    for name in _PULL_VARIABLES:
        _variable(objects, name, policy)
    return len(found)


def _storage_class(objects: list[Object], name: str) -> int:
    found = [body for body in _of(objects, "PersistentVolumeClaim") if "volumeName" not in body["spec"]]
    for body in found:
        body["spec"]["storageClassName"] = name
    return len(found)


def _place(what: str) -> Callable[[list[Object], str], int]:
    def put(objects: list[Object], path: str) -> int:
        found = _of(objects, "PersistentVolume", f"dojo-{what}")
        for body in found:
            body["spec"]["hostPath"]["path"] = path
        return len(found)

    return put


def _quota(resource: str) -> Callable[[list[Object], str], int]:
    def put(objects: list[Object], value: str) -> int:
        groups = [group for body in _of(objects, "ClusterQueue") for group in body["spec"]["resourceGroups"]]
        found = [
            each for group in groups for flavor in group["flavors"] for each in flavor["resources"] if each["name"] == resource
        ]
        for each in found:
            each["nominalQuota"] = int(value) if value.isdecimal() else value
        return len(found)

    return put
