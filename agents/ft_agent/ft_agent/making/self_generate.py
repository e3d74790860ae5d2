"""Rejection sampling: the model answers training questions whose answer is known; what it gets right it may learn from.

A right answer's own reasoning becomes the row's solution (to train on it the recipe says ``template {style: rationale}``), a
wrong answer stays with the row as what DPO sets against the right one. No backbone is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Literal, Protocol

from reading.pace import Stint
from reading.rows import AnswerForm, Row, rationale_value

from ft_agent.data import Context, Example, Maker, RecipeError, is_barred, row_id, to_example
from ft_agent.making.arguments import number, whole
from ft_agent.making.kept import Kept, made_source, said_by
from ft_agent.methods.reward import reward, same
from ft_agent.rowchecks import Lengths
from ft_agent.train import TrainingFailed

# Two ways to the same answer teach more than one; more are mostly the same in other words.
KEPT_WAYS = 2
NAME = "self_generate"
KEEP = ("all", "right", "wrong")


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
        clock: Literal["wall", "cpu"] = ...,
        wall_at_most: float | None = ...,
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
        stint: the time for all answers together.
    """

    generate: Generate
    model: str
    max_new_tokens: int
    stint: Stint


def self_generate(sampler: Callable[[], Sampler], kept: Kept, lengths: Lengths) -> Maker:
    """Return the operation ``self_generate {rows, samples, temperature, keep}``.

    ``rows`` questions are answered ``samples`` times each. ``keep`` all (the default) leaves all rows; right leaves nothing but
    those with a right answer (pure rejection sampling); wrong drops those that were answered right every time, for there is
    nothing left to learn from them. It belongs after ``dedupe``: a second way to an answer is a second row.

    Args:
        sampler: asked at each use who answers now.
        kept: where answers are kept.
        lengths: counts tokens; a solution that is too long to be given is none.
    """

    def operation(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
        count = whole(NAME, args, "rows", 64, 1, 10**6)
        samples = whole(NAME, args, "samples", 4, 1, 64)
        temperature = number(NAME, args, "temperature", 0.8, 0.01, 3.0)
        keep = str(args.get("keep", "all"))
        if keep not in KEEP:
            raise RecipeError(f"{NAME}: keep = {keep!r} is unknown; there are {', '.join(KEEP)}")
        open_to = [r for r in rows if r.value and not is_barred(r.prompt, context)]
        if not open_to:
            raise RecipeError(f"{NAME}: no row has an answer to check by; put repair and kind before it")
        chosen = Random(context.seed + 11).sample(open_to, min(count, len(open_to)))
        who = sampler()

        made_from = [who.model, samples, temperature, who.max_new_tokens, context.seed, keep, said_by(chosen)]

        def make() -> list[Row] | None:
            said = _said(who, [to_example(r, context.forms) for r in chosen], samples, temperature, context.seed)
            if not any(said):
                return None
            source = made_source(NAME, made_from)
            return _sorted_out(chosen, said, context.forms.answers, keep, source, partial(_fits, who, lengths, context))

        made = kept.rows(NAME, made_from, make)
        if made is None:
            raise RecipeError(
                f"{NAME}: {who.stint['seconds']:.0f} s were over before a question was answered; take fewer rows or samples"
            )
        if keep == "right":
            if not made:
                raise RecipeError(f"{NAME}: the model got none of {len(chosen)} questions right; keep all, or train it first")
            return made
        new = {row_id(r): r for r in made}
        gone = {row_id(r) for r in chosen} - set(new)
        return [new.pop(row_id(r), r) for r in rows if row_id(r) not in gone] + list(new.values())

    return operation


def _said(who: Sampler, examples: Sequence[Example], samples: int, temperature: float, seed: int) -> list[list[str]]:
    try:
        return who.generate(
            examples, samples=samples, temperature=temperature, max_new_tokens=who.max_new_tokens, seed=seed, **who.stint
        )
    except TrainingFailed as exc:
        raise RecipeError(f"{NAME}: {exc}; leave {NAME} out of the recipe") from exc


def _fits(who: Sampler, lengths: Lengths, context: Context, value: str, way: str) -> bool:
    return lengths.count(context.forms.answers.write(value, way)) <= who.max_new_tokens


def _sorted_out(
    rows: Sequence[Row],
    said: Sequence[Sequence[str]],
    form: AnswerForm,
    keep: str,
    source: str,
    fits: Callable[[str, str], bool],
) -> list[Row]:
    """Rows with what came of their answers, further ways to the right ones behind them under ``source``."""
    firsts, further = [], []
    for row, texts in zip(rows, said, strict=True):
        found = judged(row, texts, form)
        ways = [w for w in found.ways if fits(row.value, w)][:KEPT_WAYS]
        known = bool(texts) and found.right == len(texts)
        if (keep == "right" and not found.right) or (keep == "wrong" and known):
            continue
        first = replace(row, rejected=found.rejected)
        firsts.append(replace(first, rationale=ways[0], made=NAME) if ways else first)
        further += [replace(first, rationale=w, made=NAME) for w in ways[1:]]
    return firsts + [replace(r, source=source, index=i) for i, r in enumerate(further)]


@dataclass(frozen=True)
class Judged:
    """What a question's answers are worth: how many are right, the reasoning of those, and a wrong one."""

    right: int
    ways: tuple[str, ...]
    rejected: str


def judged(row: Row, texts: Sequence[str], form: AnswerForm) -> Judged:
    """Judge the answers to a row's question.

    An answer is right as the task reads it. One that says the right answer in plain words, though not in the task's form, is
    wrong as an answer, but its reasoning is as good.
    """
    worth = [(text, reward(text, row.value, form)) for text in texts]
    ways = [
        solution(text, form) if w == 1.0 else text.strip() for text, w in worth if w == 1.0 or _arrives(text, row.value, form)
    ]
    # a wrong answer in the right form teaches more than one that cannot be read
    rejected, _ = max((t for t in worth if t[1] < 1.0 and t[0].strip()), key=lambda t: t[1], default=("", 0.0))
    return Judged(sum(w == 1.0 for _, w in worth), tuple(dict.fromkeys(w for w in ways if w)), rejected)


def _arrives(text: str, gold: str, form: AnswerForm) -> bool:
    return same(rationale_value(text, form.key), gold)


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
