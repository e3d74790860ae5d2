"""How a public test set becomes dev and hidden: by the paper's rule, or strictly: hidden is larger and nothing is shared."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from harness.taskkit.building.overlap import normalised

PAPER_CAP = 100
"""Items of a sub-set in dev and in hidden by the paper's rule."""

STRICT_HIDDEN_CAP = 1000
"""Items of a sub-set in the strict hidden split: the standard error of a share is then below 1.6 points."""

SEED = 42


class Unit(Protocol):
    """What is split: an item, seen from here."""

    @property
    def subset(self) -> str:
        """Sub-set of the benchmark."""

    @property
    def type(self) -> str:
        """Question type."""

    @property
    def prompt(self) -> str:
        """The whole question."""

    @property
    def text(self) -> str:
        """The question as prose, or nothing."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What no two splits may share."""


U = TypeVar("U", bound=Unit)


def paper_split(count: int, *, shuffled: bool = True, seed: int = SEED, cap: int = PAPER_CAP) -> tuple[list[int], list[int]]:
    """Split a sub-set of a public test set as the FT-Dojo paper does: (dev, hidden) as positions of rows.

    The first and the last ``min(cap, ⌊count/2⌋)`` of the rows; shuffled with ``seed`` where the order means something.
    """
    order = list(range(count))
    if shuffled:
        random.Random(seed).shuffle(order)
    size = min(cap, count // 2)
    return order[:size], order[count - size :]


def split_by_paper(items: Sequence[U]) -> tuple[list[U], list[U]]:
    """`paper_split` of each sub-set, in the order in which the sub-sets first occur."""
    dev: list[U] = []
    hidden: list[U] = []
    for group in _grouped(items, lambda item: item.subset).values():
        first, last = paper_split(len(group))
        dev += [group[n] for n in first]
        hidden += [group[n] for n in last]
    return dev, hidden


def split_strictly(
    items: Sequence[U], *, seed: int = SEED, dev_cap: int = PAPER_CAP, hidden_cap: int = STRICT_HIDDEN_CAP
) -> tuple[list[U], list[U]]:
    """Split so that hidden is as large as the test set allows, every question type has its share, and nothing is shared.

    Items that share a key, a prompt or a text (normalised), directly or through others, stay together, whatever their sub-sets;
    of items with the same prompt or text only the first is kept. Of each sub-set dev gets up to ``min(dev_cap, half)`` and
    hidden up to ``hidden_cap`` of the rest, of every question type in proportion. A group that fits neither is left out.

    Returns:
        (dev, hidden), each in a shuffled order that depends on ``seed`` alone.
    """
    items = _distinct(items)
    groups = list(_connected(items))
    random.Random(seed).shuffle(groups)
    strata = Counter(_stratum(item) for item in items)
    sizes = Counter(item.subset for item in items)
    half = {name: min(dev_cap, size // 2) for name, size in sizes.items()}
    dev_room = {s: count * half[s[0]] // sizes[s[0]] for s, count in strata.items()}
    left = {s: count - dev_room[s] for s, count in strata.items()}
    left_of = {name: sum(count for s, count in left.items() if s[0] == name) for name in sizes}
    hidden_room = {s: count * min(hidden_cap, left_of[s[0]]) // left_of[s[0]] for s, count in left.items()}
    dev: list[U] = []
    hidden: list[U] = []
    for group in groups:
        wanted = Counter(_stratum(item) for item in group)
        for split, room in ((dev, dev_room), (hidden, hidden_room)):
            if all(room[stratum] >= count for stratum, count in wanted.items()):
                split += group
                for stratum, count in wanted.items():
                    room[stratum] -= count
                break
    for split in (dev, hidden):
        random.Random(seed).shuffle(split)
    return dev, hidden


def _stratum(item: Unit) -> tuple[str, str]:
    return item.subset, item.type


def _marks(item: Unit) -> list[tuple[str, str]]:
    """What makes two items the same question, or about the same thing."""
    return _identity(item) + [("key", key) for key in item.keys]


def _identity(item: Unit) -> list[tuple[str, str]]:
    return [("prompt", item.prompt)] + ([("text", normalised(item.text))] if item.text else [])


def _distinct(items: Sequence[U]) -> list[U]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for item in items:
        marks = _identity(item)
        if not seen.intersection(marks):
            kept.append(item)
        seen.update(marks)
    return kept


def _connected(items: Sequence[U]) -> Iterable[list[U]]:
    """Groups of items that are linked by marks they share, in the order of the items."""
    leader = list(range(len(items)))

    def find(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    first: dict[tuple[str, str], int] = {}
    for n, item in enumerate(items):
        for mark in _marks(item):
            a, b = find(first.setdefault(mark, n)), find(n)
            leader[max(a, b)] = min(a, b)
    numbered = _grouped(range(len(items)), find)
    return ([items[n] for n in members] for members in numbered.values())


T = TypeVar("T")


def _grouped(things: Iterable[T], name: Callable[[T], Hashable]) -> dict[Hashable, list[T]]:
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for thing in things:
        groups[name(thing)].append(thing)
    return groups
