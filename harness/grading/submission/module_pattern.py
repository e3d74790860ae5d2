"""The regular expressions of ``rank_pattern`` and ``alpha_pattern``, matched as PEFT matches them, in bounded time.

A submission's own pattern is never given to `re`: its search goes back and forth and can take for ever. Here a pattern is
followed at all places of a name at once, a place a bit, so that time grows with the pattern and the name alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_LENGTH = 300
_MOST_TIMES = 100
# Steps over all names and patterns of an adapter: 560 patterns on 560 modules (70B, a rank for each) take 1.5 million.
_STEPS = 10_000_000

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS = frozenset("0123456789")
_SPACE = frozenset(" \t\n\r\f\v")
_SETS = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_SPECIAL = frozenset("\\^$.|?*+()[]{}")


class PatternError(ValueError):
    """A pattern that is not followed; the message says what it uses."""


class Budget:
    """How many steps are left to all patterns of one adapter."""

    def __init__(self, steps: int = _STEPS) -> None:
        self.left = steps

    def spend(self) -> None:
        """Take one step.

        Raises:
            PatternError: none is left.
        """
        self.left -= 1
        if self.left < 0:
            raise PatternError("the patterns are too many or too complicated")


@dataclass(frozen=True)
class _Name:
    """A module's name that is being matched; places in it are bits of an integer, the lowest is the beginning."""

    text: str
    budget: Budget

    @property
    def end(self) -> int:
        return 1 << len(self.text)


# From all places where a part may begin to all where it may end.
_Part = Callable[[int, _Name], int]


@dataclass(frozen=True)
class ModulePattern:
    """A compiled pattern."""

    _body: _Part

    @classmethod
    def of(cls, pattern: str) -> ModulePattern:
        """Compile a pattern.

        Raises:
            PatternError: it is too long, no regular expression, or uses more than names of layers need.
        """
        if len(pattern) > MAX_LENGTH:
            raise PatternError(f"{len(pattern)} characters, at most {MAX_LENGTH}")
        parser = _Parser(pattern)
        body, _ = parser.alternatives()
        if parser.rest:
            raise PatternError("a bracket is closed that was not opened")
        return cls(body)

    def matches(self, module: str, budget: Budget) -> bool:
        r"""Whether it is the module's name or a dotted tail of it, as PEFT asks: ``(.*\.)?(pattern)$``.

        Raises:
            PatternError: ``budget`` is spent.
        """
        starts = 1 | sum(1 << place + 1 for place, char in enumerate(module) if char == ".")
        name = _Name(module, budget)
        return bool(self._body(starts, name) & name.end)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.rest = pattern

    def _take(self, text: str) -> bool:
        if self.rest.startswith(text):
            self.rest = self.rest[len(text) :]
            return True
        return False

    def _next(self) -> str:
        if not self.rest:
            raise PatternError("it ends too early")
        char, self.rest = self.rest[0], self.rest[1:]
        return char

    def alternatives(self) -> tuple[_Part, bool]:
        """Return what stands up to the closing bracket or the end, and whether something in it repeats without end."""
        parts, endless = self._sequence()
        options = [parts]
        while self._take("|"):
            parts, more = self._sequence()
            options.append(parts)
            endless |= more
        return (options[0] if len(options) == 1 else _any_of(options)), endless

    def _sequence(self) -> tuple[_Part, bool]:
        parts: list[_Part] = []
        endless = False
        while self.rest and self.rest[0] not in "|)":
            part, more = self._repeated()
            parts.append(part)
            endless |= more
        return _in_turn(parts), endless

    def _repeated(self) -> tuple[_Part, bool]:
        part, endless = self._atom()
        times = self._times()
        if times is None:
            return part, endless
        least, most = times
        if not self._take("?") and self.rest[:1] == "+":  # `*?` finds another match first, and whether there is one is the same
            raise PatternError("a possessive repeat")
        if self.rest[:1] and self.rest[0] in "*+?{":
            raise PatternError("a repeat of a repeat")
        if most is None and endless:
            raise PatternError("an endless repeat within an endless repeat")
        return _repeat(part, least, most), endless or most is None

    def _times(self) -> tuple[int, int | None] | None:
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return times
        if not self._take("{"):
            return None
        inside, closed, self.rest = self.rest.partition("}")
        low, comma, high = inside.partition(",")
        numbers = [n for n in (low, high) if n]
        if not closed or not numbers or not all(n.isascii() and n.isdigit() and int(n) <= _MOST_TIMES for n in numbers):
            raise PatternError(f"a repeat {{{inside[:20]}}}; at most {_MOST_TIMES} times")
        least = int(low or 0)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            raise PatternError(f"a repeat {{{inside[:20]}}}")
        return least, most

    def _atom(self) -> tuple[_Part, bool]:
        char = self._next()
        if char == "(":
            if self._take("?") and not self._take(":"):
                raise PatternError("a group that begins with '(?'")
            inner, endless = self.alternatives()
            if not self._take(")"):
                raise PatternError("a bracket is not closed")
            return inner, endless
        if char == "[":
            return _one_of(self._class()), False
        if char == "\\":
            return _one_of(self._escaped()), False
        if char == ".":
            return _one_of(lambda c: c != "\n"), False
        if char == "^":
            return (lambda starts, name: starts & 1), False
        if char == "$":
            return (lambda starts, name: starts & name.end), False
        if char in "*+?{":
            raise PatternError(f"{char!r} repeats nothing")
        return _literal(self._literal_from(char)), False

    def _literal_from(self, text: str) -> str:
        """Take as many plain characters as come, but for one that is repeated."""
        while self.rest and self.rest[0] not in _SPECIAL and self.rest[1:2] not in ("*", "+", "?", "{"):
            text += self._next()
        return text

    def _escaped(self) -> Callable[[str], bool]:
        char = self._next()
        if char.lower() in _SETS:
            members, inside = _SETS[char.lower()], char.islower()
            return lambda c: (c in members) is inside
        if char.isalnum():
            raise PatternError(f"'\\{char}'")
        return lambda c: c == char

    def _class(self) -> Callable[[str], bool]:
        inside = not self._take("^")
        tests: list[Callable[[str], bool]] = []
        while not (tests and self._take("]")):
            char = self._next()
            if char == "\\":
                tests.append(self._escaped())
            elif self.rest[:1] == "-" and self.rest[1:2] not in ("]", "", "\\"):
                self._next()
                tests.append(_between(char, self._next()))
            else:
                tests.append(lambda c, char=char: c == char)  # type: ignore[misc]
        return lambda c: any(test(c) for test in tests) is inside


