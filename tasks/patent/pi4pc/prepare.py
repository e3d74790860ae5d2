"""Data of patent/pi4pc. ``mini``: seeded claims and paragraphs. ``full``: PANORAMA's PI4PC from the Hugging Face hub."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from harness.spec.errors import UsageError
from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.decisions import MAX_PROMPT_CHARS, PatentTask, build_full, cut, head, panorama
from ..shared.mini import Case, build_mini, draw_claim, parts_with
from ..shared.panorama import names_in, object_in, options_of

# Question type → parts of the claim, paragraphs that disclose one of them only.
KINDS = {"one part": (1, 0), "two parts": (2, 2), "three parts": (3, 4)}
_PARAGRAPHS = 5


def prompt(row: Mapping[str, Any]) -> str:
    """The whole question, the same in both profiles. The specification is not in it: the options are its paragraphs."""
    options, art = options_of(row), object_in(row, "prior_art_specification")
    limit = MAX_PROMPT_CHARS // (len(options) + 3)
    lines = [f"{key}: {cut(' '.join(str(options[key]).split()), limit)}" for key in options]
    about = [f"Prior art: {art.get('title') or ''}".rstrip()]
    about += [cut(str(art["abstract"]), limit)] if art.get("abstract") else []
    question = 'Which paragraph discloses the claim best? Reply as {"answer": ...} with its number.'
    return "\n".join([head(row, limit), *about, "Paragraphs:", *lines, question])


def answer_of(row: Mapping[str, Any]) -> str:
    """A gold paragraph's id in the asked form."""
    gold = names_in(row, "gold_answers")[0]
    return json.dumps({"answer": int(gold) if gold.isdecimal() else gold})


def draw(kind: str, split: str, rng: random.Random) -> Case:
    """Draw a claim and a document of five paragraphs, of which one discloses all parts of the claim."""
    size, partial = KINDS[kind]
    claim = draw_claim(size, split, rng)
    disclosed = [list(claim.parts)] + [[rng.choice(claim.parts)] for _ in range(partial)]
    disclosed += [[]] * (_PARAGRAPHS - len(disclosed))
    rng.shuffle(disclosed)
    ids = sorted(rng.sample(range(1, 100), _PARAGRAPHS))
    paragraphs = {number: parts_with(claim, shown, 3, rng) for number, shown in zip(ids, disclosed, strict=True)}
    texts = {str(number): ", ".join(parts) for number, parts in paragraphs.items()}
    found = {number: claim.disclosed_by(parts) for number, parts in paragraphs.items()}
    row = claim.head() | {
        "prior_art_specification": {
            "patent_id": f"US{rng.randrange(10**7, 10**8)}",
            "title": claim.device.capitalize(),
            "abstract": "",
            "specification": " ".join(f"[{number}] {text}." for number, text in texts.items()),
        },
        "options": texts,
        "gold_answers": [number for number in ids if found[number] == size],
        "silver_answers": [number for number in ids if 0 < found[number] < size],
        "negative_answers": [number for number in ids if not found[number]],
    }
    return Case(kind, claim, row)


def spoil(row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The row with another paragraph as the gold one."""
    gold = row["gold_answers"][0]
    wrong = rng.choice([int(number) for number in row["options"] if int(number) != gold])
    swapped = {field: [gold if n == wrong else n for n in row[field]] for field in ("silver_answers", "negative_answers")}
    return {**row, **swapped, "gold_answers": [wrong]}


def gold_of(row: Mapping[str, Any]) -> list[str]:
    """The gold ids, as text."""
    return list(names_in(row, "gold_answers"))


TASK = PatentTask("pi4pc", prompt, gold_of, answer_of)
ANSWERS = ("gold_answers", "silver_answers", "negative_answers")
RULE = "The one paragraph of five that discloses all parts of the claim is gold."


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    if profile in ("full", "strict"):
        return build_full(context, TASK)
    if profile == "mini":
        return build_mini(context, TASK, list(KINDS), draw, spoil, ANSWERS, RULE)
    raise UsageError(f"patent/pi4pc has no profile {profile!r}", hint="mini, full or strict")


# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (), "full": (panorama("PI4PC"),)}
