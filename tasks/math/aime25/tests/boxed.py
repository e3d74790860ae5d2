r"""What a reader sees in a box: LaTeX that changes how a number looks, and not what it is, is taken off. Linear time.

Fonts, sizes, colours, spaces, braces, quotation marks and a full stop are looks. A percent sign never is.
"""

from __future__ import annotations

import re

# More than any box of an integer or of short arithmetic holds; longer ones are read only where they are nothing but digits.
MAX_CHARS = 200

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("。"): ".", ord("\u2212"): "-", ord("\ufe63"): "-"}
_INVISIBLE = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
_PERCENT = re.compile(r"[%٪]|\bper\s?cent\b", re.IGNORECASE)
_SPACE = re.compile(
    r"\\\\|\\[,;:!> ]|\\$|~"
    r"|\\(?:quad|qquad|enspace|enskip|thinspace|medspace|thickspace|negthinspace|space|nobreakspace|strut|mathstrut)(?![a-zA-Z])"
    r"|\\(?:hspace\*?|hphantom|vphantom|phantom)\{[^{}]*\}|\s"
)
_SWITCH = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|scriptscriptstyle|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge"
    r"|Huge|bf|it|rm|sf|tt|sl|em|bfseries|itshape|rmfamily|sffamily|ttfamily|mdseries|upshape|slshape|normalfont|boldmath)(?![a-zA-Z])"
    r"|\\(?:color|textcolor|colorbox)(?:\[[a-zA-Z]{1,10}\])?\{[^{}]*\}|\\fcolorbox\{[^{}]*\}\{[^{}]*\}"
)
_FONTS = (
    "textbf|textit|textrm|textsf|texttt|textnormal|textup|textmd|textsl|emph|underline|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal"
    "|mathbb|boldsymbol|bm|pmb|mbox|hbox|fbox|framebox|operatorname|ensuremath|text"
)
_FONT = re.compile(rf"\\(?:{_FONTS})(?=\s*\{{)")
_FONT_OF_FIGURES = re.compile(rf"\\(?:{_FONTS})\s*(?=\{{[^{{}}a-zA-Z\\]*\}})")
_DEGREES = re.compile(r"(?:\{\})?\^\s*\{?\s*\\(?:circ|degree)(?![a-zA-Z])\s*\}?|\\(?:text)?degree(?![a-zA-Z])|°")
_AROUND = {("$", "$"), ("*", "*"), ("_", "_"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("(", ")")}
_INTEGER = re.compile(r"([+-]?)([0-9]+)(?:\.0*)?")
_FRACTION = re.compile(r" *[+-]?[0-9]*\.[0-9]*[1-9][0-9]* *")
_TWO_NUMBERS = re.compile(r"[0-9] +[0-9]")
_OTHER_BASE = re.compile(r"[0-9}] *_(?! *\{? *10 *(?:\}|$))")


def seen_integer(content: str) -> int | None:
    """The integer that a reader sees in a box, or ``None`` where there is anything else to see."""
    if len(content) > MAX_CHARS:
        content = content.strip()
        return int(content[:40].lstrip("0") or "0") if content.isascii() and content.isdigit() and len(content) <= 40 else None
    if is_percent(content):
        return None
    text = _DEGREES.sub("", _plain(content))
    text = _unwrapped(_FONT.sub("", _SWITCH.sub(" ", _SPACE.sub(" ", text))))
    match = _INTEGER.fullmatch(text)
    return int(match.group(1) + match.group(2)) if match else None


def is_percent(content: str) -> bool:
    """Whether what is in the box is a percentage, or has one in it."""
    return _PERCENT.search(_plain(content)) is not None


def undecorated(content: str) -> str | None:
    """A box's content for a reader of formulae, without looks; ``None`` where it would be misread.

    Numbers side by side are no product or sum of theirs, a number in another base than ten is another number, and a decimal
    fraction is no integer however near it lies.
    """
    text = _SPACE.sub(" ", _DEGREES.sub("", _plain(content)))
    text = _FONT_OF_FIGURES.sub("", _SWITCH.sub(" ", text)).strip().strip("$").strip()
    misread = _TWO_NUMBERS.search(text) or _OTHER_BASE.search(text) or _FRACTION.fullmatch(text)
    return None if misread else text


def _plain(content: str) -> str:
    return content.translate(_WIDE).translate(_INVISIBLE)


def _unwrapped(text: str) -> str:
    """Without braces, without what stands in pairs around the whole, and without a full stop, comma or semicolon behind it."""
    text = text.replace("\\(", "$").replace("\\)", "$").replace("\\[", "$").replace("\\]", "$")
    if "\\" not in text:
        text = text.replace("{", "").replace("}", "")
    for _ in range(len(text)):
        shorter = text.strip().rstrip(",;").strip()
        shorter = shorter[1:-1] if len(shorter) > 2 and (shorter[0], shorter[-1]) in _AROUND else shorter
        shorter = shorter[:-1] if shorter[-1:] == "." and not shorter[-2:-1].isdigit() else shorter
        if shorter == text:
            break
        text = shorter
    return text
