"""How a source row becomes a prompt and an answer, worked out from the worked examples' own rows.

A task words its prompts from rows: a table, a claim with its documents, steps with numbers. Where worked examples
(``few_shot.jsonl``) show the row beside the prompt, the wording can be found again: values of the row are looked for in the
prompt, lists line by line, and what is left over is the task's own text. Nothing is believed that does not give back the
examples' own prompts. The agents `recipe`, `search` and `ft_agent` carry the same copy of this file; a test keeps them equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[Any, ...]
# What an element of a list may be called in the text: its key, its number from 0 or from 1, its letter.
KEY, FROM_0, FROM_1, LETTER = (("@key",), ("@0",), ("@1",), ("@A",))
SEPARATORS = (" | ", ", ", "; ", " ", ",", "\n")
# Rows of more values (whole documents) are not looked through: the ways to try grow with their square.
MOST_VALUES = 1000


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


def unfold(value: Any) -> Any:
    """Read objects and lists that a row keeps as JSON text, at any depth."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return unfold(json.loads(value))
        except (ValueError, RecursionError):
            return value
    if isinstance(value, dict):
        return {k: unfold(v) for k, v in value.items()}
    return [unfold(v) for v in value] if isinstance(value, list) else value


def nodes(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of a row with its path, containers before what they hold."""
    yield path, value
    for key, item in _items(value):
        yield from nodes(item, (*path, key))


def written(value: Any) -> str:
    """Return a scalar as it stands in a text; nothing for what has no text."""
    return "" if value is None or isinstance(value, (dict, list, bool)) else str(value).strip()


def look_up(value: Any, path: Path) -> Any:
    """Return the value at ``path``, None where there is none."""
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def render(parts: Parts, value: Any, names: Mapping[Path, str] | None = None) -> str | None:
    """Write a row; None where a slot is empty or a list is none."""
    out = []
    for part in parts:
        if isinstance(part, str):
            text: str | None = part
        elif isinstance(part, Slot):
            text = (names or {}).get(part.path) or written(look_up(value, part.path)) or None
        else:
            elements = _items(look_up(value, part.path))
            each = [render(part.parts, item, _names(i, key)) for i, (key, item) in enumerate(elements)]
            text = part.separator.join(t for t in each if t is not None) if each and None not in each else None
        if text is None:
            return None
        out.append(text)
    return "".join(out)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _names(index: int, key: Any) -> dict[Path, str]:
    """What an element may be called; an object's keys are names, a list's positions have three."""
    if isinstance(key, str):
        return {KEY: key}
    return {FROM_0: str(index), FROM_1: str(index + 1), LETTER: chr(65 + index) if index < 26 else ""}


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
        if any(path[: len(p)] == p for p in inside) or len(_items(node)) < 2:
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
    items = _items(node)
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
        learned = {induce(lines[first + i], item, _names(i, key)) for i, (key, item) in enumerate(items)}
        if len(learned) == 1:
            return start, end, Loop(path, learned.pop(), "\n")
    return None


def _mentions(line: str, item: Any) -> bool:
    leaves = [leaf for _, node in nodes(item) if (leaf := written(node))]
    return any(leaf in line for leaf in leaves)


def _row(text: str, node: Any, path: Path, claimed: Sequence[tuple[int, int, Any]]) -> tuple[int, int, Loop] | None:
    """A list of plain values that stands in the text with one separator."""
    cells = [written(item) for _, item in _items(node)]
    if not all(cells) or isinstance(node, dict):
        return None
    for separator in SEPARATORS:
        joined = separator.join(cells)
        for start in _whole(text, joined, claimed):
            return start, start + len(joined), Loop(path, (Slot(()),), separator)
    return None


@dataclass(frozen=True)
class Rule:
    """Where a row has its answer: the value at ``path``, or that value's place or order in the list ``among``."""

    path: Path
    among: Path | None = None
    name: Path = ()

    def get(self, row: Any) -> Any:
        """Return the answer of an unfolded row, None where it has none."""
        value = look_up(row, self.path)
        if self.among is None:
            return value[0] if isinstance(value, list) and len(value) == 1 and self.name == SOLE else value
        return _place(value, look_up(row, self.among), self.name) if self.name else _order(value, look_up(row, self.among))


SOLE = ("@sole",)


def _rules(row: Any) -> Iterator[Rule]:
    # where several values would do, one that is called an answer comes first
    paths = sorted(
        (path for path, _ in nodes(row) if path),
        key=lambda p: not re.match("answer|gold|label|output|target", str(p[-1]).lower()),
    )
    lists = [path for path, node in nodes(row) if path and len(_items(node)) > 1]
    for path in paths:
        yield from (Rule(path), Rule(path, name=SOLE))
    for path in paths:
        for among in lists:
            if path[: len(among)] != among:
                yield from (Rule(path, among, name) for name in (KEY, LETTER, FROM_1, FROM_0))
    yield from (Rule(path, among) for path in lists for among in lists if path != among)


def _place(value: Any, among: Any, name: Path) -> str | None:
    return next(
        (_names(i, key).get(name) for i, (key, item) in enumerate(_items(among)) if item == value and value not in (None, "")),
        None,
    )


def _order(wanted: Any, among: Any) -> list[int] | None:
    if not (isinstance(wanted, list) and isinstance(among, list)) or len(wanted) != len(among):
        return None
    return [among.index(item) for item in wanted] if all(item in among for item in wanted) else None


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, (list, dict, bool)) or isinstance(wanted, (list, dict, bool)):
        return type(found) is type(wanted) and bool(found == wanted)
    return found is not None and str(found).strip(" .") == str(wanted).strip(" .")


