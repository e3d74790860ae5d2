"""Rendering the kustomizations in `k8s/`: the part of kustomize that they use, so that an operator needs no program for it.

`kubectl kustomize` gives the same objects, which a test compares. What is not understood is refused, never left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.spec.errors import NotFoundError, SpecError

Object = dict[str, Any]
_FILE = "kustomization.yaml"
_KEYS = frozenset({"apiVersion", "kind", "resources", "images", "patches"})


def render(folder: Path) -> list[Object]:
    """Return the objects of a kustomization, each a plain object of the API.

    Raises:
        NotFoundError: there is none in that folder.
        SpecError: it, or a file that it names, is not understood; says which and where.
    """
    path = folder / _FILE
    if not path.is_file():
        raise NotFoundError(f"there is no {path}", hint="name a folder that holds a kustomization.yaml")
    found = _documents(path)
    if len(found) != 1 or not isinstance(found[0], dict):
        raise SpecError(f"{path}: this is not one kustomization", hint="see k8s/base/kustomization.yaml")
    said = found[0]
    if unknown := sorted(set(said) - _KEYS):
        raise SpecError(f"{path}: {', '.join(unknown)} is not understood here", hint=f"known: {', '.join(sorted(_KEYS))}")
    objects: list[Object] = []
    for name in said.get("resources") or ():
        place = folder / name
        objects += render(place) if place.is_dir() else _objects(place)
    for image in said.get("images") or ():
        rename(objects, image["name"], image.get("newName", image["name"]), image.get("newTag"))
    for patch in said.get("patches") or ():
        _patch(path, objects, patch)
    named = [identity(each) for each in objects]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise SpecError(f"{path}: {twice[0]} is there twice", hint="an object stands in one file")
    return objects


def identity(body: Object) -> tuple[str, str, str]:
    """Return kind, namespace ("" where it has none) and name of an object."""
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]


def containers(body: Object) -> list[Object]:
    """Return the containers of a workload, the ones that come first too; none for other objects."""
    pod = (((body.get("spec") or {}).get("template") or {}).get("spec")) or {}
    return [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]


def rename(objects: list[Object], name: str, new_name: str, new_tag: str | None) -> None:
    """Give the image called ``name`` another name, and another tag where one is said, in all containers."""
    for container in (each for body in objects for each in containers(body)):
        image, _, tag = container["image"].partition(":")
        if image == name:
            container["image"] = f"{new_name}:{new_tag or tag}"


def _documents(path: Path) -> list[Any]:
    import yaml

    try:
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SpecError(f"{path} is named and not there", hint="correct the list `resources`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SpecError(f"{path}: {str(exc)[:300]}", hint="it has to be YAML") from exc


def _objects(path: Path) -> list[Object]:
    # through JSON, so that what YAML's anchors share is not changed in two places by one patch
    found = json.loads(json.dumps([each for each in _documents(path) if each is not None]))
    for each in found:
        if not isinstance(each, dict) or not {"apiVersion", "kind", "metadata"} <= set(each) or "name" not in each["metadata"]:
            raise SpecError(f"{path}: something in it is no object of Kubernetes", hint="apiVersion, kind, metadata.name")
    return list(found)


def _patch(path: Path, objects: list[Object], patch: Object) -> None:
    """Carry out a JSON patch (RFC 6902: add, replace, remove) on the objects that its target names."""
    import yaml

    target = patch.get("target") or {}
    if not target or set(target) - {"kind", "name"} or set(patch) != {"target", "patch"}:
        raise SpecError(f"{path}: a patch has a target (kind, name) and operations", hint="see k8s/kind/kustomization.yaml")
    meant = [each for each in objects if all(target[key] == {"kind": each["kind"], **each["metadata"]}[key] for key in target)]
    if not meant:
        raise SpecError(f"{path}: a patch is for {target}, which is not there", hint="correct its target")
    for body in meant:
        for step in yaml.safe_load(patch["patch"]):
            _step(path, body, step)


def _step(path: Path, body: Object, step: Object) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].lstrip("/").split("/")]
    try:
        inside: Any = body
        for part in way:
            inside = inside[int(part)] if isinstance(inside, list) else inside[part]
        key: Any = int(last) if isinstance(inside, list) and last != "-" else last
        if step["op"] == "add" and isinstance(inside, list):
            inside.insert(len(inside) if key == "-" else key, step["value"])
        elif step["op"] == "add":
            inside[key] = step["value"]
        elif step["op"] == "replace":
            inside[key]  # what is replaced has to be there
            inside[key] = step["value"]
        elif step["op"] == "remove":
            del inside[key]
        else:
            raise ValueError(f"unknown operation {step['op']}")
    except (KeyError, IndexError, ValueError, TypeError) as exc:
        raise SpecError(f"{path}: cannot {step.get('op')} {step.get('path')}: {exc}", hint="correct the patch") from exc
