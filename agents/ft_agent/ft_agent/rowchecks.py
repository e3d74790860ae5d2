"""Checks of rows that a program or a model has made or changed: form, length, repeats, leaks, solutions that end in the answer.

Rows that came through unchanged are not judged: what the sources hold is the data recipe's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reading.rows import Row, bare_value, is_number, normal, rationale_value

from ft_agent.data import Context, is_barred, row_id
from ft_agent.evidence import contradicts_itself
from ft_agent.methods.reward import same

# Characters a token stands for where no tokenizer is at hand: on the careful side for text.
CHARS_PER_TOKEN = 2.5


def roughly(text: str) -> int:
    """Estimate the tokens of a text."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


@dataclass(frozen=True)
class Lengths:
    """How long rows may be, in the base model's tokens.

    Attributes:
        context: prompt and answer together.
        answer: the answer alone; a longer one could never be given in the task.
        count: text → tokens.
    """

    context: int = 10**9
    answer: int = 10**9
    count: Callable[[str], int] = roughly

    @staticmethod
    def of_task(task: Mapping[str, Any]) -> Lengths:
        """Read the task's limits and the base model's tokenizer."""
        generation = task["generation"]
        count = token_counter(Path(task["base_model"]["path"]))
        return Lengths(int(generation["max_context"]), int(generation["max_new_tokens"]), count)


def token_counter(model: Path) -> Callable[[str], int]:
    """Return a counter of tokens by the model's own tokenizer; `roughly` where it has no ``tokenizer.json``."""
    if not (model / "tokenizer.json").exists():
        return roughly
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@dataclass(frozen=True)
class Bad:
    """A row that may not be trained on, and why."""

    row: Mapping[str, Any]
    problem: str


@dataclass(frozen=True)
class Sifted:
    """Rows that passed, in order, and those that did not."""

    good: list[Row]
    bad: list[Bad] = field(default_factory=list)


def sift(
    rows: Iterable[Row],
    context: Context,
    lengths: Lengths,
    *,
    before: Mapping[str, Row] | None = None,
    known: Iterable[str] = (),
) -> Sifted:
    """Part rows that may be trained on from those that may not.

    Args:
        rows: what was made, changed or left alone.
        context: the task's forms and the held-out questions.
        lengths: how long rows may be.
        before: id → the row as it was; a row that equals it passes unjudged.
        known: questions there are already; a row that asks one anew is a repeat.
    """
    asked: set[str] | None = None
    found = Sifted([])
    for row in rows:
        old = (before or {}).get(row_id(row))
        if old == row:
            found.good.append(row)
            continue
        problem = row_problem(row, old, context, lengths)
        if problem is None and (old is None or old.prompt != row.prompt):
            # worked out only where it is needed: there may be 100,000 rows
            asked = {normal(q) for q in known} if asked is None else asked
            question = normal(row.prompt)
            if question in asked and (old is None or normal(old.prompt) != question):
                problem = "its question is there already"
            asked.add(question)
        if problem is None:
            found.good.append(row)
        else:
            found.bad.append(Bad(shown(row), problem))
    return found


def row_problem(row: Row, old: Row | None, context: Context, lengths: Lengths) -> str | None:
    """Say why a made or changed row may not be trained on; None where it may."""
    forms = context.forms
    if len(row.prompt.strip()) < 4:
        return "its question is empty"
    if (old is None or old.prompt != row.prompt) and is_barred(row.prompt, context):
        return "its question is held out for validation or shown by the task, and must not be trained on"
    value = bare_value(row.value, forms.answers.key)
    if not value:
        return None if old is not None and not old.value and old.prompt == row.prompt else "its answer is empty"
    if (old is None or old.value != row.value) and not forms.fits(value, row.slice):
        wanted = sorted(forms.kinds_by_slice.get(row.slice.lower(), forms.kinds))
        return f"its answer {value[:60]!r} is none of the kinds this task answers with ({', '.join(wanted)})"
    if (old is None or old.value != row.value) and contradicts_itself(replace(row, rationale="")):
        return f"its answer {value[:60]!r} is not what its question comes to"
    if (
        row.rationale
        and (old is None or old.rationale != row.rationale)
        and not concludes(row.rationale, value, forms.answers.key)
    ):
        return f"its solution does not end in its answer {value[:60]!r}"
    answer = forms.answers.write(row.value, row.rationale if forms.answers.reasons else "")
    said = lengths.count(answer)
    if said > lengths.answer:
        return f"its answer has {said} tokens, the task allows {lengths.answer}"
    whole = said + lengths.count(forms.prompts.write(row.prompt))
    return f"it has {whole} tokens, the task allows {lengths.context}" if whole > lengths.context else None


def concludes(rationale: str, gold: str, key: str = "output") -> bool:
    """Whether a worked solution arrives at ``gold``: by naming it as the answer, or as the last thing it says."""
    said = rationale_value(rationale, key)
    if said:
        return same(said, gold)
    end = rationale.strip().rstrip(" .!$`*\"')}]")
    wanted = gold.strip().rstrip(" .!$`*\"')}]")
    if end.lower().endswith(wanted.lower()):
        return not re.search(r"[\w.]$", end[: len(end) - len(wanted)]) or not wanted[:1].isalnum()
    last = re.findall(r"[-+]?\d[\d,]*(?:\.\d+)?", end)
    return is_number(gold) and bool(last) and end.endswith(last[-1]) and same(last[-1], gold)


def shown(row: Row) -> dict[str, Any]:
    """Return a row as programs and prompts see it."""
    return {"id": row_id(row), "prompt": row.prompt, "answer": row.value, "rationale": row.rationale, "slice": row.slice}


def summary(bad: Sequence[Bad], of: int) -> list[str]:
    """Return the kinds of problems among ``of`` rows, the most frequent first, each with its number and first case."""
    kinds: dict[str, list[str]] = {}
    for one in bad:
        # what stands in quotes and digits differs from row to row
        kinds.setdefault(re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", one.problem), []).append(one.problem)
    return [f"{len(cases)} of {of} rows: {cases[0]}" for cases in sorted(kinds.values(), key=len, reverse=True)]
