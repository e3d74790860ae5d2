"""Answers in text: ``Final Answer: …`` and fenced code found, short answers compared. Linear time on hostile text, never a guess.

An answer keeps its minus sign, decimal point and ``%``; letter case, thousands separators, punctuation around it and white space
do not count, and ``12`` equals ``12.0``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking

# The marker, bold or not, with emphasis inside or outside of the colon; or a line of its own that is nothing but the marker as a
# Markdown heading or in bold.
_MARKER = re.compile(
    r"final[ \t]{1,4}answer[*_`]{0,3}[ \t]{0,4}[:\uff1a][*_`]{0,3}"
    r"|^[ \t]{0,3}(?:#{1,6}[ \t]{1,4}[*_]{0,3}|\*{2,3}|_{2,3})final[ \t]{1,4}answer[*_]{0,3}[ \t]{0,4}#{0,6}[ \t\r]{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE_LINE = re.compile(r"^[ \t]{0,3}```([^`\n]{0,40}?)[ \t\r]*$", re.MULTILINE)
_THINK_TAG = re.compile(r"</think", re.IGNORECASE)
_EMPHASIS = " \t\r*_`"
# A minus may be typed as any of these; a dash between words or years becomes the same sign on both sides.
_MINUS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"), "-")
_THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})++(?![\d,]*\d)")
_DECIMAL = re.compile(r"(?<![\w.])(\d*)\.(\d++)(?!\w|\.\d)")
_SPACED_PERCENT = re.compile(r"(?<=\d) %")
_NUMBER = re.compile(r"([+-]?)(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:e([+-]?\d{1,3}))?(%?)")
_KEPT_IN_FRONT = "+-"
# No answer of 4,096 tokens is longer; beyond it the overlap with a short gold text is nothing.
_MAX_ROUGE_CHARS = 100_000


def final_answer(response: str) -> str | None:
    """What stands after the last ``Final Answer:`` (any case) to the end of its line, or on the next line if that is empty.

    The marker may be bold (``**Final Answer:**``, ``**Final Answer**:``), its colon full-width. A line that is nothing but the
    marker, as a Markdown heading or in bold, needs no colon, and an empty line may follow it. Closed think blocks are ignored
    when an answer follows them.
    """
    return after_thinking(response, _after_marker)


def _after_marker(text: str) -> str | None:
    last = None
    for marker in _MARKER.finditer(text):
        last = marker
    if last is None:
        return None
    start = last.end()
    heading = last.group(0).rstrip("*_`")[-1:] not in ":\uff1a"
    for _ in range(3 if heading else 2):
        end = text.find("\n", start)
        line = _THINK_TAG.split(text[start : end if end >= 0 else len(text)], maxsplit=1)[0]
        if line.strip(_EMPHASIS):
            return line.strip()
        if end < 0:
            return None
        start = end + 1
    return None


def last_code_block(response: str, language: str) -> str | None:
    """Code of the last closed, non-empty block between a line of three backticks with ``language`` (any case) and a bare one.

    A block of another language is none, and one that is never closed is none. Closed think blocks are ignored when a block
    follows them.
    """
    return after_thinking(response, lambda text: _last_block(text, language.casefold()))


def _last_block(text: str, language: str) -> str | None:
    best: tuple[int, int] | None = None
    begin = -1  # where the content of an open block of this language starts
    inside = False
    for line in _FENCE_LINE.finditer(text):
        info = line.group(1).strip().casefold()
        if info or not inside:
            inside, begin = True, (line.end() + 1 if info == language else -1)
        else:
            if begin >= 0 and text[begin : line.start()].strip():
                best = (begin, line.start())
            inside, begin = False, -1
    return None if best is None else text[best[0] : best[1]]


def normalised_answer(text: str) -> str:
    """An answer as it is compared: two answers are the same if this is equal."""
    text = unicodedata.normalize("NFKC", text).translate(_MINUS).casefold()
    text = " ".join(text.split())
    text = _stripped(text)
    text = _THOUSANDS.sub(lambda match: match.group(0).replace(",", ""), text)
    text = _DECIMAL.sub(_plain_decimal, text)
    text = _SPACED_PERCENT.sub("%", text)
    text = text.removeprefix("+") if _NUMBER.fullmatch(text) else text
    return "0" if text == "-0" else text


def same_answer(answer: str, gold: str) -> bool:
    """Whether an answer is the gold answer, normalised. An answer of punctuation alone is none.

    Raises:
        ValueError: the gold answer is empty.
    """
    wanted = normalised_answer(gold)
    if not wanted:
        raise ValueError(f"gold answer {gold!r} is empty")
    return normalised_answer(answer) == wanted


def exact_match(row: Mapping[str, Any], response: str) -> dict[str, Any]:
    """Score a response: 1 if its final answer is the row's, else 0; the same under the name of the row's own sub-type.

    Raises:
        ValueError: the gold answer is empty.
    """
    answer = final_answer(response)
    right = float(same_answer(answer or "", str(row["answer"])))
    kind = "_".join(str(row.get("qsubtype") or "").split())
    metrics = {f"exact_match_{kind}": right} if kind else {}
    return {"parsed": answer is not None, "value": answer, "score": right, "metrics": metrics}


def number_in(text: str) -> tuple[Fraction, bool] | None:
    """The number that an answer is, exactly, and whether it is a percentage; ``None`` where there is more than a number."""
    match = _NUMBER.fullmatch(normalised_answer(text))
    if match is None:
        return None
    sign, digits, exponent, percent = match.groups()
    value = Fraction(digits.rstrip(".")) * Fraction(10) ** int(exponent or 0)
    return (-value if sign == "-" else value), bool(percent)


def near_answer(answer: str, gold: str, tolerance: Fraction = Fraction(1, 10), absolute: Fraction = Fraction(1, 10**6)) -> bool:
    """Whether a number lies within a relative ``tolerance`` (inclusive) of the gold number; a gold text must be equal.

    Against a gold of 0 the difference must be less than ``absolute``. ``%`` is kept: 12 is not 12%. Exact arithmetic.

    Raises:
        ValueError: the gold answer is empty.
    """
    wanted = number_in(gold)
    if wanted is None:
        return same_answer(answer, gold)
    found = number_in(answer)
    if found is None or found[1] != wanted[1]:
        return False
    difference = abs(found[0] - wanted[0])
    return difference < absolute if wanted[0] == 0 else difference <= tolerance * abs(wanted[0])


def rouge_l(answer: str, gold: str) -> float:
    """ROUGE-L F1 by Google's rouge-score, without stemmer.

    Raises:
        ImportError: rouge-score is not installed; without it there is no score.
    """
    from rouge_score import rouge_scorer  # type: ignore[import-untyped, unused-ignore]

    if len(answer) > _MAX_ROUGE_CHARS:
        return 0.0
    return float(rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False).score(gold, answer)["rougeL"].fmeasure)


def _stripped(text: str) -> str:
    """Without punctuation around it; a sign or decimal point before a number, and ``%`` after it, stay."""
    start, end = 0, len(text)
    while start < end and _is_frame(text[start]) and not _opens_number(text, start):
        start += 1
    while end > start and _is_frame(text[end - 1]) and text[end - 1] != "%":
        end -= 1
    return text[start:end]


def _is_frame(char: str) -> bool:
    return char in " `" or unicodedata.category(char).startswith("P")


def _opens_number(text: str, place: int) -> bool:
    rest = text[place : place + 3]
    if rest[0] in _KEPT_IN_FRONT:
        return rest[1:2].isdigit() or (rest[1:2] == "." and rest[2:3].isdigit())
    return rest[0] == "." and rest[1:2].isdigit()


def _plain_decimal(match: re.Match[str]) -> str:
    whole, part = match.group(1) or "0", match.group(2).rstrip("0")
    return f"{whole}.{part}" if part else whole
