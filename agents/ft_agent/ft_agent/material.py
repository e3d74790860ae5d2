"""What a run has to work with: rows of all sources, the task's forms, data cards, and the own validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reading.rows import Row, layout_of, parse_source, read_jsonl

from ft_agent.cards import Card, describe_source, hold_out
from ft_agent.data import Context, Example, clean, kind, names_of, repair
from ft_agent.evidence import error_rates
from ft_agent.forms import learn_forms
from ft_agent.slices import name_slices

# One validation item for so many seconds of budget: 40 for five minutes, the most from half an hour on.
SECONDS_PER_OWN_ITEM, OWN_ITEMS = 7.5, (24, 256)


@dataclass(frozen=True)
class Material:
    """Rows, context for data recipes, cards, own validation split, and how many rows a plain cleaning leaves."""

    rows: list[Row]
    context: Context
    cards: tuple[Card, ...]
    own: list[Example]
    train_rows: int


def read_material(task: dict[str, Any], seed: int, wall_limit: float, say: Callable[[str], None]) -> Material:
    """Read sources and worked examples, learn the forms, estimate each source's errors, set the own validation split aside.

    A source that cannot be read is left out, and ``say`` is told.
    """
    few = read_jsonl(Path(task["data"]["path"]) / "few_shot.jsonl") or list(task["examples"])
    forms = learn_forms(few, str(task["answer_format"]))
    layout = layout_of(few, forms.answers)
    names = [s["name"] for s in task["subsets"]]
    raw: list[Row] = []
    for source in task["data"]["sources"]:
        try:
            raw += parse_source(Path(source["path"]), key=forms.answers.key, subsets=names, layout=layout)
        except (ValueError, OSError) as exc:
            say(f"    source {source['name']} is left out: {exc}")
    rows = name_slices(raw)
    # with a single sub-set its name labels nothing
    subsets = frozenset(n.lower() for n in names) if len(names) > 1 else frozenset()
    context = Context(forms, int(task["max_train_samples"]), seed, subsets=subsets)
    fitting = kind(repair(clean(rows, {}, context), {}, context), {}, context)
    context = replace(context, source_errors=error_rates(fitting))
    low, high = OWN_ITEMS
    own, held = hold_out(rows, context, int(min(high, max(low, wall_limit / SECONDS_PER_OWN_ITEM))))
    context = replace(context, held_out=held | names_of((e.prompt for e in own), forms.prompts))
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.source, []).append(row)
    cards = tuple(describe_source(members, context) for members in grouped.values())
    return Material(rows, context, cards, own, sum(c.usable for c in cards))
