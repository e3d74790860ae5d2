"""Rows rewritten by a backbone: questions put plainly, or solutions written out for answers that are known.

What a rewrite spoils stays as it was: a solution that does not end in the known answer is dropped, and the row keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from reading.rows import Row, bare_value

from ft_agent.data import Context, Maker, RecipeError, is_barred, row_id
from ft_agent.making.arguments import whole
from ft_agent.making.asking import MOST_SILENT, Ask, lines
from ft_agent.making.kept import Kept
from ft_agent.methods.reward import same
from ft_agent.rowchecks import Lengths, sift

NAME = "rewrite"
BATCH = 8
EXAMPLES = 3
HOW = {
    "clean": "Put the question plainly and completely: mend spelling, layout, old mark-up. What is asked and the answer stay.",
    "reason": "Write a short solution as rationale, step by step, ending in the given answer. Question and answer stay.",
}


def rewrite(ask: Ask, kept: Kept, task: str, lengths: Lengths) -> Maker:
    """Return the operation ``rewrite {rows, how}``; ``how`` is clean, reason, or an instruction in words.

    Args:
        ask: the backbone.
        kept: where batches are kept.
        task: the task in words, for the prompt.
        lengths: how long rows may be.
    """

    def operation(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
        count = whole(NAME, args, "rows", 64, 1, 10**6)
        how = str(args.get("how", "clean"))
        open_to = [r for r in rows if r.value and not is_barred(r.prompt, context) and not (how == "reason" and r.rationale)]
        if not open_to:
            raise RecipeError(f"{NAME} with how = {how!r} finds no row to rewrite; leave it out")
        chosen = Random(context.seed + 13).sample(open_to, min(count, len(open_to)))
        good = [r for r in rows if not is_barred(r.prompt, context) and (how != "reason" or r.rationale)]
        examples = lines(good[:EXAMPLES], "prompt", "answer", "rationale")
        new: dict[str, Row | None] = {}
        silent = 0
        for at in range(0, len(chosen), BATCH):
            if silent >= MOST_SILENT:
                break
            part = chosen[at : at + BATCH]
            shown = lines(part, "id", "prompt", "answer", "rationale")
            facts = {"how": HOW.get(how, how[:400]), "task": task, "examples": examples, "rows": shown}
            batch = kept.rows(NAME, [facts, how], lambda part=part, facts=facts: _batch(ask, facts, part, context))  # type: ignore[misc]
            silent = silent + 1 if batch is None else 0
            if batch is not None:
                new.update(_taken(part, batch, context, lengths, answers_stay=how == "reason"))
        if not new:
            raise RecipeError(f"{NAME}: the language model gave no answer; leave {NAME} out of the recipe")
        return [found for r in rows if (found := new.get(row_id(r), r)) is not None]

    return operation


def _batch(ask: Ask, facts: dict[str, str], part: Sequence[Row], context: Context) -> list[Row] | None:
    """The rows of a batch as they came back, those left out missing."""
    answer = ask(NAME, facts)
    if answer is None:
        return None
    said = {r.id: r for r in answer.rows}
    return [
        replace(
            row,
            prompt=r.prompt.strip() or row.prompt,
            value=bare_value(r.answer, context.forms.answers.key) or row.value,
            rationale=r.rationale.strip() or row.rationale,
        )
        for row in part
        if (r := said.get(row_id(row))) is not None
    ]


def _taken(
    part: Sequence[Row], batch: Sequence[Row], context: Context, lengths: Lengths, *, answers_stay: bool
) -> dict[str, Row | None]:
    """What becomes of each row of a batch: rewritten, as it was, or (where most came back and it did not) dropped."""
    before = {row_id(r): r for r in part}
    if answers_stay:
        batch = [r for r in batch if same(r.value, before[row_id(r)].value)]
    good = {row_id(r): r for r in sift(batch, context, lengths, before=before).good}
    back = {row_id(r) for r in batch}
    drops = not answers_stay and 2 * len(back) >= len(part)
    taken: dict[str, Row | None] = {}
    for name, row in before.items():
        found = good.get(name, row)
        taken[name] = None if drops and name not in back else found if found == row else replace(found, made=NAME)
    return taken