def _between(low: str, high: str) -> Callable[[str], bool]:
    if low > high:
        raise PatternError(f"a range {low}-{high}")
    return lambda c: low <= c <= high


def _one_of(test: Callable[[str], bool]) -> _Part:
    def part(starts: int, name: _Name) -> int:
        name.budget.spend()
        found = 0
        for place, char in enumerate(name.text):
            if starts >> place & 1 and test(char):
                found |= 1 << place + 1
        return found

    return part


def _literal(text: str) -> _Part:
    def part(starts: int, name: _Name) -> int:
        name.budget.spend()
        found, place = 0, name.text.find(text)
        while place >= 0:
            if starts >> place & 1:
                found |= 1 << place + len(text)
            place = name.text.find(text, place + 1)
        return found

    return part


def _in_turn(parts: list[_Part]) -> _Part:
    def part(starts: int, name: _Name) -> int:
        for one in parts:
            if not starts:
                return 0
            starts = one(starts, name)
        return starts

    return part


def _any_of(options: list[_Part]) -> _Part:
    def part(starts: int, name: _Name) -> int:
        found = 0
        for option in options:
            found |= option(starts, name)
        return found

    return part


def _repeat(part: _Part, least: int, most: int | None) -> _Part:
    def repeated(starts: int, name: _Name) -> int:
        at = starts
        for _ in range(least):
            at = part(at, name)
        found = at
        turns = most - least if most is not None else len(name.text)
        while at and turns:
            at = part(at, name) & ~found
            found |= at
            turns -= 1
        return found

    return repeated
