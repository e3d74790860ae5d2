"""What a run's model answered to the hidden items, and where two runs differ item by item. The grader's side only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.spec.errors import MissingError, StoreError, UsageError
from harness.spec.measured import Measured, measured
from harness.spec.toml import describe
from harness.store.base import Store
from harness.store.run_dir import RunDir

# Scores that are closer than this are equal (rounding only).
_TIE = 1e-9


class Answer(Spec):
    """One hidden item with what the model said and what it is worth."""

    id: str
    subset: str
    prompt: Any = Field(description="the whole user message")
    gold: Any
    response: str
    parsed: bool = Field(description="whether an answer in the asked form was found")
    score: float
    metrics: dict[str, float] = Field(default_factory=dict)
    value: Any = Field(None, description="the answer as it was read from the response")
    failure: str = Field("", description="where and how the task's grader broke on this answer, which counts as none")


class AnswerFilter(Spec):
    """Which answers are meant."""

    wrong: bool = Field(False, description="only items without full marks")
    unparsed: bool = Field(False, description="only answers that are not in the asked form")
    subset: str | None = Field(None, description="glob over sub-sets and slices (names of an item's own metrics)")

    def keeps(self, answer: Answer) -> bool:
        """Whether the answer is meant."""
        if (self.wrong and answer.score >= 1 - _TIE) or (self.unparsed and answer.parsed):
            return False
        return self.subset is None or any(fnmatchcase(name, self.subset) for name in (answer.subset, *answer.metrics))


class Answers(Measured):
    """Answers of one run, by its newest grade."""

    run: str
    agent: str
    task: str
    limit: int | None = Field(None, description="a quick look at so many items")
    grade: int
    total: int = Field(description="items that were scored")
    matching: int = Field(description="items that match the filter")
    items: tuple[Answer, ...] = Field(description="those asked for")


class ItemDifference(Spec):
    """One item on which two runs differ."""

    id: str
    subset: str
    score_a: float
    score_b: float
    prompt: Any
    gold: Any
    response_a: str
    response_b: str


class AnswersDifference(Measured):
    """Run ``a`` against run ``b``, item by item. Two runs are two models: nothing here is about the agents."""

    a: str
    b: str
    agent_a: str
    agent_b: str
    task: str
    win: int = Field(description="items on which a scores more")
    tie: int
    loss: int
    by_subset: dict[str, dict[Literal["win", "tie", "loss"], int]]
    items: tuple[ItemDifference, ...] = Field(description="wins first, then losses; those asked for")


class Items(Bench):
    """Looking at what was answered."""

    def items(self, run: str, where: AnswerFilter | None = None, limit: int | None = None) -> Answers:
        """Return a run's answers to the hidden items, in the order of the split.

        Raises:
            UsageError: the run has no grade.
            MissingError: its answers were not kept, or may not be read.
        """
        return read_items(self.store, self.store.resolve(run, "run"), where or AnswerFilter(), limit)

    def items_difference(self, a: str, b: str, where: AnswerFilter | None = None, limit: int | None = None) -> AnswersDifference:
        """Compare two runs on one task item by item; ``where`` chooses by what ``a`` answered.

        Raises:
            UsageError: the runs were scored on different items.
            MissingError: as in `items`.
        """
        a, b = (self.store.resolve(run, "run") for run in (a, b))
        return difference(self.store, a, b, where or AnswerFilter(), limit)


def read_items(store: Store, run: str, where: AnswerFilter, limit: int | None) -> Answers:
    """See `Items.items`."""
    grade, answers = _newest(run, store.files(run))
    matching = [answer for answer in answers if where.keeps(answer)]
    spec = store.files(run).spec()
    return Answers(
        **measured(spec, store.run(run).metric).model_dump(),
        run=run,
        agent=spec.shown,
        task=spec.task.id,
        limit=spec.limit,
        grade=grade,
        total=len(answers),
        matching=len(matching),
        items=tuple(matching[:limit]),
    )


def difference(store: Store, a: str, b: str, where: AnswerFilter, limit: int | None) -> AnswersDifference:
    """See `Items.items_difference`."""
    first, second = read_items(store, a, where, None), read_items(store, b, AnswerFilter(), None)
    drawn_with = [store.files(run).spec().task.hidden for run in (a, b)]
    if first.task == second.task and drawn_with[0] != drawn_with[1]:
        raise UsageError(
            f"runs {a} and {b} were scored on different hidden splits: drawn with {drawn_with[0]} and with {drawn_with[1]}",
            hint="items that are called the same are not the same there",
        )
    others = {answer.id: answer for answer in second.items}
    missing = next((answer.id for answer in first.items if answer.id not in others), None)
    if first.task != second.task or missing is not None or first.total != second.total:
        raise UsageError(
            f"runs {a} ({first.task}, {first.total} items) and {b} ({second.task}, {second.total} items) "
            "were scored on different items",
            hint="compare two runs on one task with one version of its data",
        )
    wins, losses = [], []
    by_subset: dict[str, dict[Literal["win", "tie", "loss"], int]] = {}
    for answer in first.items:
        other = others[answer.id]
        found = by_subset.setdefault(answer.subset, {"win": 0, "tie": 0, "loss": 0})
        if abs(answer.score - other.score) <= _TIE:
            found["tie"] += 1
        elif answer.score > other.score:
            found["win"] += 1
            wins.append(_differing(answer, other))
        else:
            found["loss"] += 1
            losses.append(_differing(answer, other))
    facts = {name: getattr(first, name) for name in Measured.model_fields}
    return AnswersDifference(
        **facts,
        a=a,
        b=b,
        agent_a=first.agent,
        agent_b=second.agent,
        task=first.task,
        win=len(wins),
        tie=sum(found["tie"] for found in by_subset.values()),
        loss=len(losses),
        by_subset=by_subset,
        items=tuple([*wins, *losses][:limit]),
    )


def _differing(answer: Answer, other: Answer) -> ItemDifference:
    return ItemDifference(
        id=answer.id,
        subset=answer.subset,
        score_a=answer.score,
        score_b=other.score,
        prompt=answer.prompt,
        gold=answer.gold,
        response_a=answer.response,
        response_b=other.response,
    )


def _newest(run: str, files: RunDir) -> tuple[int, list[Answer]]:
    """Read the answers of the newest grade that kept them."""
    result = files.result()
    if result is None or result.grade is None:
        raise UsageError(f"run {run} has no grade, so no answers", hint=f"`dojo status {run}` shows why")
    number = result.grade.number
    path = files.answers_path(number)
    try:
        return number, list(_read(path))
    except FileNotFoundError as exc:
        raise MissingError(
            f"run {run}: the answers of grade {number} were not kept",
            hint=f"`dojo grade {run} --again` scores it anew and keeps them",
        ) from exc
    except PermissionError as exc:
        raise MissingError(f"{path} may not be read", hint="ask its owner: hidden items are for the grader's side only") from exc


def _read(path: Path) -> Iterator[Answer]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Answer.model_validate(json.loads(line))
            except ValidationError as exc:
                raise _damaged(path, number, describe(exc)) from exc
            except ValueError as exc:
                raise _damaged(path, number, str(exc)) from exc


def _damaged(path: Path, number: int, why: str) -> StoreError:
    return StoreError(
        f"{path} is damaged in line {number}: {why}",
        hint="bring it back from a backup, or score the run anew with `dojo grade RUN --again`",
        code="damaged",
    )
