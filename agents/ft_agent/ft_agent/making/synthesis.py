"""New rows from a backbone: batch by batch, each for one slice and with other examples, and nothing that is there already.

A row whose solution does not end in its answer is dropped, as is one that repeats, leaks, or does not fit the task's form.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from reading.rows import Row, bare_value

from ft_agent.data import Context, Maker, RecipeError, slice_of
from ft_agent.making.arguments import whole
from ft_agent.making.asking import MOST_SILENT, Ask, lines
from ft_agent.making.kept import Kept, made_source
from ft_agent.programs import free_rows
from ft_agent.rowchecks import Lengths, sift

NAME = "synthesise"
# Rows a call: as many as fit a few thousand tokens of output with their solutions.
BATCH = 16
SHOWN, AVOIDED = 6, 24
# Batches asked for, at most, for each that would do if every row were good.
PATIENCE = 2
# Said in turn, so that batches do not come out alike.
TURNS = (
    "Like the rows below.",
    "Somewhat harder than the rows below: one step more.",
    "Easier than the rows below, each for one single skill.",
    "Other words and situations than in the rows below.",
    "Cases that are easily got wrong.",
)


def synthesise(ask: Ask, kept: Kept, task: str, lengths: Lengths) -> Maker:
    """Return the operation ``synthesise {rows, slices, like}``.

    Args:
        ask: the backbone.
        kept: where batches are kept.
        task: the task in words, for the prompt.
        lengths: how long rows may be.
    """

    def operation(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
        count = whole(NAME, args, "rows", 64, 1, context.cap)
        there = free_rows(rows, context)
        slices = _slices(there, args.get("slices"), context)
        like = str(args.get("like", ""))[:400]
        made: list[Row] = []
        silent = asked = 0
        while len(made) < count and silent < MOST_SILENT and asked < PATIENCE * -(-count // BATCH):
            part = slices[asked % len(slices)]
            wanted = f"{TURNS[asked % len(TURNS)]} Slice: {part}." + (f" {like}" if like else "")
            facts = _facts(there, made, part, wanted, min(BATCH, count - len(made) + 2), task, context.seed + asked)
            batch = kept.rows(NAME, facts, lambda facts=facts, part=part: _batch(ask, facts, part, context))  # type: ignore[misc]
            asked += 1
            if batch is None:
                silent += 1
                continue
            silent = 0
            known = [r.prompt for r in (*rows, *made)]
            made += sift(batch, context, lengths, known=known).good
        if not made:
            why = "the language model gave no answer" if silent else "none of the rows it made could be used"
            raise RecipeError(f"{NAME}: {why}; leave {NAME} out of the recipe, or describe in like what is wanted")
        return rows + made[:count]

    return operation


def _slices(rows: Sequence[Row], wanted: Any, context: Context) -> list[str]:
    """The slices to write for, the weakest first."""
    names = sorted({slice_of(r) for r in rows}, key=lambda s: (context.slice_scores.get(s, 0.5), s))
    if wanted in (None, [], "all"):
        return names
    if not isinstance(wanted, list) or not set(map(str, wanted)) <= set(names):
        raise RecipeError(f"{NAME}: slices = {wanted!r} must be a list of some of: {', '.join(names[:20])}")
    return [s for s in names if s in set(map(str, wanted))]


def _facts(rows: Sequence[Row], made: Sequence[Row], part: str, wanted: str, count: int, task: str, seed: int) -> dict[str, str]:
    rng = Random(seed)
    alike = [r for r in rows if slice_of(r) == part and r.value]
    examples = rng.sample(alike, min(SHOWN, len(alike)))
    others = [r for r in alike if r not in examples]
    avoid = [*rng.sample(others, min(AVOIDED, len(others))), *[r for r in made if slice_of(r) == part][-AVOIDED:]]
    return {
        "count": str(count),
        "wanted": wanted,
        "task": task,
        "avoid": "\n".join(f"- {r.prompt[:160]}" for r in avoid),
        "examples": lines(examples, "prompt", "answer", "rationale", "slice"),
    }


def _batch(ask: Ask, facts: dict[str, str], part: str, context: Context) -> list[Row] | None:
    answer = ask(NAME, facts)
    if answer is None:
        return None
    source, key = made_source(NAME, facts), context.forms.answers.key
    return [
        Row(r.prompt.strip(), bare_value(r.answer, key), r.rationale.strip(), part, source, i, made=NAME)
        for i, r in enumerate(answer.rows)
    ]
