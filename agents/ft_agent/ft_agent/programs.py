"""Data programs: a pure function from rows to rows, written by a language model, run in a confined child and believed in nothing.

A program defines ``transform(rows)``: rows are dicts with the texts ``id``, ``prompt``, ``answer``, ``rationale``, ``slice``. It
returns or yields the rows to keep, changed or not, in order; a row that is kept keeps its id, a new one has none.

The child has its own process group, limits on CPU, memory, files and processes, no network, no keys in its environment, and sees
no held-out row. A program is tried on a few rows, then on all; every row it changed or made is checked.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import IO, Any

from reading.rows import Row

from ft_agent.data import Context, Maker, RecipeError, is_barred, row_id
from ft_agent.rowchecks import Bad, Lengths, Sifted, shown, sift, summary

TRIED_ROWS = 50
# Shown to the author for one repair; more would only repeat themselves.
FIRST_BAD = 5
# A dead child's pipes are empty in no time.
PIPE_S = 10.0
# Characters of what a program that broke off printed last.
LAST_WORDS = 300
# A program may make so many rows for each it is given, and so many beside.
MOST_TIMES, MOST_PLUS = 4, 200
# A saved program meets other rows than it was tried on; a larger share of bad ones is its fault.
BAD_SHARE = 0.05
_FIELDS = ("prompt", "answer", "rationale", "slice")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_CHILD = Path(__file__).with_name("program_child.py")


@dataclass(frozen=True)
class Limits:
    """What one program may use. ``wall_s`` is roomy: on a busy machine the CPU limit is the one that says something."""

    cpu_s: int = 20
    wall_s: float = 120.0
    memory_mb: int = 1024
    output_mb: int = 256


@dataclass(frozen=True)
class Trial:
    """What came of trying a program.

    Attributes:
        ok: it may be used.
        problems: what is wrong, in words its author can act on.
        first_bad: the first rows that show it.
        rows_out: what it made of all rows (of the tried ones where those were bad).
        seconds: how long it ran.
        walls: what confined it (`ft_agent.confinement.confine`).
    """

    ok: bool
    problems: tuple[str, ...] = ()
    first_bad: tuple[Bad, ...] = ()
    rows_out: tuple[Row, ...] = ()
    seconds: float = 0.0
    walls: tuple[str, ...] = ()


class ProgramFailed(RecipeError):
    """A program did not return rows. ``row`` is the one it was working on, where that is known."""

    def __init__(self, message: str, row: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class _Ran:
    lines: list[Any]
    walls: tuple[str, ...]
    seconds: float = 0.0


class Workshop:
    """Where programs are tried, kept and run."""

    def __init__(self, folder: Path, *, lengths: Lengths | None = None, limits: Limits | None = None) -> None:
        self.folder, self.lengths, self.limits = folder, lengths or Lengths(), limits or Limits()

    def try_out(self, code: str, rows: Sequence[Row], context: Context) -> Trial:
        """Run a program on a few rows, then on all, and check every row it changed or made. Held-out rows are not shown to it."""
        rows = free_rows(rows, context)
        if not rows:
            return Trial(False, ("there is no row to try it on",))
        few = sorted(Random(context.seed).sample(range(len(rows)), min(TRIED_ROWS, len(rows))))
        trial = self._tried(code, [rows[i] for i in few], context)
        return self._tried(code, rows, context) if trial.ok and len(few) < len(rows) else trial

    def save(self, name: str, code: str) -> Path:
        """Keep a program under a name.

        Raises:
            ValueError: the name is no name, or another program has it.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a program; take lower-case letters, digits and _, 41 at most")
        path = self.folder / f"{name}.py"
        if path.exists() and path.read_text(encoding="utf-8") != code:
            raise ValueError(f"there is another program {name!r} already; take another name")
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(code, encoding="utf-8")
        part.replace(path)
        return path

    def names(self) -> list[str]:
        """Return the names of the programs kept."""
        return sorted(p.stem for p in self.folder.glob("*.py"))

    def code(self, name: str) -> str:
        """Return a kept program.

        Raises:
            RecipeError: there is none of that name.
        """
        if name not in self.names():
            raise RecipeError(f"there is no program {name!r}; there are {', '.join(self.names()) or 'none'}")
        return (self.folder / f"{name}.py").read_text(encoding="utf-8")

    def maker(self) -> Maker:
        """Return the data operation ``program {name}``: it runs a kept program; the few bad rows it makes are left out."""

        def program(rows: list[Row], args: dict[str, Any], context: Context) -> list[Row]:
            name = str(args.get("name", ""))
            given = free_rows(rows, context)
            made, _ = self.run(self.code(name), given, seed=context.seed, name=name)
            found = self._sifted(made, given, context)
            if len(found.bad) > BAD_SHARE * len(made):
                raise RecipeError(f"program {name!r} makes too many bad rows: {summary(found.bad, len(made))[0]}")
            return found.good

        return program

    def run(self, code: str, rows: Sequence[Row], *, seed: int = 0, name: str = "trial") -> tuple[list[Row], _Ran]:
        """Run a program on rows; no check but that rows came back.

        Raises:
            ProgramFailed: it broke off, ran out of a limit, or returned something else than rows.
        """
        ran = _run_child(code, [shown(r) for r in rows], seed, self.limits)
        return _read(ran.lines, rows, name), ran

    def _tried(self, code: str, rows: Sequence[Row], context: Context) -> Trial:
        on = f"on {len(rows)} rows"
        try:
            made, ran = self.run(code, rows, seed=context.seed)
        except ProgramFailed as exc:
            return Trial(False, (f"{on}: {exc}",), (Bad(exc.row, str(exc)),) if exc.row else ())
        if not made:
            return Trial(False, (f"{on}: it returned no row; return the rows to keep",), (), (), ran.seconds, ran.walls)
        found = self._sifted(made, rows, context)
        problems = tuple(summary(found.bad, len(made)))
        return Trial(not problems, problems, tuple(found.bad[:FIRST_BAD]), tuple(made), ran.seconds, ran.walls)

    def _sifted(self, made: list[Row], given: Sequence[Row], context: Context) -> Sifted:
        before = {row_id(r): r for r in given}
        return sift(made, context, self.lengths, before=before, known=[r.prompt for r in given])


