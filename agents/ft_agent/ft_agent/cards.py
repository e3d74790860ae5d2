"""Data cards: what a planner may know of each source without reading it, and the agent's own validation split."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reading.rows import Row, normal, rationale_value

from ft_agent.data import (
    Context,
    Example,
    clean,
    dedupe,
    drop_leaks,
    kind,
    on_topic,
    repair,
    slice_of,
    to_example,
    trust,
    verify,
)


@dataclass(frozen=True)
class Card:
    """One source in figures; shares are of its rows."""

    source: str
    rows: int
    usable: int
    slices: dict[str, int]
    empty: float
    wrong_kind: float
    duplicated: float
    contradicted: float
    checkable: int
    solutions: float
    mean_chars: float


def describe_source(rows: Sequence[Row], context: Context) -> Card:
    """Measure one source. ``contradicted`` is its estimated error rate (`ft_agent.data.error_rates`)."""
    n = max(1, len(rows))
    repaired = repair(clean(list(rows), {}, context), {}, context)
    fitting = kind(repaired, {}, context)
    copies = Counter(normal(r.prompt) for r in fitting)
    checkable = [r for r in fitting if copies[normal(r.prompt)] > 1 or rationale_value(r.rationale)]
    usable = dedupe(verify(fitting, {}, context), {}, context)
    return Card(
        source=rows[0].source if rows else "",
        rows=len(rows),
        usable=len(usable),
        slices=dict(Counter(slice_of(r) for r in usable).most_common(12)),
        empty=sum(1 for r in repaired if not r.value) / n,
        wrong_kind=sum(1 for r in repaired if r.value) / n - len(fitting) / n,
        duplicated=1 - len({normal(r.prompt) for r in rows}) / n,
        contradicted=context.source_errors.get(rows[0].source, 0.0) if rows else 0.0,
        checkable=len(checkable),
        solutions=sum(1 for r in rows if r.rationale) / n,
        mean_chars=sum(len(r.prompt) + len(r.value) for r in rows) / n,
    )


def hold_out(rows: Sequence[Row], context: Context, size: int) -> tuple[list[Example], frozenset[str]]:
    """Set aside a validation split of believable rows, spread evenly over slices.

    Rows that were checked (agreeing duplicates or a solution that ends in the answer) come first, because a wrong gold measures
    nothing.

    Returns:
        The examples, and the normalised questions that training must leave out.
    """
    rng = random.Random(context.seed + 7)
    fitting = on_topic(kind(repair(clean(list(rows), {}, context), {}, context), {}, context), {}, context)
    good = drop_leaks(trust(verify(fitting, {}, context), {"floor": 5}, context), {}, context)
    copies = Counter(normal(r.prompt) for r in good)
    groups: dict[str, list[Row]] = defaultdict(list)
    for r in dedupe(good, {}, context):
        groups[slice_of(r)].append(r)
    queues = []
    for name in sorted(groups, key=lambda g: (-len(groups[g]), g)):
        members = rng.sample(groups[name], len(groups[name]))
        members.sort(key=lambda r: not (copies[normal(r.prompt)] > 1 or rationale_value(r.rationale)))
        # at most a fifth of a slice: what measures it must not use it up
        queues.append(members[: max(1, len(members) // 5)])
    picked: list[Row] = []
    while len(picked) < size and any(queues):
        for queue in queues:
            if queue and len(picked) < size:
                picked.append(queue.pop(0))
    return [to_example(r, context.forms) for r in picked], frozenset(normal(r.prompt) for r in picked)
