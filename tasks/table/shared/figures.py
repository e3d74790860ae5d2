"""What a model's plotting code draws: run in a locked child process, read from the figure's artists, compared here.

The child (`figure_child`) sees the code and ``table.csv`` and nothing of the reference, which stays here.
Its standard output goes nowhere; only one strict JSON line of drawn numbers on a pipe of its own counts, and only from a process
that ended normally in time.
"""

from __future__ import annotations

import functools
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.spec.errors import GraderFailure
from harness.taskkit.scoring import lockdown
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

from .figure_child import MAX_SERIES, READY

LIMIT_S = 10.0
TOLERANCE = 0.01
# Importing the plotting libraries, which happens before the code's time starts.
_START_S = 120.0
_MAX_REPORT = 8 * 1024 * 1024
# What the child imports by itself: taskkit from the folder that holds `harness`, and the file beside this one.
_CODE, _CHILD = Path(lockdown.__file__).resolve().parents[3], Path(__file__).resolve().with_name("figure_child.py")
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_ENTRY = """
import importlib.util, sys
sys.path.insert(0, {code!r})
spec = importlib.util.spec_from_file_location("figure_child", {child!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child.main(*{args!r})
"""


@dataclass(frozen=True)
class Series:
    """One drawn series.

    Attributes:
        axes: number of the axes it was drawn in.
        kind: ``bar``, ``line``, ``radar`` (a line on polar axes), ``scatter``, ``pie``, ``area`` or ``steps``.
        values: heights, y values or shares in drawn order; not a number where something unreadable was drawn.
    """

    axes: int
    kind: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Drawing:
    """What became of a piece of code: ``error`` is None where it ended normally in time."""

    series: tuple[Series, ...]
    error: str | None


@functools.lru_cache(maxsize=4096)
def draw(code: str, table_csv: str, limit_s: float = LIMIT_S) -> Drawing:
    """Run ``code`` beside ``table.csv`` in a child process without network, files, other processes; return what it drew.

    Raises:
        GraderFailure: the child cannot be made or locked here (no matplotlib, no Landlock); that is never a score.
    """
    own = os.path.realpath(tempfile.mkdtemp(prefix="dojo-figure-"))
    try:
        Path(own, "table.csv").write_text(table_csv, encoding="utf-8", newline="")
        near, far = os.pipe()
        try:
            child = _start(far, own)
        except OSError as exc:
            os.close(near)
            raise GraderFailure(f"no process for a model's code: {exc}", hint="is the process limit too low?") from exc
        finally:
            os.close(far)
        try:
            return _follow(child, near, code.encode("utf-8", "replace"), limit_s)
        finally:
            os.close(near)
            _end(child)
    finally:
        _remove(own)


def same_series(drawn: Sequence[Series], reference: Sequence[Sequence[float]]) -> bool:
    """Whether exactly the reference's series were drawn: in any order, each with its values in order, within 0.01.

    A pie shows shares, so it is compared with the reference's shares. Bars drawn one call each are one series of their axes.
    """
    return any(_match(list(found), reference) for found in (drawn, _joined(drawn)))


def _match(drawn: list[Series], reference: Sequence[Sequence[float]]) -> bool:
    if len(drawn) != len(reference):
        return False
    for wanted in reference:
        place = next((n for n, found in enumerate(drawn) if _equal(found, wanted)), None)
        if place is None:
            return False
        del drawn[place]
    return True


def _equal(found: Series, wanted: Sequence[float]) -> bool:
    if found.kind == "pie":
        total = math.fsum(wanted)
        wanted = [value / total for value in wanted] if total else wanted
    values = found.values
    if found.kind == "radar" and len(values) == len(wanted) + 1 and values[0] == values[-1]:
        values = values[:-1]  # the curve closes where it began; that is no further value
    # A hair more than the tolerance, so that a difference of exactly 0.01 counts as within it in binary fractions too.
    return len(values) == len(wanted) and all(
        abs(f - w) <= TOLERANCE * (1 + 1e-9) + 1e-12 * abs(w) for f, w in zip(values, wanted, strict=True)
    )


