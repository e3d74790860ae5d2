r"""Finding the answer in a model's text. Pure standard library, linear time on hostile text, never a guess.

Every finder returns ``None`` when no answer of the asked form is there. Graders of tasks read responses with these and nothing
else, so each rule is written once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.taskkit.scoring.plain import plain_value

T = TypeVar("T")

_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
# A double backslash is a line break in LaTeX, so it escapes no brace; before "boxed" it is a clumsy \boxed.
_BOX_TOKEN = re.compile(r"\\\\(?!boxed)|\\boxed[ \t\n]{0,8}\{|\\[{}]|[{}]")
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_JSON_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BACKSLASH = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])|\\')


def as_object(value: Any) -> dict[str, Any]:
    """Read a field that may come as an object or as JSON text of one.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object or JSON text of one, got {type(value).__name__}")
    return dict(value)


def after_thinking(text: str, find: Callable[[str], T | None]) -> T | None:
    """Find an answer, ignoring closed think blocks when an answer follows them.

    A ``</think>`` without its opening closes a block that the prompt opened. Without an answer after the last block the whole
    text is searched, so an answer given only while thinking still counts.
    """
    end = 0
    for match in _THINK_END.finditer(text):
        end = match.end()
    found = find(text[end:])
    return found if found is not None or end == 0 else find(text)


def last_boxed(text: str) -> str | None:
    r"""Content of the last closed, non-empty ``\boxed{…}`` in ``text``, stripped.

    Braces nest and ``\{`` is no brace. Of boxes in boxes the outermost closes last; where it holds nothing but another box,
    that one's content is the answer.
    """
    best: tuple[int, int] | None = None
    inner: tuple[int, int, tuple[int, int]] | None = None  # a closed box: where it starts, where it ends, its content
    stack: list[tuple[bool, int, int]] = []  # an open brace: is it a box, where it starts, where its content starts
    for match in _BOX_TOKEN.finditer(text):
        token = match.group(0)
        if token == "{":
            stack.append((False, match.start(), match.end()))
        elif token.startswith("\\boxed"):
            stack.append((True, match.start(), match.end()))
        elif token == "}" and stack:
            is_box, start, begin = stack.pop()
            if not is_box or _blank(text, begin, match.start()):
                continue
            content = (begin, match.start())
            if inner and begin <= inner[0] and _blank(text, begin, inner[0]) and _blank(text, inner[1], match.start()):
                content = inner[2]
            best, inner = content, (start, match.end(), content)
    return None if best is None else text[best[0] : best[1]].strip()


def last_json_value(text: str, keys: Sequence[str], accept: Callable[[Any], T | None]) -> T | None:
    r"""Value of the first of ``keys`` in the last outermost well-formed JSON object that has one of the right kind.

    Objects may be fenced or not and may stand among other text; one that is cut off by the end of the text is ignored with all
    that is in it. A backslash that starts no JSON escape is taken literally, so a formula such as ``C/C=C\C`` reads as written.

    Args:
        text: the response.
        keys: accepted keys, the preferred one first.
        accept: turns a value of the right kind into the answer, and anything else into ``None``; it is given plain values
            (`plain_value`), whatever a JSON escape spells, and ``None`` for what is no JSON, such as a number beyond all doubles.
    """
    for begin, end in reversed(_object_spans(text)):
        try:
            value = json.loads(_BACKSLASH.sub(_literal_backslash, text[begin:end]), strict=False)
        except (ValueError, RecursionError):
            continue
        for key in keys:
            answer = accept(plain_value(value[key])) if key in value else None
            if answer is not None:
                return answer
    return None


def _blank(text: str, begin: int, end: int) -> bool:
    """Say whether nothing but white space lies between; looks at few characters, so that nested boxes stay linear."""
    return end - begin <= 8 and not text[begin:end].strip() if end > begin else True


def _literal_backslash(match: re.Match[str]) -> str:
    return match.group(0) if len(match.group(0)) > 1 else "\\\\"


def _object_spans(text: str) -> list[tuple[int, int]]:
    """Spans of the outermost well-formed JSON objects, in order.

    Linear: what a ``{`` leads to is found once and remembered. When an object breaks, all objects open around the break break
    with it; only a ``{`` that stood inside one of its strings is looked at afresh, and such a reading has the opposite parity of
    quotes, so no character is read more than twice outside of remembered objects.
    """
    ends: dict[int, int] = {}  # "{" → where its object ends, or -1 where it is none
    spans: list[tuple[int, int]] = []
    position = text.find("{")
    while position >= 0:
        if position not in ends and not _read_object(text, position, ends):
            break  # cut off by the end of the text
        end = ends[position]
        if end > 0:
            spans.append((position, end))
        position = text.find("{", max(end, position + 1))
    return spans


def _read_object(text: str, start: int, ends: dict[int, int]) -> bool:
    """Read the object at ``start`` and note in ``ends`` what became of it and of those in it. False: the text ran out."""
    opened: list[int] = []  # positions of open containers
    position = start
    expect = "value"
    while True:
        position = _skip_space(text, position)
        if position >= len(text):
            return False
        char = text[position]
        known = ends.get(position) if char == "{" and expect in ("value", "value or end") else None
        if known is not None and known > 0:
            position, expect = known, "comma or end"
        elif known is None and char in "{[" and expect in ("value", "value or end"):
            opened.append(position)
            position, expect = position + 1, "key or end" if char == "{" else "value or end"
        elif char in "}]" and expect.endswith("or end") and opened and text[opened[-1]] == ("{" if char == "}" else "["):
            position, expect = position + 1, "comma or end"
            closed = opened.pop()
            if char == "}":
                ends[closed] = position
            if not opened:
                return True
        elif char == "," and expect == "comma or end":
            position, expect = position + 1, "key" if text[opened[-1]] == "{" else "value"
        elif char == ":" and expect == "colon":
            position, expect = position + 1, "value"
        else:
            is_key, is_value = expect in ("key", "key or end"), expect in ("value", "value or end")
            token = _JSON_STRING.match(text, position) if char == '"' else _JSON_SCALAR.match(text, position)
            if token is None and char == '"' and (is_key or is_value):
                return False  # a string that never ends
            if token is not None and is_key and char == '"':
                position, expect = token.end(), "colon"
            elif token is not None and is_value:
                position, expect = token.end(), "comma or end"
            else:
                ends.update({brace: -1 for brace in opened if text[brace] == "{"})
                return True


def _skip_space(text: str, position: int) -> int:
    match = _JSON_SPACE.match(text, position)
    return match.end() if match else position
