"""Data of patent/par4pc. ``mini``: seeded claims and documents. ``full``: PANORAMA's PAR4PC from the Hugging Face hub."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.decisions import MAX_PROMPT_CHARS, PatentTask, build_full, document, head, panorama
from ..shared.mini import Case, build_mini, draw_claim, parts_with
from ..shared.panorama import names_in, options_of

LETTERS = "ABCDEFGH"
# Question type → parts of the claim, documents that disclose all of them, documents that disclose some.
KINDS = {"one part": (1, 1, 0), "two parts": (2, 1, 2), "two documents": (2, 2, 1)}


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in both profiles."""
    options = options_of(row)
    limit = MAX_PROMPT_CHARS // (len(options) + 2)
    lines = [f"{letter}: {document(options[letter], limit)}" for letter in sorted(options)]
    return "\n".join(
        [
            head(row, limit),
            "Documents:",
            *lines,
            'Which documents are cited against the claim? Reply as {"answer": ...} with a letter or a list of letters.',
        ]
    )


def answer_of(row: Mapping[str, Any]) -> str:
    """The gold letters in the asked form."""
    gold = sorted(names_in(row, "gold_answers"))
    return json.dumps({"answer": gold[0] if len(gold) == 1 else gold})


def draw(kind: str, split: str, rng: random.Random) -> Case:
    """Draw a claim with eight documents: gold ones disclose all of its parts, silver ones some, negative ones none."""
    size, full, partial = KINDS[kind]
    claim = draw_claim(size, split, rng)
    disclosed = [list(claim.parts)] * full + [[rng.choice(claim.parts)] for _ in range(partial)]
    disclosed += [[]] * (len(LETTERS) - len(disclosed))
    rng.shuffle(disclosed)
    options, found = {}, {}
    for letter, shown in zip(LETTERS, disclosed, strict=True):
        parts = parts_with(claim, shown, 3, rng)
        options[letter] = {
            "patent_id": f"US{rng.randrange(10**7, 10**8)}",
            "title": claim.device.capitalize(),
            "abstract": ", ".join(parts),
            "claims": [],
        }
        found[letter] = claim.disclosed_by(parts)
    row = claim.head() | {
        "options": options,
        "gold_answers": [letter for letter in LETTERS if found[letter] == size],
        "silver_answers": [letter for letter in LETTERS if 0 < found[letter] < size],
        "negative_answers": [letter for letter in LETTERS if not found[letter]],
    }
    return Case(kind, claim, row)


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The row with a negative document as the gold one."""
    wrong = rng.choice(row["negative_answers"])
    return {**row, "gold_answers": [wrong], "negative_answers": [n for n in row["negative_answers"] if n != wrong]}


def gold_of(row: Mapping[str, Any]) -> list[str]:
    """The gold letters."""
    return list(names_in(row, "gold_answers"))


TASK = PatentTask("par4pc", prompt, gold_of, answer_of)
ANSWERS = ("gold_answers", "silver_answers", "negative_answers")
RULE = "A document that discloses all parts of the claim is gold, some silver, none negative."


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_full(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, list(KINDS), draw, spoil, ANSWERS, RULE)
    raise UsageError(f"patent/par4pc has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (panorama("PAR4PC"),)}
