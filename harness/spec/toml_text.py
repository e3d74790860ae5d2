"""The text of a TOML file, and why a text is none: the true cause with its line, and a step that mends it.

People write these files by hand, on other systems and with other programs' settings: the parser alone says of a file in UTF-16
that its first statement is invalid, and of a key that stands there twice that the document has ended.
"""

from __future__ import annotations

import codecs
import re
import shlex
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from harness.spec.errors import SpecError
from harness.spec.toml_lines import line_of

# The byte order marks of what is no UTF-8, the longer ones first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# So many lines are looked back over for where a statement begins that the parser saw no end of.
_LOOKED_BACK = 500
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=""")
_HEADER = re.compile(r"\s*(\[\[?[^\]\n]+\]\]?)")
_PLAIN_TEXT = re.compile(r"""=\s*([A-Za-z_./][^#"'\n\[\]{},]*)""")
_QUOTES = {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'"}


def read_toml_text(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a TOML file, without a byte order mark and with plain line ends, and what it says.

    Raises:
        SpecError: it cannot be read, is no text in UTF-8 or no TOML; names the line, the cause and what mends it.
    """
    text = read_text(path)
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        message, hint = _why(text, exc)
        raise SpecError(f"{path}: not valid TOML: {message}", hint=hint) from exc
    except RecursionError as exc:
        raise SpecError(f"{path}: nested too deep to be read", hint="no file of dojo's has lists within lists so deep") from exc
    except ValueError as exc:  # a whole number of thousands of digits
        raise SpecError(f"{path}: not valid TOML: {exc}", hint="write a smaller number, or a text in quotes") from exc


def read_text(path: Path, what: str = "TOML is") -> str:
    """Return the text of a file that a person wrote, without a byte order mark and with plain line ends.

    Raises:
        SpecError: it cannot be read or is no text in UTF-8, as ``what`` has to be; names cause and remedy.
    """
    try:
        data = path.read_bytes()
    except PermissionError as exc:
        raise SpecError(
            f"{path}: cannot be read: {exc.strerror}", hint=f"let yourself read it, as by `chmod u+r {shlex.quote(str(path))}`"
        ) from exc
    except IsADirectoryError as exc:
        raise SpecError(f"{path}: is a folder", hint="name a file, or write one in the folder's place") from exc
    except OSError as exc:
        raise SpecError(f"{path}: cannot be read: {exc.strerror}", hint="check that the file is there and readable") from exc
    return _decoded(path, data, what).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, data: bytes, what: str) -> str:
    coding = next((name for mark, name in _MARKS if data.startswith(mark)), "") or _unmarked(data)
    if coding:
        raise SpecError(f"{path}: is in {coding}, and {what} UTF-8", hint=f"save it as UTF-8, or `{_recode(path, coding)}`")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise SpecError(
            f"{path}: line {line} holds the byte 0x{data[exc.start]:02x}, which is no UTF-8, as {what} to be",
            hint=f"save it as UTF-8; from Latin-1: `{_recode(path, 'ISO-8859-1')}`",
        ) from exc
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        without = _through(path, r"tr -d '\000' <")
        raise SpecError(
            f"{path}: line {line} holds a NUL byte, which is no text: was the file cut off while it was written?",
            hint=f"write what should stand there; `{without}` takes them out",
        )
    return text


def _recode(path: Path, coding: str) -> str:
    return _through(path, f"iconv -f {coding} -t UTF-8")


def _through(path: Path, program: str) -> str:
    """Return the command that passes a file through a program, to be pasted into a shell."""
    here, new = shlex.quote(str(path)), shlex.quote(f"{path}.new")
    return f"{program} {here} > {new} && mv {new} {here}"


def _unmarked(data: bytes) -> str:
    """Tell UTF-16 without a mark by its NULs: every other byte of plain text is one."""
    head = data[:200]
    for name, zeros, others in (("UTF-16LE", head[1::2], head[::2]), ("UTF-16BE", head[::2], head[1::2])):
        if len(head) >= 4 and zeros and not any(zeros) and all(others):
            return name
    return ""


def _why(text: str, exc: tomllib.TOMLDecodeError) -> tuple[str, str]:
    """Return what is wrong and what mends it."""
    said = str(exc)
    place = _PLACE.search(said)
    reason = _PLACE.sub("", said)
    reason = reason[:1].lower() + reason[1:]
    lines = text.split("\n")
    known = int(place[1]) if place and place[1] else 0
    begins = _begins(lines, known or len(lines))
    line = known or begins
    here = lines[line - 1]
    where = f"line {line}" + (f", column {place[2]}" if place and place[2] else "")
    if "overwrite" in reason or "twice" in reason or "Duplicate" in said or "redefine" in reason or "mutate" in reason:
        return _twice(text, lines, line, reason)
    if strange := _strange(here):
        plain = _QUOTES.get(strange)
        return (
            f"line {line} holds {_named(strange)} where plain characters belong: {here.strip()[:60]!r}",
            f"write {plain} in its place" if plain else "take it out, or write a plain space in its place",
        )
    if here.rstrip().endswith("=") and "nvalid value" in reason:
        return f"line {line}: {here.strip()[:60]!r} has no value", 'write one behind the equals sign; an empty text is ""'
    if begins < line or not known:
        opened = lines[begins - 1]
        if "{" in opened and opened.count("{") > opened.count("}"):
            return f"line {begins}: {opened.strip()[:60]!r} opens a table that its line does not close", _ONE_LINE
        return f"{reason}: what begins on line {begins} ({opened.strip()[:60]!r}) is not closed", f"close it, or mend {where}"
    if "key part" in reason and "{" in here:
        return f"{where}: an inline table has something else than keys and values: {here.strip()[:60]!r}", _ONE_LINE
    value = _PLAIN_TEXT.search(here)
    if "nvalid value" in reason and value:
        word = value[1].strip()
        if word.lower() in ("true", "false"):
            return f"{where}: {word!r} is no value", f"write {word.lower()}, in small letters"
        return f"{where}: {word[:60]!r} is a text without quotes", f'write "{word[:60]}"'
    if "'='" in reason and re.match(r"\s*[\w-]+\s*:", here):
        return f"{where}: {here.strip()[:60]!r} has a colon where TOML has an equals sign", "write key = value"
    if "Unterminated" in said or "'\\n'" in reason:
        return f"{where}: a text that begins there does not end: {here.strip()[:60]!r}", "close its quotes on the same line"
    if "after a statement" in reason:
        more = here[int(place[2]) - 1 :].strip() if place else ""
        return f"{where}: something stands behind a whole statement: {more[:60]!r}", "put it on a line of its own, or take it out"
    if "nescaped" in reason:
        return f"{where}: {reason}", "in \"…\" a backslash is written \\\\; '…' takes it as it is"
    return f"{where}: {reason}: {here.strip()[:60]!r}", f"mend line {line}"


_ONE_LINE = "write it on one line, with no comma after the last entry, or as a [table] of its own with a key a line"


def _begins(lines: list[str], until: int) -> int:
    """Return the line, from 1, on which the statement begins that breaks off: all before it is TOML."""
    for count in range(until - 1, max(-1, until - _LOOKED_BACK), -1):
        try:
            tomllib.loads("\n".join(lines[:count]))
        except (ValueError, RecursionError):
            continue
        begins = count
        while begins < until - 1 and (not lines[begins].strip() or lines[begins].lstrip().startswith("#")):
            begins += 1
        return begins + 1
    return until


def _twice(text: str, lines: list[str], line: int, reason: str) -> tuple[str, str]:
    """Tell which key or table stands there a second time, and where it stands first."""
    here = lines[line - 1]
    if inline := re.search(r"inline table key '(.+)'", reason):
        return f"line {line}: {inline[1]} stands twice in one table: {here.strip()[:60]!r}", "keep one of the two"
    key, header = _KEY.match(here), _HEADER.match(here)
    name = key[1] if key else header[1] if header else here.strip()[:60]
    first = next((n for n, each in enumerate(lines[: line - 1], 1) if _same(each, key, header)), 0)
    if not first and header:
        first = line_of(text, [part.strip(" \"'") for part in header[1].strip("[]").split(".")])
    told = f", first on line {first}" if 0 < first < line else ""
    return f"line {line}: {name} stands there a second time{told}", f"keep one of the two and take the other out of line {line}"


def _same(other: str, key: re.Match[str] | None, header: re.Match[str] | None) -> bool:
    mine, pattern = (key, _KEY) if key else (header, _HEADER)
    found = pattern.match(other)
    return mine is not None and found is not None and found[1] == mine[1]


def _strange(line: str) -> str:
    """Return the first character of a line that looks like another one, or like none, outside of texts and comments."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"' r"|'[^']*'|#.*", "", line)
    return next((sign for sign in bare if not sign.isascii() and (sign in _QUOTES or not sign.isalnum())), "")


def _named(sign: str) -> str:
    shown = f"{sign} " if sign.isprintable() and not sign.isspace() else ""
    return f"{shown}(U+{ord(sign):04X}, {unicodedata.name(sign, 'a control character').lower()})"
