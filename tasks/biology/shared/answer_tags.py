"""Answers between the tags of BioProBench, ``[ANSWER_START] … [ANSWER_END]``. Linear time on hostile text, never a guess."""

from __future__ import annotations

START = "[ANSWER_START]"
END = "[ANSWER_END]"


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
