"""A display that is full or missing: commands × streams. The work goes on; what cannot be said is one line where one is left."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.output import Output
from harness.cli.progress import Progress, Row
from harness.session.journal import Journal
from harness.spec.event import EventKind, payload_of
from harness.spec.outcome import RunState
from harness.store.run_dir import RunDir
from tests.unit.cli.conftest import spec_of

# Each command in a fork of one process, with descriptors 0, 1 and 2 as the case says: a file, "full", or closed.
DRIVER = """
import json, os, sys
from harness.cli.main import main
cases, folder = json.loads(sys.argv[1]), sys.argv[2]
for command in {tuple(case["command"]) for case in cases}:  # its modules, once for all forks
    sys.stdout = sys.stderr = open(os.devnull, "w")
    main(command)
sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
for number, case in enumerate(cases):
    child = os.fork()
    if not child:
        for descriptor, state in enumerate(case["streams"]):
            if state == "closed":
                os.close(descriptor)
                continue
            path = {"full": "/dev/full", "null": "/dev/null"}.get(state, f"{folder}/{number}-{descriptor}")
            opened = os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        code = 99
        try:
            code = main(case["command"])
            for stream in (sys.stdout, sys.stderr):  # as Python does at its end, where a failure changes the exit code
                stream.flush()
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
STATES = {
    "all well": ("null", "file", "file"),
    "stdout on a full disk": ("null", "full", "file"),
    "stdout closed": ("null", "closed", "file"),
    "stderr on a full disk": ("null", "file", "full"),
    "stderr closed": ("null", "file", "closed"),
    "stdin closed": ("closed", "file", "file"),
    "stdout and stderr on a full disk": ("null", "full", "full"),
    "all closed": ("closed", "closed", "closed"),
}
COMMANDS = (
    "--help", "--version", "tasks list --json", "config show", "status", "status --json", "show RUN", "logs RUN",
    "logs RUN --json", "logs RUN --agent", "report", "items RUN", "completion bash", "rm RUN", "status nobody",
    "status nobody --json", "nonsense",
)  # fmt: skip
LOST = "error: standard output takes nothing ("


@pytest.fixture
def table(home: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], tuple[int, str, str]]:
    """(command, state of the streams) → exit code and what was written."""
    monkeypatch.setenv("DOJO_HOME", str(tmp_path / "results"))
    monkeypatch.setenv("DOJO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    written = tmp_path / "written"
    written.mkdir()
    names = [(command, state) for command in COMMANDS for state in STATES]
    cases = [{"command": command.replace("RUN", home[0]).split(), "streams": STATES[state]} for command, state in names]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(cases), str(written)], capture_output=True, text=True, check=True
    )
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) == len(names), done.stderr

    def said(number: int, descriptor: int) -> str:
        path = written / f"{number}-{descriptor}"
        return path.read_text() if path.exists() else ""

    return {name: (codes[n], said(n, 1), said(n, 2)) for n, name in enumerate(names)}


def test_every_command_bears_every_state_of_its_streams(table: dict[tuple[str, str], tuple[int, str, str]]) -> None:
    wrong: list[Any] = []
    for (command, state), (code, out, err) in table.items():
        usual_code, usual_out, usual_err = table[command, "all well"]
        assert usual_code in (0, 1, 2, 3) and "itself failed" not in usual_err, (command, usual_code, usual_err)
        _, stdout, stderr = STATES[state]
        loses = stdout != "file" and bool(usual_out)
        right = code == (usual_code or 3 if loses else usual_code)
        if stdout == "file":
            right = right and len(out.splitlines()) == len(usual_out.splitlines())
        if stderr == "file":
            right = right and err.count(LOST) == loses and len(err.splitlines()) == len(usual_err.splitlines()) + loses
        if not right:
            wrong.append((command, state, code, out[:200], err[-300:]))
    assert not wrong, "\n".join(map(str, wrong))


class Broken(io.StringIO):
    """A stream whose disk is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def full_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "stderr", Broken())
    yield


def test_a_batchs_progress_that_cannot_be_shown_stops_nothing(full_stderr: None, tmp_path: Path) -> None:
    spec = spec_of(0, "base", 0)
    run = RunDir.create(tmp_path / spec.id, spec)
    rows: list[list[Row]] = []
    with Progress([Row(spec.id, "base", 60)], Output(), quiet_s=0.01, moved=rows.append) as progress:
        journal = Journal(run, lambda state: None, progress.on_event)
        journal.enter(RunState.PREPARING)
        journal.enter(RunState.RUNNING)
    assert progress.rows()[0].state == "running" and len(rows) == 3


def test_who_listens_to_a_run_and_fails_does_not_stop_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: str, event: Any) -> None:
        raise OSError(5, "Input/output error")

    spec = spec_of(0, "base", 0)
    journal = Journal(RunDir.create(tmp_path / spec.id, spec), lambda state: None, broken)
    journal.emit(payload_of(EventKind.NOTE, {"text": "x"}))
    assert [event.kind for event in journal.run.events()] == [EventKind.NOTE]
    assert "the run goes on" in caplog.text