def free_rows(rows: Sequence[Row], context: Context) -> list[Row]:
    """Return the rows that training may contain: without what is held out."""
    return [r for r in rows if not is_barred(r.prompt, context)]


def _run_child(code: str, rows: Sequence[Mapping[str, Any]], seed: int, limits: Limits) -> _Ran:
    begun = time.monotonic()
    most = MOST_TIMES * len(rows) + MOST_PLUS
    job = {"code": code, "seed": seed, "cpu_s": limits.cpu_s, "memory_mb": limits.memory_mb, "most": most}
    with tempfile.TemporaryFile() as source:
        for line in (job, *rows):
            source.write(json.dumps(line).encode() + b"\n")
        source.seek(0)
        # -P -s with an environment of our own is what -I does, but for the hash seed: sets must come in the same order each time
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-B", str(_CHILD)],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,
        )
    assert process.stdout is not None and process.stderr is not None
    said, noise = _Pipe(process, process.stdout, limits.output_mb << 20), _Pipe(process, process.stderr, limits.output_mb << 20)
    late = False
    try:
        process.wait(limits.wall_s)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        _kill_group(process)
        process.wait()
    # whatever might still hold a pipe is not waited for
    said.join(PIPE_S)
    noise.join(PIPE_S)
    if said.too_much or noise.too_much:
        raise ProgramFailed(f"it wrote more than {limits.output_mb} MB")
    if late:
        raise ProgramFailed(f"it ran for more than {limits.wall_s:.0f} s and was stopped")
    last_words = bytes(noise.data[-LAST_WORDS:]).decode(errors="replace").strip()
    ran = _understood(bytes(said.data), process.returncode, last_words, most, limits)
    return replace(ran, seconds=time.monotonic() - begun)


def _understood(data: bytes, code: int, last_words: str, most: int, limits: Limits) -> _Ran:
    """Take the child's lines apart; what a program can have tampered with is as good as anything else it says."""
    lines: list[Any] = []
    walls: tuple[str, ...] = ()
    for raw in data.split(b"\n"):
        if not raw:
            continue
        try:
            line = json.loads(raw)
            kind, value = next(iter(line.items()))
        except (ValueError, AttributeError, StopIteration, RecursionError):
            raise ProgramFailed(f"it wrote garbage where rows were expected: {raw[:80]!r}") from None
        if kind == "walls":
            walls = tuple(map(str, value))
        elif kind == "error":
            raise ProgramFailed(f"it failed: {value}", line.get("row") if isinstance(line.get("row"), dict) else None)
        elif kind == "done":
            return _Ran(lines, walls)
        else:
            lines.append(value)
        if len(lines) > most:
            raise ProgramFailed(f"it returned more than {most} rows")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ProgramFailed(f"it used more than {limits.cpu_s} s of CPU time; is there an endless loop?")
    raise ProgramFailed(f"it ended (code {code}) before it had returned its rows" + (last_words and f"; it said: {last_words}"))


def _read(lines: Sequence[Any], rows: Sequence[Row], name: str) -> list[Row]:
    """Turn what was returned into rows: by id those that were given, the others new.

    Raises:
        ProgramFailed: something is no row, a field is no text, or an id is none of those given or comes twice.
    """
    given, seen = {row_id(r): r for r in rows}, set()
    made: list[Row] = []
    for line in lines:
        if not isinstance(line, dict):
            raise ProgramFailed(f"it returned {type(line).__name__} {str(line)[:60]!r} in place of a row; rows are dicts")
        wrong = next((f for f in ("id", *_FIELDS) if not isinstance(line.get(f, ""), str)), None)
        if wrong:
            raise ProgramFailed(f"field {wrong!r} is {type(line[wrong]).__name__} {str(line[wrong])[:60]!r}, expected text", line)
        key = line.get("id", "")
        if key and key not in given:
            raise ProgramFailed(f"id {key[:60]!r} is none of those given; keep a row's id, and leave it out of a new row", line)
        if key in seen:
            raise ProgramFailed(f"id {key[:60]!r} comes twice; leave it out of a new row", line)
        old = given.get(key) or Row("", "", "", "", f"program_{name}", len(made))
        if key:
            seen.add(key)
        prompt, value, rationale, part = (line.get(f, getattr(old, _ATTRIBUTES.get(f, f))) for f in _FIELDS)
        row = replace(old, prompt=prompt, value=value, rationale=rationale, slice=part)
        made.append(row if row == old and key else replace(row, made=row.made or "program"))
    return made


_ATTRIBUTES = {"answer": "value"}


class _Pipe(threading.Thread):
    """Reads a pipe to its end; more than ``most`` bytes end the process."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: IO[bytes], most: int) -> None:
        super().__init__(daemon=True)
        self.data, self.too_much = bytearray(), False
        self._process, self._pipe, self._most = process, pipe, most
        self.start()

    def run(self) -> None:
        """Read."""
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                if len(self.data) + len(chunk) > self._most:
                    self.too_much = True
                    _kill_group(self._process)
                    return
                self.data += chunk


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
