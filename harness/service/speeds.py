"""How fast graders were: read from grades that were given, so that the next one's time can be told."""

from __future__ import annotations

import json

from harness.executor.doctor_grading import Speed
from harness.spec.errors import DojoError
from harness.store.base import RunFilter, Store

# Runs that are looked at, the newest first: older ones say little of today's machine.
_LOOKED_AT = 200


def measured_speed(store: Store, base_model: str) -> Speed | None:
    """Return the tokens a second of the newest grade of ``base_model`` on a GPU; None where there is none among the last runs."""
    for info in list(reversed(store.runs(RunFilter())))[:_LOOKED_AT]:
        folder = store.files(info.id)
        try:
            result = folder.result()
            if result is None or result.grade is None or result.spec.base_model.name != base_model:
                continue
            grade = result.grade
            if grade.engine is None or grade.engine.device != "cuda" or not grade.seconds:
                continue
            items = json.loads((folder.private / f"verdict-{grade.number}.json").read_bytes())["items"]
            tokens = sum(int(item["response_tokens"]) for item in items)
        except (DojoError, OSError, ValueError, KeyError, TypeError):
            continue  # a damaged run says nothing, here as elsewhere
        if tokens:
            return Speed(tokens / grade.seconds, f"measured in {info.id}, {grade.engine.name}")
    return None