def _joined(drawn: Sequence[Series]) -> list[Series]:
    bars = [s for s in drawn if s.kind == "bar"]
    joined = [s for s in drawn if s.kind != "bar"]
    for axes in dict.fromkeys(s.axes for s in bars):
        own = [s for s in bars if s.axes == axes]
        if len(own) > 1 and all(len(s.values) == 1 for s in own):
            own = [Series(axes, "bar", tuple(s.values[0] for s in own))]
        joined += own
    return joined


def _remove(own: str) -> None:
    """Remove what the code left: it may have made folders that are closed, or thousands of levels deep."""
    try:
        shutil.rmtree(own)
    except (OSError, RecursionError):
        # programs that walk without recursion and by descriptors, so no name is too long for them
        for argv in (["chmod", "-R", "u+rwx", own], ["rm", "-rf", own]):
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _start(result: int, own: str) -> subprocess.Popen[bytes]:
    libraries = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *_SYSTEM, *_DEVICES} - {"", "/"}
    entry = _ENTRY.format(code=str(_CODE), child=str(_CHILD), args=(result, own, sorted(libraries)))
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-W", "ignore", "-c", entry],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(result,),
        cwd=own,
        env=_environment(own),
        start_new_session=True,
    )


def _environment(own: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": own,
        "TMPDIR": own,
        "MPLCONFIGDIR": _font_cache(),
        "MPLBACKEND": "Agg",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@functools.cache
def _font_cache() -> str:
    """A folder where children keep the list of fonts, so that it is made once; once locked they cannot reach it."""
    folder = tempfile.TemporaryDirectory(prefix="dojo-fonts-")
    _FONT_FOLDERS.append(folder)
    return folder.name


_FONT_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _follow(child: subprocess.Popen[bytes], result: int, code: bytes, limit_s: float) -> Drawing:
    report, ready_at = b"", None
    deadline = time.monotonic() + _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(result, selectors.EVENT_READ)
        assert child.stdin is not None
        try:
            child.stdin.write(code)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it died early; the report says so
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                break
            part = os.read(result, 65536)
            report += part
            if ready_at is None and report.startswith(READY):
                ready_at = time.monotonic()
                deadline = ready_at + limit_s
            if not part or len(report) > _MAX_REPORT:
                break
    if ready_at is None:
        raise GraderFailure(
            f"a model's code cannot be run here: {_reason(report)}",
            hint="it needs matplotlib, pandas and a kernel with Landlock (Linux 5.13 or newer)",
        )
    if len(report) > _MAX_REPORT:
        return Drawing((), "too much was drawn")
    try:
        status = child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return Drawing((), f"not done within {limit_s:g} s")
    if status != 0:
        return Drawing((), f"ended with {status}")
    return _read_report(report.removeprefix(READY))


def _reason(report: bytes) -> str:
    try:
        document = strict_json(report, max_bytes=_MAX_REPORT)
    except StrictJsonError:
        return "the process ended before it was ready"
    return str(document.get("broken")) if isinstance(document, dict) else "the process made no sense"


def _read_report(report: bytes) -> Drawing:
    """Believe nothing but the one form that the child writes."""
    try:
        document = strict_json(report, max_bytes=_MAX_REPORT)
    except StrictJsonError:
        return Drawing((), "no figure was handed over")
    if isinstance(document, dict) and set(document) == {"error"} and isinstance(document["error"], str):
        return Drawing((), document["error"][:200])
    rows = document.get("series") if isinstance(document, dict) and set(document) == {"series"} else None
    if not isinstance(rows, list) or len(rows) > MAX_SERIES:
        return Drawing((), "no figure was handed over")
    found = []
    for row in rows:
        if not (isinstance(row, dict) and set(row) == {"axes", "kind", "values"} and isinstance(row["values"], list)):
            return Drawing((), "no figure was handed over")
        values = tuple(float(v) if type(v) in (int, float) else math.nan for v in row["values"])
        found.append(Series(int(row["axes"]) if type(row["axes"]) is int else -1, str(row["kind"]), values))
    return Drawing(tuple(found), None)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
