"""Answers made to break a grader: `dojo tasks check` scores them, and the tests do at a megabyte. None is worth anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

# Long enough that work in the square of it is seen, short enough that a check of a task takes seconds.
SIZE = 20_000

# Text that is none, or that shows as something else.
_CHARACTERS = {
    "a lone surrogate": "\ud800",
    "a surrogate pair the wrong way round": "\udc00\ud800",
    "a zero byte": "\x00",
    "right-to-left marks": "\u202e\u2066\u200f",
    "invisible characters": "\u200b\u2060\ufeff\u00ad",
    "a thousand accents": "e" + "\u0301" * 1000,
    "wide digits": "１２３",
    "digits of another script": "٣٤",
    "a superscript": "²",
    "half a number": "½",
    "a private character": "\ue000",
    "the last character": "\U0010ffff",
    "controls": "\x1b[2J\x08\x07\r",
}
# What a regular expression or a parser may choke on, repeated to `SIZE`.
_REPEATED = {
    "open brackets": "[", "open braces": "{", "open parentheses": "(", "quotes": '"', "backslashes": "\\", "spaces": " ",
    "tabs": "\t",
    "empty lines": "\n", "carriage returns": "\r", "digits": "9", "zeros": "0", "commas between digits": "1,", "points": "0.",
    "minus signs": "-", "percent signs": "%", "dollars": "$", "ends of thought": "</think>", "beginnings of thought": "<think>",
    "boxes": "\\boxed{", "closed boxes": "\\boxed{1}", "markers": "Final Answer:", "bold markers": "**Final Answer:** ",
    "tags": "[ANSWER_START]",
    "closed tags": "[ANSWER_END]", "fences": "```python\n", "objects in keys": '{"output":', "objects in lists": '[{"answer":',
    "letters": "a",
    "letters and a space": "a ", "markers in Chinese": "答案是: ", "entities": "&a;", "SMILES rings": "C1CC",
    "SMILES branches": "C(",
}  # fmt: skip
# Values in JSON that a grader may take for a number, a text or a list.
_VALUES = {
    "an escaped lone surrogate": '"\\ud800"',
    "a SMILES with an escaped surrogate": '"C\\udfffC"',
    "an escaped zero byte": '"\\u0000"',
    "a number beyond all doubles": "1e999999",
    "minus a number beyond all doubles": "-1e999999",
    "a text of one": '"1e999999"',
    "a number below all doubles": "1e-999999",
    "minus zero": "-0",
    "an integer of 5,000 digits": "9" * 5000,
    "an integer of 4,000 digits": "9" * 4000,
    "a text of one million nines": '"' + "9" * 10**6 + '"',
    "not a number": "NaN",
    "a text that says so": '"nan"',
    "infinity": "Infinity",
    "a text of infinity": '"inf"',
    "true": "true",
    "null": "null",
    "an empty text": '""',
    "a blank text": '" \\t\\n\\u00a0"',
    "an empty list": "[]",
    "an empty object": "{}",
    "a list of nulls": "[null, null]",
    "a list of lists": "[[1], [2]]",
    "a list of objects": '[{"a": 1}]',
    "a list of surrogates": '["\\ud800", "\\udc00"]',
    "a list of numbers beyond all doubles": "[1e999, -1e999]",
    "an object": '{"output": 1, "answer": 1}',
    "deep lists": "[" * 400 + "1" + "]" * 400,
    "too deep lists": "[" * 20_000 + "]" * 20_000,
    "deep objects": '{"a":' * 400 + "1" + "}" * 400,
    "a billion laughs": "[" + ",".join(['["lol"' + ',"lol"' * 9 + "]"] * 2000) + "]",
    "many keys": "{" + ",".join(f'"{n}": {n}' for n in range(3000)) + "}",
    "one key many times": "{" + ",".join(['"output": 1'] * 3000) + "}",
    "a long list": "[" + "0," * 20_000 + "0]",
    "other digits": '"٣"',
    "wide digits": '"１"',
    "right-to-left marks": '"\\u202e1\\u202c"',
}
_CORE = re.compile(r"\w+(?=\W*$)")


def hostile_answers(right: str, size: int = SIZE) -> dict[str, str]:
    """Return what the answer is called → the answer.

    Args:
        right: a right answer in the asked form; what is hostile stands alone, and in it in the place of what was right.
        size: characters of those that repeat a piece.
    """
    found = {name: text for name, text in _CHARACTERS.items()}
    found |= {f"{name} only": piece * (size // len(piece)) for name, piece in _REPEATED.items()}
    for name, piece in _REPEATED.items():
        found[f"{name} before the answer"] = piece * (size // len(piece)) + " " + right[:-1]
    for name, text in _instead(right):
        found[f"{name} in the answer"] = text
    return found


def _instead(right: str) -> Iterator[tuple[str, str]]:
    """Put hostile values in the place of what is right: of each value of an object, else of the last word."""
    try:
        document = json.loads(right)
    except ValueError:
        document = None
    if isinstance(document, Mapping):
        for key in document:
            for name, value in _VALUES.items():
                yield name, "{" + f"{json.dumps(key)}: {value}" + "}"
            for name, text in _CHARACTERS.items():
                yield name, "{" + f'{json.dumps(key)}: "{text}"' + "}"
        return
    for name, text in _CHARACTERS.items():
        yield name, _CORE.sub(lambda _, text=text: text, right, count=1)  # type: ignore[misc]
    for name in ("a number beyond all doubles", "an integer of 5,000 digits", "not a number", "deep lists", "an empty text"):
        yield name, _CORE.sub(lambda _, name=name: _VALUES[name], right, count=1)  # type: ignore[misc]
