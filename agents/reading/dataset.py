"""A task's sources as training pairs: read, cleaned, and written in the task's own form."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reading.rows import (
    AnswerForm,
    PromptForm,
    Row,
    is_number,
    layout_of,
    learn_answer_form,
    learn_prompt_form,
    normal,
    parse_source,
    read_jsonl,
)


@dataclass(frozen=True)
class Material:
    """What there is to train on.

    Attributes:
        rows: all rows that are fit to train on, in the order of the sources.
        read: rows in the sources, fit or not.
        form: how answers are written.
        prompts: the words around a question.
        numeric: whether every worked example's answer is a number.
        shown: the worked examples' prompts, folded; training on them would teach by heart what is shown anyway.
        cap: the most rows that the task allows.
    """

    rows: tuple[Row, ...]
    read: int
    form: AnswerForm
    prompts: PromptForm
    numeric: bool
    shown: frozenset[str]
    cap: int

    def fits(self, row: Row) -> bool:
        """Whether a row has question and answer, the latter of the examples' kind, and is none of the examples."""
        if not (row.prompt and row.value) or (self.numeric and not is_number(row.value)):
            return False
        return not {normal(row.prompt), normal(self.prompts.write(row.prompt))} & self.shown

    def drawn(self, seed: int, shares: Mapping[str, float] | None = None) -> list[Row]:
        """Shuffle the rows and take as many as the task allows; of each source only its share, where one is given."""
        rng = random.Random(seed)
        rows = list(self.rows)
        if shares is not None:
            by_source: dict[str, list[Row]] = {}
            for row in rows:
                by_source.setdefault(row.source, []).append(row)
            rows = [r for name, own in by_source.items() for r in rng.sample(own, round(shares.get(name, 1.0) * len(own)))]
        rng.shuffle(rows)
        return rows[: self.cap]

    def pairs(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """Write rows as prompts and answers, as the worked examples have them."""
        return [(self.prompts.write(r.prompt), self.form.write(r.value)) for r in rows]


def read_material(task: Mapping[str, Any]) -> Material:
    """Read and clean every source of a task.

    Args:
        task: the answer of ``GET /v1/task``.
    """
    few = read_jsonl(Path(task["data"]["path"]) / "few_shot.jsonl") or list(task["examples"])
    form = learn_answer_form(few, task["answer_format"])
    golds = [str(e["gold"]) for e in few if "gold" in e]
    layout, names = layout_of(few, form), [s["name"] for s in task["subsets"]]
    paths = [Path(source["path"]) for source in task["data"]["sources"]]
    rows = [row for path in paths for row in parse_source(path, key=form.key, subsets=names, layout=layout)]
    material = Material(
        rows=(),
        read=len(rows),
        form=form,
        prompts=learn_prompt_form(few),
        numeric=bool(golds) and all(is_number(g) for g in golds),
        shown=frozenset(normal(str(e["prompt"])) for e in few),
        cap=int(task["max_train_samples"]),
    )
    return replace(material, rows=tuple(agreed([row for row in rows if material.fits(row)])))


def agreed(rows: Sequence[Row]) -> list[Row]:
    """Keep each question once, with the answer that most of its rows give; none where two answers are equally frequent."""
    votes: dict[str, Counter[str]] = {}
    for r in rows:
        votes.setdefault(normal(r.prompt), Counter())[r.value] += 1
    kept: dict[str, Row] = {}
    for r in rows:
        ranked = votes[normal(r.prompt)].most_common(2)
        if r.value == ranked[0][0] and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
            kept.setdefault(normal(r.prompt), r)
    return list(kept.values())
