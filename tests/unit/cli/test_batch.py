"""Driving a batch: progress while it goes on, how it ends, and Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.cli.batch import drive
from harness.cli.output import Output
from harness.cli.progress import Progress, Row, advance, bar
from harness.cli.rows import exit_code
from harness.cli.watch import watched
from harness.spec import Event, EventKind
from harness.spec.errors import StoreError
from tests.unit.spec.feedback import feedback

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: EventKind, data: dict[str, Any] | None = None, elapsed_s: float = 0.0, seq: int = 0) -> Event:
    return Event(seq=seq, kind=kind, data=data or {}, elapsed_s=elapsed_s, time=NOW + timedelta(seconds=elapsed_s))


def evaluated(number: int, value: float) -> Event:
    return event(EventKind.EVALUATE, {"evaluation": number, "feedback": feedback(number, value)})


def row(state: str, cause: str | None, number: int = 0) -> dict[str, Any]:
    return {
        "id": f"r{number}", "agent": "a", "variant": "", "task": "t/x", "seed": 0, "state": state, "phase": state,
        "outcome": cause and {"cause": cause, "phase": "agent", "message": ""}, "score": None, "ci_low": None, "ci_high": None,
        "elapsed_s": 1.0, "budget": {"wall": {"limit": 60.0, "used": 1.0, "left": 59.0}}, "last_event": "", "dev_score": None,
        "evaluations": 0, "why": f"why {state}", "profile": "mini", "base_model": "smol", "metric": "accuracy",
        "hidden": "", "budget_words": "1m, 8 evaluations", "sandbox": "namespace", "backbone": "", "dojo_version": "0.1.0",
        "limit": None,
    }  # fmt: skip


class ScriptedDojo:
    """Only what `drive` asks a façade for; the real one is tried in test_looking.py and end to end."""

    def __init__(self, home: Path, rows: list[dict[str, Any]]) -> None:
        self.home, self.rows = home, rows
        (home / "batches" / "b1").mkdir(parents=True)

    def status(self, reference: str) -> dict[str, Any]:
        return {"batch": reference, "name": "", "runs": self.rows}

    def leaderboard(self, batch: str) -> dict[str, Any]:
        return {"rows": [], "overall": [], "references": {}, "left_out": [], "warnings": []}


def driven(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    run: Callable[[Any, threading.Event], None] = lambda on_event, stop: None,
    *,
    as_json: bool = True,
) -> int:
    dojo = ScriptedDojo(tmp_path, rows)

    def go(on_event: Any, stop: threading.Event) -> Any:
        run(on_event, stop)
        return dojo.status("b1")

    return drive(dojo, Output("dojo/submit/v1", as_json), "b1", [Row("r0", "a t/x seed 0", 60.0)], go)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([row("done", "completed"), row("done", "agent_error"), row("done", "agent_budget"), row("done", "agent_integrity")], 0),
        ([row("done", "completed"), row("cancelled", "cancelled")], 0),
        ([row("failed", "sandbox"), row("failed", "harness")], 1),
        ([row("failed", "grader")], 1),
        ([row("done", "completed"), row("failed", "grader")], 4),
        ([row("done", "completed"), row("done", "model_provider")], 4),
        ([], 0),
    ],
)
def test_the_exit_code_blames_the_agent_for_nothing_and_the_rest_for_what_it_did(rows: list[dict[str, Any]], code: int) -> None:
    assert exit_code(rows) == code


def test_a_batch_that_went_well_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert driven(tmp_path, [row("done", "completed")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert document["data"]["runs"][0]["outcome"]["cause"] == "completed"
    assert document["data"]["folder"].endswith("batches/b1/runs")


def test_runs_that_failed_are_an_error_with_the_rows_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert driven(tmp_path, [row("done", "completed"), row("failed", "grader", 1)]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["error"]["code"] == "runs_failed"
    assert "1 of 2 runs" in document["error"]["message"] and "dojo show r1" in document["error"]["hint"]
    assert len(document["data"]["runs"]) == 2


def test_an_error_that_stopped_some_runs_leaves_the_others_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(on_event: Any, stop: threading.Event) -> None:
        raise StoreError("disk full", hint="free some")

    assert driven(tmp_path, [row("done", "completed"), row("running", None, 1)], broken) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error == {"code": "store", "message": "disk full", "hint": "free some; then go on with `dojo resume b1`"}


def test_ctrl_c_leaves_the_batch_resumable_and_says_how(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupted(on_event: Any, stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)

    assert driven(tmp_path, [row("running", None), row("queued", None, 1)], interrupted, as_json=False) == 130
    captured = capfd.readouterr()
    assert "interrupted with 2 runs to go" in captured.err
    assert "dojo resume b1" in captured.err
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_leaves_at_once() -> None:
    program = (
        "import time; from harness.cli.interrupt import Interrupt\n"
        "with Interrupt() as interrupt:\n"
        " print('ready', flush=True); interrupt.stop.wait(); print('stopping', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_events_move_a_row() -> None:
    fresh = Row("r0", "name", 60.0)
    going = advance(advance(fresh, event(EventKind.STATE, {"state": "running"})), event(EventKind.CLOCK_STARTED))
    assert (going.state, going.started) == ("running", NOW)
    assert going.seconds(NOW + timedelta(seconds=5)) == 5
    for number, value in ((1, 0.5), (2, 0.25)):
        going = advance(going, evaluated(number, value))
    assert (going.dev, going.evaluations) == (0.5, 2)
    assert going.last == "dev evaluation 2: accuracy 0.250"
    stopped = advance(going, event(EventKind.CLOCK_STOPPED, elapsed_s=12.0))
    assert stopped.seconds(NOW + timedelta(hours=1)) == 12
    again = advance(stopped, event(EventKind.STATE, {"state": "queued", "attempt": 2}))
    assert (again.dev, again.evaluations, again.seconds(NOW)) == (None, 0, 0)


def test_a_clock_goes_on_where_a_run_is_taken_over() -> None:
    taken = advance(Row("r0", "name", 60.0, state="running", elapsed=30.0), event(EventKind.ATTACHED, {"state": "running"}))
    assert taken.seconds(NOW + timedelta(seconds=10)) == 40


def test_what_an_agent_notes_cannot_reach_the_display() -> None:
    noted = advance(Row("r0", "name", 60.0), event(EventKind.NOTE, {"text": "\x1b[2J\u202ex\nnew line"}))
    assert noted.last == "x new line"


def test_the_bar_is_full_and_no_longer_when_time_is_up() -> None:
    assert bar(30, 60).startswith("━" * 6 + "─" * 6 + " ")
    assert bar(999, 60).startswith("━" * 12 + " ")
    assert bar(5, 0) == "5s"


def test_without_a_terminal_changes_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress([Row("r0", "base t/x seed 0", 60.0)], Output()) as progress:
        progress.on_event("r0", event(EventKind.STATE, {"state": "running"}))
        progress.on_event("r0", evaluated(1, 0.5))
        progress.on_event("elsewhere", evaluated(1, 0.5))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition(" ")[2] for line in lines] == [
        "base t/x seed 0: → running",
        "base t/x seed 0: dev evaluation 1: accuracy 0.500",
    ]


class Heard(Output):
    """An output that says when the second line of a summary came."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.enough = threading.Event()

    def say(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) >= 4:
            self.enough.set()


