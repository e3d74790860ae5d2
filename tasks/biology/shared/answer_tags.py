"""Where answers to the tasks over BioProBench stand: in JSON, or else between the benchmark's own tags.

``[ANSWER_START] … [ANSWER_END]``. Linear time on hostile text, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from harness.taskkit.scoring.extraction import after_thinking, last_json_value

T = TypeVar("T")

START = "[ANSWER_START]"
END = "[ANSWER_END]"


def find_answer(response: str, key: str, accept: Callable[[Any], T | None], accept_tagged: Callable[[str], T | None]) -> T | None:
    """The value of ``key`` in the last JSON object that has one of the right kind; without such an object what the tags hold.

    Args:
        response: the response.
        key: the key asked for.
        accept: turns a value of the right kind into the answer, anything else into ``None``.
        accept_tagged: the same for the text between the tags.
    """

    def find(text: str) -> T | None:
        found = last_json_value(text, [key], accept)
        if found is not None:
            return found
        tagged = last_tagged(text)
        return None if tagged is None else accept_tagged(tagged)

    return after_thinking(response, find)


def last_tagged(text: str) -> str | None:
    """Content of the last closed pair of tags, stripped; ``None`` where there is no such pair or nothing between.

    An opening tag inside a pair opens it anew, and a pair that is cut off by the end of the text is none.
    """
    end = text.rfind(END)
    start = text.rfind(START, 0, end) if end >= 0 else -1
    if start < 0:
        return None
    # Of several closing tags after the last opening one the first closes it.
    start += len(START)
    return text[start : text.find(END, start)].strip() or None
