"""Attacks from a live sandbox on collecting: how long what an agent leaves can hold its run's end (row 38)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.sandbox.base import Sandbox
from harness.sandbox.contract.promise import LIMITS, PATIENCE_S, expect
from harness.session.collect import MB, WORKSPACE_CAPS, archived, collect, collect_readable, submission_caps
from harness.spec.errors import SubmissionRefused

# more than these bytes need not come for what may be kept
_ENOUGH_MB = WORKSPACE_CAPS.bytes / MB + 20
_LONG_S = 30.0
# A file of 20 GB of holes; thousands of files that are each small enough, and holes as well; and what people want to read.
_LEAVE = """
import os
def hole(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
hole("a-hole", 20 << 30)
os.makedirs("b")
for number in range(2000):
    hole(f"b/{number}", 8 << 20)
with open("c-mostly-holes", "wb") as file:
    for number in range(4000):
        file.seek(number << 21)
        file.write(b"x")
with open("report.md", "w") as file:
    file.write("done")
"""
# argv: its length, and how many bytes are in it.
_ONE_HOLE = """
import os, shutil, sys
size, pieces = int(sys.argv[1]), int(sys.argv[2])
shutil.rmtree("out", ignore_errors=True)
os.makedirs("out")
with open("out/weights", "wb") as file:
    for number in range(pieces):
        file.seek(number * (size // pieces))
        file.write(b"x")
    file.truncate(size)
"""


class _Counted:
    """The bytes of an archive as they come."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces, self._most, self.bytes = pieces, most, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            if self.bytes > self._most:
                raise NotStopped(f"more than {self._most / MB:.0f} MB came out of a workspace of holes")
            yield piece


def _leave(sandbox: Sandbox) -> None:
    expect(sandbox.exec(["python3", "-c", _LEAVE], timeout_s=PATIENCE_S).ok, "the holes")
    sandbox.kill_all()


def _collect(ground: Ground, sandbox: Sandbox, pieces: Iterator[bytes]) -> str:
    target, started = ground.folder() / "taken", time.monotonic()
    counted = _Counted(pieces, int(_ENOUGH_MB * MB))
    left_out = collect_readable(counted, target)
    took = time.monotonic() - started
    stopped(took < _LONG_S, f"it took {took:.0f} s")
    stopped((target / "report.md").is_file(), f"the report is not there: {left_out[-3:]}")
    return f"{counted.bytes / MB:.1f} MB came in {took:.1f} s, the report among them; {len(left_out)} things were left out"


def _collect_holes(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        _leave(sandbox)
        return _collect(ground, sandbox, archived(sandbox, "/workspace", WORKSPACE_CAPS))


def _collect_all_there_is(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        _leave(sandbox)
        return _collect(ground, sandbox, sandbox.archive("/workspace"))


def _hand_in_holes(ground: Ground) -> str:
    """Holes within the disk's size, and beyond it; what is whole passes."""
    said = []
    with ground.stage.new() as sandbox:
        for size, pieces in ((100 * MB, 0), (100 * MB, 40), (20_000 * MB, 0)):
            expect(sandbox.exec(["python3", "-c", _ONE_HOLE, str(size), str(pieces)], timeout_s=PATIENCE_S).ok, "the hole")
            said.append(_refused_quickly(ground, sandbox, {"sparse", "too_large"}))
        expect(sandbox.exec(["sh", "-c", "head -c 20000000 /dev/zero > out/weights"], timeout_s=PATIENCE_S).ok, "the file")
        caps = submission_caps(LIMITS)
        manifest = collect(archived(sandbox, "out", caps), ground.folder() / "whole", caps)
        expect(manifest.bytes == 20_000_000, manifest)
    return f"refused as {', '.join(said)}; 20 MB of zeros that were written pass"


def _refused_quickly(ground: Ground, sandbox: Sandbox, codes: set[str]) -> str:
    caps, started = submission_caps(LIMITS), time.monotonic()
    try:
        manifest = collect(archived(sandbox, "out", caps), ground.folder() / "taken", caps)
    except SubmissionRefused as exc:
        took = time.monotonic() - started
        stopped(exc.code in codes and took < _LONG_S, f"refused as {exc.code} after {took:.0f} s")
        return exc.code
    raise NotStopped(f"{manifest.bytes / MB:.0f} MB of holes were taken in, and lie on the harness's disk")


def _hand_in_holes_whole(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        expect(sandbox.exec(["python3", "-c", _ONE_HOLE, str(100 * MB), "0"], timeout_s=PATIENCE_S).ok, "the hole")
        manifest = collect(sandbox.archive("out"), ground.folder() / "taken", submission_caps(LIMITS))
        stopped(manifest.bytes < MB, f"{manifest.bytes / MB:.0f} MB of holes were taken in, and lie on the harness's disk")
        return "nothing"


def _collect_slowly(ground: Ground) -> str:
    """Real bytes, up to the disk's size, and a reader that is out of time."""
    with ground.stage.new() as sandbox:
        expect(sandbox.exec(["sh", "-c", "mkdir out; head -c 60000000 /dev/zero > out/w"], timeout_s=PATIENCE_S).ok, "the file")
        caps = replace(submission_caps(LIMITS), seconds=0.01)
        try:
            collect(archived(sandbox, "out", caps), ground.folder() / "taken", caps)
        except SubmissionRefused as exc:
            stopped(exc.code == "too_slow", f"refused as {exc.code}")
            return "after its time a copy is given up, whatever is left of it"
        raise NotStopped("it was copied to its end")


def _collect_as_slowly_as_it_may(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        expect(sandbox.exec(["sh", "-c", "mkdir out; head -c 60000000 /dev/zero > out/w"], timeout_s=PATIENCE_S).ok, "the file")
        manifest = collect(sandbox.archive("out"), ground.folder() / "taken", submission_caps(LIMITS))
        stopped(manifest.bytes == 0, "it was copied to its end")
        return "nothing"


ATTACKS = (
    Attack(
        38, "leaves-holes", Where.SANDBOX,
        "leave a sparse file of 20 GB, 2,000 of 8 MB and one of 4,000 pieces, to hold the run while its work is collected",
        "what is refused anyway is not sent",
        _collect_holes, _collect_all_there_is,
    ),
    Attack(
        38, "hands-in-holes", Where.SANDBOX,
        "hand in files of holes, as long as the disk and longer, empty and with a byte here and there",
        "what is mostly holes is refused, by its weight on the disk beside its length",
        _hand_in_holes, _hand_in_holes_whole,
    ),
    Attack(
        38, "is-copied-slowly", Where.SANDBOX,
        "have a copy go on for ever",
        "collecting has a deadline",
        _collect_slowly, _collect_as_slowly_as_it_may,
    ),
)  # fmt: skip