@dataclass(frozen=True)
class Wording:
    """One way in which prompts are worded, and the example rows whose prompts it gives back."""

    parts: Parts
    rows: tuple[Any, ...]

    def likeness(self, row: Any) -> float:
        """How much a row is like one of the examples: the share of its fields that are filled, or empty, or true, in both."""
        here = _signature(row)
        return max(sum(here.get(p) == s for p, s in _signature(r).items()) / max(1, len(here)) for r in self.rows)


def _signature(row: Any) -> dict[Path, Any]:
    return {
        path: node if isinstance(node, bool) else node not in (None, "", [], {}) for path, node in nodes(row) if len(path) < 3
    }


@dataclass(frozen=True)
class Layout:
    """What the worked examples teach about rows.

    Attributes:
        wordings: how prompts are worded, the one that gives back most examples first; empty where nothing was found.
        rule: where a row has its answer; None where no rule gives back every example's.
        tail: what follows the value where an answer is a list with a constant end, such as ``["B", 100]``.
        letters: whether every example's answer is one capital letter.
        fields: the fields of the examples' rows, each with the values they have there.
        opening: how every example's answer begins, where no rule was found.
    """

    wordings: tuple[Wording, ...] = ()
    rule: Rule | None = None
    tail: tuple[Any, ...] = ()
    letters: bool = False
    fields: tuple[tuple[str, frozenset[str]], ...] = ()
    opening: str = ""

    def adapt(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Unfold a source's rows and give fields that the wordings need, and the source calls otherwise, their name."""
        unfolded: list[dict[str, Any]] = [unfold(r) for r in rows]
        known, here = dict(self.fields), {k for r in unfolded for k in r}
        needed = {p.path[0] for w in self.wordings for p in w.parts if not isinstance(p, str) and p.path}
        names = {}
        for field in needed - here:
            held = {k: sum(written(r.get(k)) in known[field] for r in unfolded) for k in sorted(here - known.keys())}
            best = max(held, key=lambda k: held[k], default=None)
            if best is not None and held[best]:
                names[best] = field
        return [{names.get(k, k): v for k, v in r.items()} for r in unfolded]

    def prompt(self, row: Any) -> str | None:
        """Word the prompt of an adapted row; None where a value that the wording needs is missing.

        Where the wording is a single value between fixed texts, this is the bare value: `PromptForm` adds the texts.
        """
        if len(self.wordings) == 1:
            slots = [p for p in self.wordings[0].parts if not isinstance(p, str)]
            if len(slots) == 1 and isinstance(slots[0], Slot):
                return written(look_up(row, slots[0].path)) or None
        ranked = sorted(self.wordings, key=lambda w: -w.likeness(row))
        return next((text for w in ranked if (text := render(w.parts, row)) is not None), None)

    def value(self, row: Any) -> Any:
        """Return the answer's value of an adapted row as JSON has it, None where the row has none."""
        if self.rule is None:
            own = {k for k, _ in self.fields}
            texts = [v for k, v in row.items() if k not in own and isinstance(v, str)]
            return next((t for t in texts if self.opening and t.startswith(self.opening)), None)
        found = self.rule.get(row)
        if self.letters and found is not None:
            letters = re.findall("[A-Za-z]", str(found))
            found = letters[0].upper() if len(letters) == 1 else None
        if found in (None, "", []):
            return None
        return [found, *self.tail] if self.tail else found


def learn_layout(examples: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> Layout:
    """Work out how rows become prompts and answers.

    Args:
        examples: worked examples with ``prompt`` and, where the task shows it, ``row``.
        values: the value in each example's answer, as JSON has it.

    Returns:
        The layout; empty where fewer than two examples show a row of at most `MOST_VALUES` values.
    """
    shown = [
        (str(e["prompt"]), row, value)
        for e, value in zip(examples, values, strict=True)
        if isinstance(row := unfold(e.get("row")), dict) and sum(1 for _ in nodes(row)) <= MOST_VALUES
    ]
    if len(shown) < 2:
        return Layout()
    rule, tail = _answer([(r, v) for _, r, v in shown])
    wordings = _wordings([(p, r) for p, r, _ in shown], rule.path if rule else None)
    seen: dict[str, set[str]] = {}
    for _, row, _ in shown:
        for field, item in row.items():
            seen.setdefault(field, set()).add(written(item))
    fields = tuple((k, frozenset(v - {""})) for k, v in seen.items())
    letters = all(isinstance(v, str) and re.fullmatch("[A-Z]", v) for _, _, v in shown)
    return Layout(wordings, rule, tail, letters, fields, "" if rule else _opening([v for _, _, v in shown]))


def _wordings(shown: Sequence[tuple[str, Any]], barred: Path | None) -> tuple[Wording, ...]:
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


def _answer(shown: Sequence[tuple[Any, Any]]) -> tuple[Rule | None, tuple[Any, ...]]:
    whole = [v for _, v in shown]
    tried: list[tuple[list[Any], tuple[Any, ...]]] = [(whole, ())]
    if all(isinstance(v, list) and len(v) > 1 and v[1:] == whole[0][1:] for v in whole):
        tried.append(([v[0] for v in whole], tuple(whole[0][1:])))
    for wanted, tail in tried:
        for rule in _rules(shown[0][0]):
            if all(_same(rule.get(row), value) for (row, _), value in zip(shown, wanted, strict=True)):
                return rule, tail
    return None, ()


def _opening(values: Sequence[Any]) -> str:
    """The line with which every answer begins, where answers are texts of several lines."""
    first = {str(v).split("\n")[0] for v in values if "\n" in str(v)}
    return first.pop() if len(first) == 1 and all("\n" in str(v) for v in values) else ""
