"""Feedback of a dev evaluation, as small as it can be, for tests of what reads it."""

from typing import Any


def feedback(number: int, value: float) -> dict[str, Any]:
    return {
        "evaluation": number,
        "scores": {"primary": {"name": "accuracy", "value": value}, "parse_rate": 1.0, "items": 1},
        "primary": {"value": value, "low": 0.0, "high": 1.0, "n": 1},
        "subsets": {},
    }
