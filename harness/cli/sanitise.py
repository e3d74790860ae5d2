"""Makes text that came from agents safe to show: nothing in it can move the cursor, colour, retitle, link or reorder text."""

from __future__ import annotations

import re

_TERMINATED = r"[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # no introducer inside: matching stays linear
# Whole sequences first, so that their printable bodies (`31m`, a title, a link) go with them.
_SEQUENCES = re.compile(
    rf"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_TERMINATED}"  # OSC, DCS, SOS, PM, APC up to their terminator
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[ -/]*[0-~]"  # two-character and nF escapes
)
# C0 but tab and newline, DEL, C1, bidi embeddings/overrides/isolates and marks, line and paragraph separators, BOM, interlinear
# annotation, tag characters, and lone surrogates (which cannot be written at all).
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def sanitise(text: object) -> str:
    """Return ``text`` without control and escape sequences; tabs and newlines stay, a CR before a newline goes."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", str(text).replace("\r\n", "\n")))


def one_line(text: object, limit: int | None = None) -> str:
    """Return `sanitise` of ``text`` on one line, white space joined, cut to ``limit`` characters with an ellipsis."""
    line = " ".join(sanitise(text).split())
    return line if limit is None or len(line) <= limit else line[: max(0, limit - 1)] + "…"


# What programs write to begin a line anew beside a carriage return: the cursor goes to the first column, or the line is erased.
_ANEW = re.compile(r"\x1b\[[01]?G|\x1b\[2K")


def last_state(line: str) -> str:
    """Return what a line shows in the end that was written over and over, as progress bars are; made safe as by `sanitise`."""
    states = _states(line)
    shown = (sanitise(_rubbed_out(state)) for state in reversed(states))
    return next((state for state in shown if state.strip()), "") if len(states) > 1 else next(shown)


def _states(line: str) -> list[str]:
    return _ANEW.sub("\r", line).split("\r") if "\x1b[" in line else line.split("\r")


def _rubbed_out(state: str) -> str:
    """Take out what backspaces step back over, as spinners do."""
    if "\b" not in state:
        return state
    left: list[str] = []
    for sign in state:
        if sign != "\b":
            left.append(sign)
        elif left:
            left.pop()
    return "".join(left)


class StreamSanitiser:
    """`sanitise` for a stream of bytes cut anywhere: whole lines come out, each in its last state; the rest waits.

    A line longer than ``longest`` characters comes out in pieces, and of one that is written over and over only the last states
    are kept: an agent cannot make the reader's memory grow.
    """

    def __init__(self, longest: int = 65536) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._told = ""
        self._longest = longest

    def feed(self, data: bytes) -> str:
        """Take more bytes and return the lines that are ready."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        text = "".join(self._ended(line) for line in lines)
        states = _states(self._rest)
        if len(states) > 2:
            # the last state may be empty still, or cut inside a sequence: the one before it is what is seen
            before = next((state for state in reversed(states[:-1]) if sanitise(state).strip()), "")
            self._rest = f"{before}\r{states[-1]}"
        if len(self._rest) > self._longest:
            text += last_state(self._rest)
            self._rest = ""
        return text

    def state(self) -> str:
        """Return the line that is being written over and over as it stands now; "" where it is none, or was told already."""
        if "\r" not in self._rest and "\b" not in self._rest:
            return ""
        shown = last_state(self._rest)
        if not shown.strip() or shown == self._told:
            return ""
        self._told = shown
        return f"{shown}\n"

    def close(self) -> str:
        """Return what was left over at the end of the stream."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        shown = last_state(rest)
        return "" if shown == self._told else shown

    def _ended(self, line: str) -> str:
        shown, told = last_state(line.removesuffix("\r")), self._told
        self._told = ""
        return "" if told and shown == told else f"{shown}\n"
