"""How prompts are worded from rows, found again by looking for the rows' values in the prompts.

Lists are looked for line by line, single values as whole words; what is left over is the task's own text. Nothing is believed
that does not give back the examples' own prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reading.trees import Path, children, look_up, names_of, nodes, written

SEPARATORS = (" | ", ", ", "; ", " ", ",", "\n")


@dataclass(frozen=True)
class Slot:
    """A value of the row, by its path."""

    path: Path


@dataclass(frozen=True)
class Loop:
    """A list (or object) of the row, each element written by ``parts``, with ``separator`` between them."""

    path: Path
    parts: tuple[str | Slot | Loop, ...]
    separator: str


Parts = tuple[str | Slot | Loop, ...]


def render(parts: Parts, value: Any, names: Mapping[Path, str] | None = None) -> str | None:
    """Write a row; None where a slot is empty or a list is none."""
    out = []
    for part in parts:
        if isinstance(part, str):
            text: str | None = part
        elif isinstance(part, Slot):
            text = (names or {}).get(part.path) or written(look_up(value, part.path)) or None
        else:
            elements = children(look_up(value, part.path))
            each = [render(part.parts, item, names_of(i, key)) for i, (key, item) in enumerate(elements)]
            text = part.separator.join(t for t in each if t is not None) if each and None not in each else None
        if text is None:
            return None
        out.append(text)
    return "".join(out)


def induce(
    text: str, value: Any, names: Mapping[Path, str] | None = None, shortest: int = 1, barred: Path | None = None
) -> Parts:
    """Find the values of ``value`` in ``text``; what is left over stays as it is.

    Args:
        text: what was written from ``value``.
        value: a row, or an element of one of its lists.
        names: what the element may be called.
        shortest: values of fewer characters are taken for the text's own.
        barred: where the answer stands; a prompt never shows it by itself.
    """
    claimed: list[tuple[int, int, Slot | Loop]] = []
    inside: set[Path] = {barred} if barred else set()
    for path, node in nodes(value):
        if any(path[: len(p)] == p for p in inside) or len(children(node)) < 2:
            continue
        found = _lines(text, node, path, claimed) or _row(text, node, path, claimed)
        if found:
            claimed.append(found)
            inside.add(path)
    found_at: dict[str, list[Path]] = {}
    for path, name in (names or {}).items():
        found_at.setdefault(name, []).append(path)
    for path, node in nodes(value):
        if (leaf := written(node)) and len(leaf) >= shortest and not any(path[: len(p)] == p for p in inside):
            found_at.setdefault(leaf, []).append(path)
    for leaf in sorted(filter(None, found_at), key=len, reverse=True):
        paths = found_at[leaf]
        # the same text twice: in the order in which the row has it
        for n, start in enumerate(_whole(text, leaf, claimed)):
            claimed.append((start, start + len(leaf), Slot(paths[min(n, len(paths) - 1)])))
    parts: list[str | Slot | Loop] = []
    at = 0
    for start, end, part in sorted(claimed, key=lambda c: c[0]):
        parts += [text[at:start], part] if start > at else [part]
        at = end
    return (*parts, text[at:]) if at < len(text) else tuple(parts)


def _whole(text: str, leaf: str, claimed: Sequence[tuple[int, int, Any]]) -> list[int]:
    """Where ``leaf`` stands unclaimed and not within a longer word or number."""
    places = []
    at = text.find(leaf)
    while at >= 0:
        end = at + len(leaf)
        before, after = text[at - 1 : at], text[end : end + 1]
        alone = not _joined(before, leaf[0]) and not _joined(leaf[-1], after)
        if alone and all(end <= s or at >= e for s, e, _ in claimed):
            places.append(at)
            at = text.find(leaf, end)
        else:
            at = text.find(leaf, at + 1)
    return places


def _joined(left: str, right: str) -> bool:
    return (left.isascii() and right.isascii()) and ((left.isalpha() and right.isalpha()) or (left.isdigit() and right.isdigit()))


def _lines(text: str, node: Any, path: Path, claimed: Sequence[tuple[int, int, Any]]) -> tuple[int, int, Loop] | None:
    """A list that stands in the text with one line to an element, all lines alike."""
    items = children(node)
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for first in range(len(lines) - len(items) + 1):
        start, end = starts[first], starts[first + len(items)] - 1
        if any(start < e and end > s for s, e, _ in claimed):
            continue
        if not all(_mentions(lines[first + i], item) for i, (_, item) in enumerate(items)):
            continue
        learned = {induce(lines[first + i], item, names_of(i, key)) for i, (key, item) in enumerate(items)}
        if len(learned) == 1:
            return start, end, Loop(path, learned.pop(), "\n")
    return None


def _mentions(line: str, item: Any) -> bool:
    leaves = [leaf for _, node in nodes(item) if (leaf := written(node))]
    return any(leaf in line for leaf in leaves)


def _row(text: str, node: Any, path: Path, claimed: Sequence[tuple[int, int, Any]]) -> tuple[int, int, Loop] | None:
    """A list of plain values that stands in the text with one separator."""
    cells = [written(item) for _, item in children(node)]
    if not all(cells) or isinstance(node, dict):
        return None
    for separator in SEPARATORS:
        joined = separator.join(cells)
        for start in _whole(text, joined, claimed):
            return start, start + len(joined), Loop(path, (Slot(()),), separator)
    return None


@dataclass(frozen=True)
class Wording:
    """One way in which prompts are worded, and the example rows whose prompts it gives back."""

    parts: Parts
    rows: tuple[Any, ...]

    def likeness(self, row: Any) -> float:
        """How much a row is like one of the examples: the share of its fields that are filled, or empty, or true, in both."""
        here = _signature(row)
        return float(max(sum(here.get(p) == s for p, s in _signature(r).items()) / max(1, len(here)) for r in self.rows))


def _signature(row: Any) -> dict[Path, Any]:
    return {
        path: node if isinstance(node, bool) else node not in (None, "", [], {}) for path, node in nodes(row) if len(path) < 3
    }


def learn_wordings(shown: Sequence[tuple[str, Any]], barred: Path | None) -> tuple[Wording, ...]:
    """Find the wordings that give back at least half of the shown (prompt, unfolded row) pairs; none where they do not.

    ``barred`` is where the answer stands: a prompt never shows it by itself.
    """
    tried: dict[Parts, tuple[int, ...]] = {}
    for prompt, row in shown:
        for shortest in (3, 1):
            parts = induce(prompt, row, shortest=shortest, barred=barred)
            if parts not in tried and any(not isinstance(p, str) for p in parts) and _shared(parts, [p for p, _ in shown]):
                tried[parts] = tuple(i for i, (text, r) in enumerate(shown) if render(parts, r) == text)
    kept: list[Wording] = []
    covered: set[int] = set()
    for parts, ids in sorted(tried.items(), key=lambda t: -len(t[1])):
        if set(ids) - covered:
            kept.append(Wording(parts, tuple(shown[i][1] for i in ids)))
            covered |= set(ids)
    return tuple(kept) if len(covered) * 2 >= len(shown) else ()


def _shared(parts: Parts, prompts: Sequence[str]) -> bool:
    """Whether the text between the values is the task's own: another prompt has it too."""
    return all(sum(p in prompt for prompt in prompts) > 1 for p in parts if isinstance(p, str))
