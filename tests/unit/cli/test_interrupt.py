"""Ctrl-C: what it says at once, that it says it whatever the program is doing, and that the second one leaves at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from harness.cli.interrupt import Interrupt, goes_on
from harness.cli.output import Output
from harness.cli.progress import Progress, Row, rows_of_status
from harness.service import Dojo
from harness.spec import Event, EventKind
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def working(number: int, ends_in: float) -> Row:
    return Row(f"r{number}", f"search t/x seed {number}", 600.0, state="running", started=NOW - timedelta(seconds=600 - ends_in))


def clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"


def test_it_says_what_goes_on_until_when_and_how_to_go_on_or_stop_it() -> None:
    said = goes_on([working(0, 60), working(1, 120), Row("r2", "base t/x seed 0", 600.0)], "b1", NOW).splitlines()
    last = clock(NOW + timedelta(seconds=120))
    assert said[0] == f"2 agents go on working in their sandboxes until the budget is over, at {last} at the latest:"
    assert said[1] == f"  search t/x seed 0: until {clock(NOW + timedelta(seconds=60))}"
    assert said[-2].startswith("  dojo resume b1 ") and said[-1] == "  dojo cancel b1   stops the agents now"


def test_the_date_stands_there_when_it_is_another_day() -> None:
    end = (NOW + timedelta(hours=30)).astimezone()
    assert f"{end:%Y-%m-%d %H:%M:%S}" in goes_on([working(0, 30 * 3600)], "b1", NOW)


def test_where_no_agent_works_that_is_said() -> None:
    said = goes_on([Row("r0", "base t/x seed 0", 600.0, state="grading")], "b1", NOW)
    assert said.startswith("No agent is working.") and "dojo resume b1" in said and "ends the batch for good" in said


def test_many_agents_are_not_all_listed() -> None:
    assert "  and 12 more" in goes_on([working(number, 60) for number in range(20)], "b1", NOW)


def test_what_it_says_follows_the_runs() -> None:
    heard: list[list[Row]] = []
    with Progress([Row("r0", "base t/x seed 0", 600.0)], Output(), moved=heard.append) as progress:
        assert len(heard) == 1
        for kind, data in (
            (EventKind.STATE, {"state": "running"}),
            (EventKind.CLOCK_STARTED, {}),
            (EventKind.NOTE, {"text": "x"}),
        ):
            progress.on_event("r0", Event(seq=0, kind=kind, data=data, time=NOW))
    assert len(heard) == 3  # a note moves nothing
    assert "1 agent goes on" in goes_on(heard[-1], "b1", NOW)


def test_an_agent_that_works_already_when_a_batch_is_resumed_is_counted(dojo_cli: Cli, home: list[str]) -> None:
    rows = rows_of_status(Dojo().status(BATCH))
    assert [row.id for row in rows if row.started] == [home[-1]]
    assert "search math/sums seed 0: until " in goes_on(rows, BATCH, datetime.now(UTC))


def test_it_is_said_at_once_by_the_signal_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        interrupt.prepare("one\ud800 line")
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.stop.wait(10)
    assert capfd.readouterr().err == "\nstopping: no new run starts. one? line\nCtrl-C once more leaves at once.\n"


def test_a_terminal_that_is_gone_keeps_nobody_from_stopping() -> None:
    program = (
        "import os, signal; from harness.cli.interrupt import Interrupt\n"
        "os.close(2)\n"
        "with Interrupt() as interrupt:\n"
        " os.kill(os.getpid(), signal.SIGTERM); assert interrupt.stop.wait(10); os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 130
