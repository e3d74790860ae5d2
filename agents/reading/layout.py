"""How a source row becomes a prompt and an answer, worked out from the worked examples' own rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reading.rules import Rule, learn_rule
from reading.trees import look_up, nodes, unfold, written
from reading.wordings import Slot, Wording, learn_wordings, render

# Rows of more values (whole documents) are not looked through: the ways to try grow with their square.
MOST_VALUES = 1000


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
    rule, tail = learn_rule([(r, v) for _, r, v in shown])
    wordings = learn_wordings([(p, r) for p, r, _ in shown], rule.path if rule else None)
    seen: dict[str, set[str]] = {}
    for _, row, _ in shown:
        for field, item in row.items():
            seen.setdefault(field, set()).add(written(item))
    fields = tuple((k, frozenset(v - {""})) for k, v in seen.items())
    letters = all(isinstance(v, str) and re.fullmatch("[A-Z]", v) for _, _, v in shown)
    return Layout(wordings, rule, tail, letters, fields, "" if rule else _opening([v for _, _, v in shown]))


def _opening(values: Sequence[Any]) -> str:
    """The line with which every answer begins, where answers are texts of several lines."""
    first = {str(v).split("\n")[0] for v in values if "\n" in str(v)}
    return first.pop() if len(first) == 1 and all("\n" in str(v) for v in values) else ""
