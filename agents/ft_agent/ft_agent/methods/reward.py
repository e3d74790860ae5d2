"""What an answer of the model's own is worth, read as the task reads answers."""

from __future__ import annotations

import json
from typing import Any

from reading.rows import AnswerForm, bare_value, is_number, normal

# For a wrong answer in the right form: enough to tell it from one that cannot be read, never worth more than being right.
READABLE = 0.1


def reward(said: str, gold: str, form: AnswerForm) -> float:
    """Return 1 for the gold answer, `READABLE` for another one in the task's form, 0 for what cannot be read.

    Args:
        said: what the model wrote.
        gold: the bare right answer.
        form: how the task's answers are written.
    """
    value = form.read(said)
    if value is None or (form.kind == "marker" and form.lead not in said):
        return 0.0
    text = bare_value(_text(value), form.key)
    if not text:
        return 0.0
    return 1.0 if same(text, gold) else READABLE


def same(one: str, other: str) -> bool:
    """Whether two bare answers say the same: as numbers, as JSON, or as words."""
    a, b = one.replace(",", ""), other.replace(",", "")
    if is_number(a) and is_number(b):
        return abs(float(a) - float(b)) <= 1e-9 * max(1.0, abs(float(b)))
    if one[:1] in "[{" and other[:1] in "[{":
        try:
            return bool(json.loads(one) == json.loads(other))
        except ValueError:
            return normal(one) == normal(other)
    return normal(one) == normal(other)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