def test_where_nothing_happens_a_line_comes_all_the_same() -> None:
    heard = Heard()
    rows = [Row("r0", "one", 60.0, state="running", elapsed=3.0, dev=0.5, evaluations=2), Row("r1", "two", 60.0)]
    with Progress(rows, heard, quiet_s=0.01):
        assert heard.enough.wait(20)
    assert heard.lines[0].endswith("1 running, 1 queued")
    assert heard.lines[1].endswith("one: running, 3s of 1m 00s, dev 0.500 after 2 evaluations")


LIVE = """
from harness.cli.output import Output
from harness.cli.progress import Progress, Row
from harness.spec import Event, EventKind
with Progress([Row("r0", "base t/x seed 0", 60.0)], Output()) as progress:
    progress.on_event("r0", Event(seq=0, kind=EventKind.STATE, data={"state": "preparing"}))
Output().line("after")
"""


def test_on_a_terminal_the_display_is_live_and_gives_the_cursor_back() -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environ.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, "-c", LIVE], stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(timeout=20) == 0
    os.close(ours)
    text = shown.decode()
    assert "preparing" in text and "base t/x seed 0" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.rstrip().endswith("after")


def test_watching_passes_on_what_is_new_and_stops_at_the_end() -> None:
    seen = iter(
        [
            {"runs": [{"state": "running", "elapsed_s": 1}]},
            {"runs": [{"state": "running", "elapsed_s": 2}]},
            {"runs": [{"state": "grading", "elapsed_s": 2}]},
            {"runs": [{"state": "done", "elapsed_s": 2}]},
            {"runs": [{"state": "never asked for"}]},
        ]
    )
    over = lambda value: value["runs"][0]["state"] == "done"  # noqa: E731
    shown = [value["runs"][0]["state"] for value in watched(lambda: next(seen), over, period_s=0.001)]
    assert shown == ["running", "grading", "done"]


def test_watching_says_something_each_minute_though_nothing_changes() -> None:
    looks = iter(range(100))
    shown = watched(lambda: {"elapsed_s": next(looks)}, lambda value: value["elapsed_s"] == 99, period_s=0.0001)
    assert len(list(shown)) == 2
    looks = iter(range(4))
    stop = threading.Event()
    stop.wait = lambda timeout=None: False  # type: ignore[method-assign]  # no waiting: the period is a minute here
    shown = watched(lambda: {"elapsed_s": next(looks)}, lambda value: value["elapsed_s"] == 3, stop=stop, period_s=60.0)
    assert len(list(shown)) == 4
