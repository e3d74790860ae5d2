"""What agents print cannot do anything to the terminal of whoever reads it."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.logs import _lines
from harness.cli.sanitise import StreamSanitiser, one_line, sanitise


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[31mred\x1b[0m b", "ared b"),  # CSI
        ("a\x9b31mred", "ared"),  # CSI in one C1 byte
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;title\x07x", "x"),  # OSC ended by BEL
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),  # OSC ended by ST
        ("\x9d52;c;aGk=\x9cclip", "clip"),  # OSC and ST in C1
        ("\x1bPq#0\x1b\\sixel", "sixel"),  # DCS
        ("\x1b_apc\x1b\\a\x1b^pm\x1b\\b\x1bXsos\x1b\\c", "abc"),
        ("\x1bcreset", "reset"),
        ("\x1b(0charset", "charset"),
        ("over\rwritten", "overwritten"),
        ("bell\x07 back\x08space null\x00", "bell backspace null"),
        ("\u202egnp.exe\u202c", "gnp.exe"),  # bidi override
        ("\u2066isolate\u2069 \u200fmark", "isolate mark"),
        ("unterminated \x1b]0;title", "unterminated 0;title"),
        ("cut \x1b[31", "cut 31"),
        ("cut \x1b", "cut "),
        ("tag\U000e0041", "tag"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("line\r\nnext\tcell", "line\nnext\tcell"),
        ("Grüße 你好 e\u0301", "Grüße 你好 e\u0301"),
    ],
)
def test_sequences_go_and_text_stays(hostile: str, shown: str) -> None:
    assert sanitise(hostile) == shown


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x9d[]PX^_;\\\x07\x9c0mA"))))
def test_nothing_that_controls_a_terminal_is_ever_left(text: str) -> None:
    left = {c for c in sanitise(text) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert left <= {"\t", "\n"}
    assert not set(sanitise(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


@pytest.mark.parametrize("unit", ["\x1b]", "\x9d", "\x9b", "\x9b0", "\x1b[ ", " ", "\x1bP"])
def test_a_long_hostile_text_takes_no_longer_than_its_length(unit: str) -> None:
    started = time.process_time()
    one_line(unit * 200_000)
    assert time.process_time() - started < 2.0  # quadratic matching would take minutes


def test_one_line_joins_and_cuts() -> None:
    assert one_line("  a\n\tb  c ") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


def test_a_stream_cut_inside_a_sequence_and_a_character_is_shown_as_if_whole() -> None:
    data = "one \x1b[31mred\x1b[0m\nzwei ü\x1b]0;t\x07!\nrest".encode()
    for cut in range(len(data)):
        stream = StreamSanitiser()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.close() == "one red\nzwei ü!\nrest"


def test_a_stream_without_line_ends_does_not_pile_up() -> None:
    stream = StreamSanitiser(longest=100)
    out = "".join(stream.feed(b"x" * 60) for _ in range(100))
    assert len(out) >= 60 * 100 - 160
    assert len(out + stream.close()) == 6000


PROGRESS = {
    "tqdm": ("".join(f"\rtrain: {n}%|#" for n in range(0, 101, 10)) + "\n", "train: 100%|#\n"),
    "tqdm that leaves no bar": ("\r 50%\r100%\r      \rdone\n", "done\n"),
    "a bar that is wiped": ("\r 50%\r100%\r      \r\n", "100%\n"),
    "line ends of Windows": ("one\r\ntwo\r\n", "one\ntwo\n"),
    "wget": ("0K 10%\r0K 90%\r\nsaved\n", "0K 90%\nsaved\n"),
    "pip: the cursor to the first column": ("\x1b[1G 1 MB\x1b[1G 2 MB\n", " 2 MB\n"),
    "npm: the line erased": ("\x1b[2K\x1b[G|idle\x1b[2K\x1b[G/work\n", "/work\n"),
    "a spinner with backspaces": ("work |\b/\b-\b\\\bdone\n", "work done\n"),
    "colours in a bar": ("\r\x1b[31m10%\x1b[0m\r\x1b[32m99%\x1b[0m\n", "99%\n"),
    "a shorter state": ("\rlong long\rshort\n", "short\n"),
    "an empty line": ("a\n\nb\n", "a\n\nb\n"),
    "blanks": ("  \n", "  \n"),
    "more backspaces than text": ("a\b\b\bb\n", "b\n"),
    "a bar without its end": ("\r1\r2", "2"),
    "an attack in a bar": ("\r\x1b]0;title\x07\x1b[2J\u202e1\r\x9b31m2\x1b[A\n", "2\n"),
}


@pytest.mark.parametrize(("said", "shown"), PROGRESS.values(), ids=PROGRESS)
def test_of_a_line_that_is_written_over_and_over_the_last_state_comes_out_wherever_the_stream_is_cut(
    said: str, shown: str
) -> None:
    data = said.encode()
    for cut in range(len(data) + 1):
        stream = StreamSanitiser()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.close() == shown


def test_the_states_of_a_bar_are_told_at_most_once_a_second_and_its_end_at_once() -> None:
    clock, said = [0.0], []

    def pieces() -> Iterator[bytes]:
        for n in range(100):  # ten a second, for ten seconds
            yield b"\r%d %%" % n
            clock[0] += 0.1
        yield b"\r100 %\nafter\n"

    said = list(_lines(pieces(), states=True, clock=lambda: clock[0]))
    assert said[0] == "0 %\n" and said[-1] == "100 %\nafter\n" and 10 <= len(said) <= 12
    assert list(_lines(pieces(), clock=lambda: clock[0])) == ["100 %\nafter\n"]


def test_the_last_state_before_a_pause_is_told_although_nothing_new_comes_and_never_twice() -> None:
    clock = [0.0]

    def pieces() -> Iterator[bytes]:
        for piece in (b"\r10 %", b"\r20 %", b"", b"", b"", b"", b"", b"\n"):
            yield piece
            clock[0] += 0.3

    assert list(_lines(pieces(), states=True, clock=lambda: clock[0])) == ["10 %\n", "20 %\n"]


def test_a_bar_of_a_day_does_not_pile_up() -> None:
    stream = StreamSanitiser(longest=1000)
    for n in range(5000):
        assert stream.feed(b"\r" + b"#" * 300 + b"%d" % n) == ""
    assert len(stream._rest) < 1000 and stream.state().endswith("#4999\n")


def test_a_line_that_only_grows_is_told_when_it_ends() -> None:
    assert list(_lines(iter([b"Epoch 1 .", b".", b"", b".\n"]), states=True)) == ["Epoch 1 ...\n"]
