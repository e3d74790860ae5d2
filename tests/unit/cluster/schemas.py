"""The API's schemas as the client package holds them: which fields an object of each kind has, and of what type."""

import re
from typing import Any

import kubernetes.client as client

# Kueue's kinds are none of the client's; their fields that we use, as its API (kueue.x-k8s.io/v1beta2) has them
_KUEUE = {
    "ResourceFlavor": {"nodeLabels", "nodeTaints", "tolerations", "topologyName"},
    "ClusterQueue": {"resourceGroups", "namespaceSelector", "queueingStrategy", "preemption", "cohortName", "flavorFungibility",
                     "stopPolicy", "admissionChecksStrategy", "fairSharing"},
    "LocalQueue": {"clusterQueue", "stopPolicy", "fairSharing"},
}  # fmt: skip
_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "datetime": str}


def faults(body: dict[str, Any]) -> list[str]:
    """Return what the API's schema does not have, or has otherwise; nothing for an object as it should be."""
    kind, group = body["kind"], body["apiVersion"]
    if group.startswith("kueue.x-k8s.io/"):
        return [f"{kind}.spec.{name}: unknown" for name in set(body.get("spec") or {}) - _KUEUE[kind]]
    version = "".join(part[0].upper() + part[1:] for part in group.split("/")[-1:])
    model = getattr(client, f"{version}{kind}", None)
    if model is None:
        return [f"{group} {kind}: the API has no such kind"]
    return _model(model, body, kind)


def _model(model: Any, value: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    known = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    found = [f"{where}.{name}: unknown" for name in value if name not in known]
    for name, inside in value.items():
        if name in known:
            found += _value(known[name], inside, f"{where}.{name}")
    try:  # what the schema requires, the client's own constructor does too
        model(**{name: value[key] for name, key in model.attribute_map.items() if key in value})
    except (ValueError, TypeError) as exc:
        found.append(f"{where}: {exc}")
    return found


def _value(kind: str, value: Any, where: str) -> list[str]:
    if inner := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [fault for number, each in enumerate(value) for fault in _value(inner[1], each, f"{where}[{number}]")]
    if inner := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", kind):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no map"]
        return [fault for name, each in value.items() for fault in _value(inner[1], each, f"{where}.{name}")]
    if kind in _PLAIN:
        right = isinstance(value, _PLAIN[kind]) and not (kind in ("int", "float") and isinstance(value, bool))  # type: ignore[arg-type]
        return [] if right else [f"{where}: {value!r} is no {kind}"]
    return _model(getattr(client, kind), value, where)
