"""A value of a body with the path to it, so that what is wrong or cannot be translated is named where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from harness.gateway.dialogue import Malformed, Untranslatable


class Field:
    """A value and its path. Null and absent are the same."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value, self.path = value, path

    def __getitem__(self, name: str) -> Field:
        """Return a field of this object."""
        return Field(self.mapping().get(name), f"{self.path}.{name}" if self.path else name)

    def __bool__(self) -> bool:
        """Whether there is a value that says something: not null, not empty."""
        return self.value is not None and self.value != "" and self.value != [] and self.value != {}

    @property
    def given(self) -> bool:
        """Whether there is a value at all."""
        return self.value is not None

    def mapping(self) -> Mapping[str, Any]:
        """Return an object.

        Raises:
            Malformed: it is none.
        """
        if not isinstance(self.value, Mapping):
            raise self.wrong("an object")
        return self.value

    def each(self) -> Iterator[Field]:
        """Yield the elements of an array.

        Raises:
            Malformed: it is none.
        """
        if not isinstance(self.value, list | tuple):
            raise self.wrong("an array")
        for at, value in enumerate(self.value):
            yield Field(value, f"{self.path}[{at}]")

    def text(self, default: str | None = None) -> str:
        """Return a string, or the default of an absent one.

        Raises:
            Malformed: it is none.
        """
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            raise self.wrong("a string")
        return self.value

    def integer(self) -> int | None:
        """Return a whole number from 0, or None of an absent one.

        Raises:
            Malformed: it is none.
        """
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or self.value < 0 or self.value % 1:
            raise self.wrong("a whole number from 0")
        return int(self.value)

    def number(self) -> float | None:
        """Return a number, or None of an absent one.

        Raises:
            Malformed: it is none.
        """
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        return self.value

    def flag(self, default: bool = False) -> bool:
        """Return a truth value, or the default of an absent one.

        Raises:
            Malformed: it is none.
        """
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Return the strings of an array, of a single string, or of nothing."""
        if self.value is None:
            return ()
        return (self.value,) if isinstance(self.value, str) else tuple(each.text() for each in self.each())

    def only(self, known: str, dropped: str = "") -> tuple[str, ...]:
        """Return the paths of those fields that are left out. Names are given with spaces between them.

        Raises:
            Untranslatable: a further field says something.
        """
        left = []
        for name in self.mapping():
            field = self[name]
            if name in _names(known) or field.value in (None, "", []):
                continue
            if name not in _names(dropped):
                raise field.refused()
            left.append(field.path)
        return tuple(left)

    def wrong(self, expected: str) -> Malformed:
        """Return the error that this should be something else."""
        return Malformed(f"{self.path or 'the body'} must be {expected}, not {_shown(self.value)}")

    def refused(self) -> Untranslatable:
        """Return the error that this cannot be said in another format."""
        scalar = isinstance(self.value, str | int | float | bool)
        return Untranslatable(f"{self.path}={_shown(self.value)}" if scalar else self.path)


@cache
def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def object_of(arguments: str) -> dict[str, Any]:
    """Return a tool's arguments as an object; what a model wrote that is none is kept as text under ``arguments``."""
    if not arguments.strip():
        return {}
    try:
        read = json.loads(arguments)
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"arguments": arguments}


def json_text(value: Any) -> str:
    """Return compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
