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


class StreamSanitiser:
    """`sanitise` for a stream of bytes cut anywhere: whole lines come out, what is incomplete waits for the rest.

    A line longer than ``longest`` characters comes out in pieces: an agent cannot make the reader's memory grow.
    """

    def __init__(self, longest: int = 65536) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._longest = longest

    def feed(self, data: bytes) -> str:
        """Take more bytes and return the text that is ready."""
        text = self._rest + self._decoder.decode(data)
        cut = text.rfind("\n") + 1
        if len(text) - cut > self._longest:
            cut = len(text)
        self._rest = text[cut:]
        return sanitise(text[:cut])

    def close(self) -> str:
        """Return what was left over at the end of the stream."""
        text, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return sanitise(text)
