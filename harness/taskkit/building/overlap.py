"""Whether a training text repeats an evaluation item: exactly, after normalising, or in long runs of words. Pure functions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

NGRAM = 13
"""Words in a run that two texts do not share by chance; the length usual for decontamination since GPT-3's report."""

_WORD = re.compile(r"\w+")

Kind = Literal["exact", "normalised", "ngram"]


def words(text: str) -> list[str]:
    """The words of a text: compatibility forms folded, lower case, punctuation and white space dropped."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalised(text: str) -> str:
    """The words of a text joined by single spaces: equal for texts that differ only in form."""
    return " ".join(words(text))


def ngrams(tokens: Sequence[str], size: int = NGRAM) -> set[tuple[str, ...]]:
    """All runs of ``size`` words; none where the text is shorter."""
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value; a string that is JSON text itself gives the strings inside."""
    if isinstance(value, str):
        if value.lstrip()[:1] in ("{", "[", '"'):
            try:
                yield from texts(json.loads(value))
                return
            except (ValueError, RecursionError):
                pass
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@dataclass(frozen=True)
class Overlap:
    """A text that repeats the protected text with this index, and how."""

    kind: Kind
    index: int


class OverlapIndex:
    """Finds which of some protected texts (dev and hidden items) another text repeats.

    A short protected text (under ``size`` words) is found only where it is the whole of the other text: its words are too few to
    say more without false alarms.
    """

    def __init__(self, protected: Iterable[str], size: int = NGRAM) -> None:
        self._size = size
        self._exact: dict[str, int] = {}
        self._normalised: dict[str, int] = {}
        self._ngrams: dict[tuple[str, ...], int] = {}
        for index, text in enumerate(protected):
            tokens = words(text)
            self._exact.setdefault(text, index)
            self._normalised.setdefault(" ".join(tokens), index)
            for gram in ngrams(tokens, size):
                self._ngrams.setdefault(gram, index)

    def find(self, text: str) -> Overlap | None:
        """Return the strongest overlap of ``text`` with a protected text."""
        if text in self._exact:
            return Overlap("exact", self._exact[text])
        tokens = words(text)
        joined = " ".join(tokens)
        if joined in self._normalised:
            return Overlap("normalised", self._normalised[joined])
        for i in range(len(tokens) - self._size + 1):
            gram = tuple(tokens[i : i + self._size])
            if gram in self._ngrams:
                return Overlap("ngram", self._ngrams[gram])
        return None
