"""Checks of freshly built task data: nothing shared between splits, no answer given away, sources freed of overlaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.spec.errors import SpecError
from harness.taskkit.building.data import Item, Source, SourceRow, TaskData
from harness.taskkit.building.overlap import OverlapIndex, normalised

# Fewer golds than this may be in order by chance.
_MIN_FOR_ORDER = 20


@dataclass(frozen=True)
class Removal:
    """What decontamination took out of a source: how many rows for which reason."""

    source: str
    before: int
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def removed(self) -> int:
        """Rows taken out."""
        return self.reasons.total()


def check_items(data: TaskData, subsets: Sequence[str]) -> list[str]:
    """Check the three splits; return what dev and hidden share where the benchmark's own rule made them.

    Raises:
        SpecError: an id occurs twice, a sub-set is unknown, two splits share a question or a key, an id or the order of the items
            gives answers away, an item has nothing to compare by, or a worked example has no answer.
    """
    splits = {"dev": data.dev, "hidden": data.hidden, "few_shot": data.few_shot}
    problems: list[str] = []
    ids = Counter(item.id for items in splits.values() for item in items)
    problems += [f"id {name!r} occurs {count} times" for name, count in ids.items() if count > 1]
    for name, items in splits.items():
        if not items:
            problems.append(f"split {name} is empty")
        problems += [f"{name}: {item.id} is of unknown sub-set {item.subset!r}" for item in items if item.subset not in subsets]
        problems += [f"{name}: {item.id} has neither text nor keys" for item in items if not item.text and not item.keys]
        problems += leaks(name, items)
    problems += [f"few_shot: {item.id} has no answer" for item in data.few_shot if not item.answer]
    own = shared({"dev": data.dev, "hidden": data.hidden})
    problems += [] if data.fixed_split else own
    problems += shared({"few_shot": data.few_shot, "dev and hidden": [*data.dev, *data.hidden]}, within=False)
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise SpecError("the task's data is not fit: " + "; ".join(problems[:5]) + more, hint="mend the task's prepare.py")
    return own


def shared(splits: Mapping[str, Sequence[Item]], *, within: bool = True) -> list[str]:
    """Name what two splits share: a key, or a question (its prompt, or its text normalised); the latter also ``within`` one."""
    problems: list[str] = []
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for name, items in splits.items():
        for item in items:
            marks = [("key", key) for key in item.keys] + [("prompt", item.prompt)]
            marks += [("text", normalised(item.text))] if item.text else []
            for mark in marks:
                other, other_id = seen.setdefault(mark, (name, item.id))
                if other != name or (within and other_id != item.id and mark[0] != "key"):
                    problems.append(f"{item.id} in {name} has the same {mark[0]} as {other_id} in {other}")
    return problems


def leaks(name: str, items: Sequence[Item]) -> list[str]:
    """Name what gives answers away: golds in ids, golds in order."""
    problems = []
    for item in items:
        gold = normalised(str(item.gold))
        if len(gold) > 3 and gold in normalised(item.id.replace("-", " ").replace("_", " ")):
            problems.append(f"{name}: the id {item.id!r} holds the answer")
    for subset in sorted({item.subset for item in items}):
        golds = [item.gold for item in items if item.subset == subset]
        plain = all(isinstance(g, int | float) for g in golds) or all(isinstance(g, str) for g in golds)
        if plain and len(golds) >= _MIN_FOR_ORDER and len(set(golds)) > 1:
            rising, falling = all(a <= b for a, b in pairwise(golds)), all(a >= b for a, b in pairwise(golds))
            if rising or falling:
                problems.append(f"{name}: the items of {subset} stand in the order of their answers")
    return problems


def decontaminate(data: TaskData) -> tuple[list[Source], list[Removal]]:
    """Take out of every source what repeats a question, or shares a key, of dev or hidden."""
    protected = [*data.dev, *data.hidden]
    index = OverlapIndex(item.text for item in protected if item.text)
    keys = {key for item in protected for key in item.keys}
    sources, removals = [], []
    for source in data.sources:
        removal = Removal(source.name, len(source.rows))
        kept = []
        for row in source.rows:
            reason = _overlap(row, index, keys)
            if reason is None:
                kept.append(row)
            else:
                removal.reasons[reason] += 1
        sources.append(Source(source.name, source.description, source.licence, kept))
        removals.append(removal)
    return sources, removals


def _overlap(row: SourceRow, index: OverlapIndex, keys: set[str]) -> str | None:
    if any(key in keys for key in row.keys):
        return "shared key"
    found = index.find(row.text) if row.text else None
    return found.kind if found else None
