"""Where rows have their answers, tried out on the worked examples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reading.trees import FROM_0, FROM_1, KEY, LETTER, Path, children, look_up, names_of, nodes

# A list's only value stands for the list.
SOLE = ("@sole",)


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


def _rules(row: Any) -> Iterator[Rule]:
    # where several values would do, one that is called an answer comes first
    paths = sorted(
        (path for path, _ in nodes(row) if path),
        key=lambda p: not re.match("answer|gold|label|output|target", str(p[-1]).lower()),
    )
    lists = [path for path, node in nodes(row) if path and len(children(node)) > 1]
    for path in paths:
        yield from (Rule(path), Rule(path, name=SOLE))
    for path in paths:
        for among in lists:
            if path[: len(among)] != among:
                yield from (Rule(path, among, name) for name in (KEY, LETTER, FROM_1, FROM_0))
    yield from (Rule(path, among) for path in lists for among in lists if path != among)


def _place(value: Any, among: Any, name: Path) -> str | None:
    if value in (None, ""):
        return None
    return next((names_of(i, key).get(name) for i, (key, item) in enumerate(children(among)) if item == value), None)


def _order(wanted: Any, among: Any) -> list[int] | None:
    if not (isinstance(wanted, list) and isinstance(among, list)) or len(wanted) != len(among):
        return None
    return [among.index(item) for item in wanted] if all(item in among for item in wanted) else None


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, (list, dict, bool)) or isinstance(wanted, (list, dict, bool)):
        return type(found) is type(wanted) and bool(found == wanted)
    return found is not None and str(found).strip(" .") == str(wanted).strip(" .")


def learn_rule(shown: Sequence[tuple[Any, Any]]) -> tuple[Rule | None, tuple[Any, ...]]:
    """Find the rule that gives every shown row its answer's value, and the constant end of values that are lists with one."""
    whole = [v for _, v in shown]
    tried: list[tuple[list[Any], tuple[Any, ...]]] = [(whole, ())]
    if all(isinstance(v, list) and len(v) > 1 and v[1:] == whole[0][1:] for v in whole):
        tried.append(([v[0] for v in whole], tuple(whole[0][1:])))
    for wanted, tail in tried:
        for rule in _rules(shown[0][0]):
            if all(_same(rule.get(row), value) for (row, _), value in zip(shown, wanted, strict=True)):
                return rule, tail
    return None, ()
