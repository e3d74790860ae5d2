"""Data of patent/noc4pc. ``mini``: seeded claims and documents. ``full``: PANORAMA's NOC4PC from the Hugging Face hub."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.decisions import MAX_PROMPT_CHARS, PatentTask, build_full, document, head, panorama
from ..shared.mini import Case, Claim, build_mini, draw_claim, parts_with
from ..shared.panorama import object_in, objects_in

CODES = ("ALLOW", "102", "103")
# Question type → parts of the claim, documents.
KINDS = {"one part": (1, 1), "two parts": (2, 2), "three parts": (3, 2)}


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in both profiles."""
    arts = objects_in(row, "prior_art_specifications")
    limit = MAX_PROMPT_CHARS // (len(arts) + 2)
    lines = [f"D{number}: {document(art, limit)}" for number, art in enumerate(arts, 1)]
    question = (
        "Is the claim allowed (ALLOW), anticipated by one document (102) or obvious from several (103)? "
        'Reply as {"code": ...} with one of the three.'
    )
    return "\n".join([head(row, limit), "Documents:", *lines, question])


def gold_of(row: Mapping[str, Any]) -> str:
    """The decision; empty where the row has none."""
    code = object_in(row, "answer").get("code") if row.get("answer") else None
    return str(code) if code is not None else ""


def answer_of(row: Mapping[str, Any]) -> str:
    """The decision in the asked form."""
    return json.dumps({"code": gold_of(row)})


def draw(kind: str, split: str, rng: random.Random) -> Case:
    """Draw a claim with documents; the three decisions are drawn alike often, as far as the kind has them."""
    size, count = KINDS[kind]
    claim = draw_claim(size, split, rng)
    wanted = rng.choice([code for code in CODES if size > 1 or code != "103"])
    while True:
        parts = [parts_with(claim, rng.sample(claim.parts, rng.randint(0, size)), 3, rng) for _ in range(count)]
        code, reason = decide(claim, parts)
        if code == wanted:
            break
    arts = [
        {
            "patent_id": f"US{rng.randrange(10**7, 10**8)}",
            "title": claim.device.capitalize(),
            "abstract": "",
            "claims": [],
            "paragraphs": [{"key": number, "content": ", ".join(shown)}],
        }
        for number, shown in enumerate(parts, 1)
    ]
    about = claim.head()
    row = about | {
        "context": json.dumps(about["context"]),
        "prior_art_specifications": json.dumps(arts),
        "answer": json.dumps({"code": code, "reason": reason}),
    }
    return Case(kind, claim, row)


def decide(claim: Claim, documents: list[list[str]]) -> tuple[str, str]:
    """The decision and its reason: 102 if one document has all parts, 103 if only all together have, else ALLOW."""
    for number, parts in enumerate(documents, 1):
        if claim.disclosed_by(parts) == len(claim.parts):
            return "102", f"D{number} has all parts."
    if claim.disclosed_by([part for parts in documents for part in parts]) == len(claim.parts):
        return "103", "The documents together have all parts."
    missing = next(part for part in claim.parts if not any(part in parts for parts in documents))
    return "ALLOW", f"No document has a {missing}."


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The row with another decision and no reason."""
    wrong = rng.choice([code for code in CODES if code != gold_of(row)])
    return {**row, "answer": json.dumps({"code": wrong, "reason": ""})}


TASK = PatentTask("noc4pc", prompt, gold_of, answer_of)
RULE = "102: one document has all parts of the claim; 103: only the documents together; ALLOW: a part is in none."


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_full(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, list(KINDS), draw, spoil, ("answer",), RULE)
    raise UsageError(f"patent/noc4pc has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (panorama("NOC4PC"),)}
