"""Naming slices of data that name none: templates mined from the questions' opening words, as log parsers do.

Questions are put into a tree by their first words. A node with many different next words is a slot that varies (a name, a
number, a thing), so its branches are merged; what is left are the templates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from reading.rows import Row

# Words of a question that are looked at. More separates wordings of one kind of question without telling a planner anything new.
DEPTH = 6
# A place where more different words than this follow is a slot. Fixed words vary little; names, numbers and things vary more.
MAX_BRANCHES = 7
# First words that open fewer questions than this share, or that several others replace before the same words, are names or
# things.
RARE_OPENER, EXCHANGEABLE = 0.01, 4


def name_slices(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a slice each: their own where the source names one, else the template of their question."""
    unnamed = [r for r in rows if not r.slice]
    words = {id(r): _masked(r.prompt) for r in unnamed}
    openers = Counter(w[0] for w in words.values() if w)
    before: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for w in words.values():
        before[tuple(w[1:])].update(w[:1])
    for key, w in words.items():
        if w and (openers[w[0]] < RARE_OPENER * len(unnamed) or len(before[tuple(w[1:])]) >= EXCHANGEABLE):
            words[key] = ["*", *w[1:]]
    names: dict[int, str] = {}
    _split([(k, w) for k, w in words.items()], 0, [], names)
    return [r if r.slice else replace(r, slice=names[id(r)] or "other") for r in rows]


def _split(group: list[tuple[int, list[str]]], depth: int, path: list[str], names: dict[int, str]) -> None:
    if depth == DEPTH:
        for key, _ in group:
            names[key] = " ".join(path)
        return
    branches: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for key, words in group:
        branches[words[depth] if depth < len(words) else ""].append((key, words))
    if depth > 0 and len(branches) > MAX_BRANCHES:
        branches = {"*": group}
    for word, members in branches.items():
        nothing = not word or (word == "*" and path[-1:] == ["*"])
        _split(members, depth + 1, path if nothing else [*path, word], names)


def _masked(prompt: str) -> list[str]:
    words: list[str] = []
    for raw in prompt.split()[: 4 * DEPTH]:
        word = raw.strip(".,;:?!()\"'")
        if not word:
            continue
        word = "*" if any(c.isdigit() for c in word) or (len(word) > 14 and not word.isalpha()) else word.lower()
        if not (word == "*" and words[-1:] == ["*"]):
            words.append(word)
    return words[:DEPTH]
