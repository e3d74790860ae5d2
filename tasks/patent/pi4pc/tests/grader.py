"""Scores answers to patent/pi4pc: the paragraph's id under ``answer`` against the paragraphs that the examiner relied on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_json_value
from harness.taskkit.scoring.kinds import whole_number

from ...shared.panorama import name_of, names_in, options_of

SUBSET_METRICS = {"pi4pc": "gold_hit_rate"}

_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
# Larger numbers are no id, and slow to write out.
_MAX_NUMBER = 10**39


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has a prior-art document, paragraphs and gold ids."""
    row["prior_art_specification"]
    options_of(row)
    row["gold_answers"]
    return str(row.get("subset", "pi4pc"))


def extract(response: str) -> str | None:
    """The paragraph's id, a number or a text in one way of writing, or ``None``: then the answer is unparsable."""
    return after_thinking(response, lambda text: last_json_value(text, ["answer"], _paragraph))


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the id is a gold paragraph's; also whether it is a silver one's, and any of the options' at all.

    Raises:
        ValueError: the row has no gold paragraph.
    """
    gold = names_in(row, "gold_answers")
    if not gold:
        raise ValueError("the row has no gold paragraph")
    chosen = extract(response)
    options = {name_of(key) for key in options_of(row)}
    return {
        "parsed": chosen is not None,
        "value": chosen,
        "score": float(chosen in gold),
        "metrics": {
            "silver_hit_rate": float(chosen in names_in(row, "silver_answers")),
            "known_id_rate": float(chosen in options),
        },
    }


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold id that occurs."""
    golds = [name for item in items for name in names_in(item["row"], "gold_answers")]
    return list(dict.fromkeys(json.dumps({"answer": name}) for name in golds))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _paragraph(value: Any) -> str | None:
    """A number or a text that can be an id; a list, a truth value, or prose is none."""
    number = whole_number(value, _MAX_NUMBER)
    name = str(number) if number is not None else name_of(value) if isinstance(value, str) else ""
    return name if _ID.fullmatch(name) else None
