"""Rejection sampling: the model answers training questions whose answer is known; what it gets right it may learn from.

A right answer's own reasoning becomes the row's solution (to train on it the recipe says ``template {style: rationale}``), a
wrong answer stays with the row as what DPO sets against the right one. No backbone is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from reading.rows import AnswerForm, Row

from ft_agent.data import Context, Example, Maker, RecipeError, is_barred, row_id, to_example
from ft_agent.making.arguments import number, whole
from ft_agent.making.kept import Kept, made_source, said_by
from ft_agent.methods.reward import reward

# Two ways to the same answer teach more than one; more are mostly the same in other words.
KEPT_WAYS = 2
NAME = "self_generate"


class Generate(Protocol):
    """What is needed of `ft_agent.train.Trainer.generate`, its adapter chosen."""

    def __call__(
        self,
        examples: Sequence[Example],
        *,
        samples: int = ...,
        temperature: float = ...,
        max_new_tokens: int = ...,
        seconds: float = ...,
        seed: int = ...,
    ) -> list[list[str]]:
        """Answer each prompt ``samples`` times; nothing where the time was up first."""
        ...


@dataclass(frozen=True)
class Sampler:
    """Who answers, and within what.

    Attributes:
        generate: the model.
        model: names its weights, so that answers of another model are not taken for its own.
        max_new_tokens: the task's; what is longer could not be graded.
        seconds: for all answers together.
    """

    generate: Generate
    model: str
    max_new_tokens: int
    seconds: float


def self_generate(sampler: Callable[[], Sampler], kept: Kept) -> Maker:
    """Return the operation ``self_generate {rows, samples, temperature, only}``.

    ``rows`` questions are answered ``samples`` times each. With ``only`` nothing but rows with a right answer is left (pure
    rejection sampling), else all rows stay. It belongs after ``dedupe``: a second way to an answer is a second row.

    Args:
        sampler: asked at each use who answers now.
        kept: where answers are kept.
    """

    def operation(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
        count = whole(NAME, args, "rows", 64, 1, 10**6)
        samples = whole(NAME, args, "samples", 4, 1, 64)
        temperature = number(NAME, args, "temperature", 0.8, 0.01, 3.0)
        open_to = [r for r in rows if r.value and not is_barred(r.prompt, context)]
        if not open_to:
            raise RecipeError(f"{NAME}: no row has an answer to check by; put repair and kind before it")
        chosen = Random(context.seed + 11).sample(open_to, min(count, len(open_to)))
        who = sampler()

        made_from = [who.model, samples, temperature, who.max_new_tokens, context.seed, bool(args.get("only")), said_by(chosen)]

        def make() -> list[Row] | None:
            said = who.generate(
                [to_example(r, context.forms) for r in chosen],
                samples=samples,
                temperature=temperature,
                max_new_tokens=who.max_new_tokens,
                seconds=who.seconds,
                seed=context.seed,
            )
            return _sorted_out(chosen, said, context, only=bool(args.get("only")), source=made_source(NAME, made_from))

        made = kept.rows(NAME, made_from, make)
        if made is None:
            raise RecipeError(f"{NAME}: {who.seconds:.0f} s were over before a question was answered; take fewer rows or samples")
        if args.get("only"):
            if not made:
                raise RecipeError(
                    f"{NAME}: the model got none of {len(chosen)} questions right; leave only out, or train it first"
                )
            return made
        new = {row_id(r): r for r in made}
        return [new.pop(row_id(r), r) for r in rows] + list(new.values())

    return operation


def _sorted_out(
    rows: Sequence[Row], said: Sequence[Sequence[str]], context: Context, *, only: bool, source: str
) -> list[Row] | None:
    """Rows with what came of their answers, further ways behind them under ``source``; None where nothing was said at all."""
    if not any(said):
        return None
    firsts, further = [], []
    for row, texts in zip(rows, said, strict=True):
        found, ways = judged(row, texts, context.forms.answers)
        if ways or not only:
            firsts.append(found)
        further += [replace(found, rationale=w) for w in ways[1:]]
    return firsts + [replace(r, source=source, index=i) for i, r in enumerate(further)]


def judged(row: Row, texts: Sequence[str], form: AnswerForm) -> tuple[Row, list[str]]:
    """Return the row with the model's own solution and a wrong answer, where there are such, and the ways to the right answer."""
    worth = [(text, reward(text, row.value, form)) for text in texts if text.strip()]
    ways = list(dict.fromkeys(solution(text, form) for text, w in worth if w == 1.0))
    ways = [w for w in ways if w][:KEPT_WAYS] or ways
    # a wrong answer in the right form teaches more than one that cannot be read
    rejected, _ = max((t for t in worth if t[1] < 1.0), key=lambda t: t[1], default=("", 0.0))
    found = replace(row, rejected=rejected)
    return (replace(found, rationale=ways[0], made=NAME) if ways and ways[0] else found), ways


def solution(text: str, form: AnswerForm) -> str:
    """Return what an answer says before its final value: the reasoning, or nothing."""
    if form.kind == "boxed":
        head = text[: max(0, text.rfind("\\boxed{"))]
    elif form.kind == "json":
        head = text[: _last_object(text)].removesuffix("```json\n")
    elif form.kind == "marker":
        head = text.rsplit(form.lead, 1)[0]
    else:
        head = ""
    return head.strip().rstrip("$").strip()


def _last_object(text: str) -> int:
    """Where the last outermost JSON object begins; 0 where there is none."""
    decoder, found, at = json.JSONDecoder(), 0, text.find("{")
    while at >= 0:
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            found = at
        at = text.find("{", end)
    return found
