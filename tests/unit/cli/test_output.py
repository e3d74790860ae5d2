"""One value, two forms: the envelope and text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harness.cli import humanise
from harness.cli.output import Output, plain, plain_table, rich_table
from harness.spec.budget import BudgetLine
from harness.spec.outcome import RunState


@dataclass
class Inner:
    where: Path
    state: RunState


def test_every_kind_of_value_becomes_strict_json() -> None:
    value = {
        "model": BudgetLine(limit=None, used=math.inf, left=math.nan),
        "data": Inner(Path("a/b"), RunState.DONE),
        "time": datetime(2026, 1, 2, tzinfo=UTC),
        "array": np.array([1.5, math.nan]),
        "number": np.float64(2.5),
        "tuple": (1, True, None),
        RunState.FAILED: {"x"},
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "model": {"limit": None, "used": None, "left": None},
        "data": {"where": "a/b", "state": "done"},
        "time": "2026-01-02T00:00:00+00:00",
        "array": [1.5, None],
        "number": 2.5,
        "tuple": [1, True, None],
        "failed": ["x"],
    }


def test_json_is_ascii_so_that_it_cannot_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output("dojo/x/v1", as_json=True).result({"text": "\x1b[31m\x9b\u202e"}, lambda data, output: None)
    out = capsys.readouterr().out
    assert out.isascii() and "\x1b" not in out
    assert json.loads(out) == {"schema": "dojo/x/v1", "ok": True, "data": {"text": "\x1b[31m\x9b\u202e"}}


def test_an_error_is_two_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error("code", "first\nsecond \x1b[2Jline", "do\nthis")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: first second line\nhint: do this\n"


def test_a_problem_carries_error_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    Output("dojo/x/v1", as_json=True).problem({"a": 1}, lambda data, output: None, "bad", "m", "h")
    assert json.loads(capsys.readouterr().out) == {
        "schema": "dojo/x/v1",
        "ok": False,
        "error": {"code": "bad", "message": "m", "hint": "h"},
        "data": {"a": 1},
    }


def test_a_plain_table_lines_up_and_has_no_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("name", "n>"), [("a", 1), ("bb\x1b[31m", 20)], title="t")
    assert capsys.readouterr().out == "t\nname   n\na      1\nbb    20\n"
    assert plain_table(("x",), []) == "x\n"


def test_a_table_for_terminals_shows_markup_of_agents_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "[red]x[/red]" in rich_table(("a",), [["[red]x[/red]"]])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (185, "3m 05s"), (7800, "2h 10m"), (273600, "3d 4h"), (-1, "0s")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert humanise.duration(seconds) == text


def test_times_sizes_and_amounts() -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert humanise.when("2026-01-02T11:59:58+00:00", now) == "just now"
    assert humanise.when(datetime(2026, 1, 2, 11, 55), now) == "5m 00s ago"
    assert humanise.when("2025-12-24T12:00:00+00:00", now).startswith("2025-12-24")
    assert [humanise.size(n) for n in (5, 1500, 2e9, 3e12)] == ["5 B", "1.5 kB", "2.0 GB", "3.0 TB"]
    assert humanise.amount("wall", 600) == "10m 00s"
    assert humanise.time_limits({"wall": 2400.0, "cpu": 240.0, "gpu": None}) == "40m 00s, 4m 00s CPU"
    assert humanise.amount("disk_mb", 1500) == "1.5 GB"
    assert humanise.amount("dollars", 1) == "$1.00"
    assert humanise.amount("evaluations", None) == "no limit"
    assert humanise.interval(0.1, None) == "–"
