"""Google's own dialect of schemas (an old OpenAPI: upper-case types, ``nullable``, numbers as text) as JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NUMBERS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_LISTS = frozenset({"anyOf", "prefixItems"})
_LEFT = frozenset({"nullable", "propertyOrdering"})


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as a JSON schema."""
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _LEFT:
            continue
        if name == "type" and isinstance(value, str):
            out[name] = value.lower()
        elif name == "example":
            out["examples"] = [value]
        elif name in _NUMBERS and isinstance(value, str) and value.isdecimal():
            out[name] = int(value)
        elif name == "properties" and isinstance(value, Mapping):
            out[name] = {key: json_schema(each) if isinstance(each, Mapping) else each for key, each in value.items()}
        elif name == "items" and isinstance(value, Mapping):
            out[name] = json_schema(value)
        elif name in _LISTS and isinstance(value, list):
            out[name] = [json_schema(each) if isinstance(each, Mapping) else each for each in value]
        else:
            out[name] = value
    if out.get("type") == "type_unspecified":
        del out["type"]
    if schema.get("nullable") is True:
        return _nullable(out)
    return out


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        enum = {"enum": [*schema["enum"], None]} if isinstance(schema.get("enum"), list) else {}
        return schema | {"type": [schema["type"], "null"]} | enum
    return {"anyOf": [schema, {"type": "null"}]}
