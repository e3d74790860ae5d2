"""Finding runs and batches: filters, ages, sizes, names as references, and errors that name the value."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.cli.filters import moment
from harness.cli.output import rich_table
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], [4, 3, 2, 1, 0]),
        (["--agent", "rec*"], [3, 2]),
        (["--task", "math/*", "--agent", "base"], [1, 0]),
        (["--task", "chemistry/*"], []),
        (["--profile", "full"], []),
        (["--state", "running"], [4]),
        (["--state", "running", "--state", "done", "--agent", "search"], [4]),
        (["--batch", "@last", "--agent", "search"], [4]),
        (["--name", "first*"], [4, 3, 2, 1, 0]),
        (["--name", "second*"], []),
        (["--since", "7d"], [4, 3, 2, 1, 0]),
        (["--older-than", "12h"], []),
        (["--since", "2020-01-01", "--limit", "2"], [4, 3]),
        (["--excluded"], []),
    ],
)
def test_runs_are_found_by_what_they_are_the_newest_first(
    dojo_cli: Cli, home: list[str], filters: list[str], found: list[int]
) -> None:
    data = dojo_cli("runs", *filters, "--json").data
    assert [row["id"] for row in data["runs"]] == [home[number] for number in found]
    assert data["more"] is ("--limit" in filters)
    batches = dojo_cli("batches", *filters, "--json").data["batches"]
    assert [row["id"] for row in batches] == ([BATCH] if found else [])


def test_a_search_without_result_says_how_to_see_more(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("runs", "--agent", "nobody")
    assert answer.code == 0 and "no run matches" in answer.out and "`dojo runs`" in answer.out
    assert dojo_cli("runs", "--home", "nowhere").out == "there is no run yet; start one with `dojo submit`\n"
    assert "--limit 0 shows all" in dojo_cli("runs", "--limit", "1").out


def test_sizes_are_what_lies_on_disk_and_only_counted_when_asked_for(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "results" / "batches" / BATCH / "runs" / home[0]
    before = {row["id"]: row["bytes"] for row in dojo_cli("runs", "--sizes", "--json").data["runs"]}
    (folder / "big").write_bytes(os.urandom(1 << 20))
    os.link(folder / "big", folder / "the same once more")
    after = {row["id"]: row["bytes"] for row in dojo_cli("runs", "--sizes", "--json").data["runs"]}
    assert 1 << 20 <= after[home[0]] - before[home[0]] < (1 << 20) + 65536
    (batch,) = dojo_cli("batches", "--sizes", "--json").data["batches"]
    assert batch["bytes"] == sum(after.values())
    assert dojo_cli("runs", "--json").data["runs"][0]["bytes"] is None
    assert "size" in dojo_cli("runs", "--sizes").out and "size" not in dojo_cli("runs").out


def test_a_batch_says_what_is_in_it(dojo_cli: Cli, home: list[str]) -> None:
    (batch,) = dojo_cli("batches", "--json").data["batches"]
    assert (batch["runs"], batch["states"]) == (5, {"done": 4, "running": 1})
    assert (batch["agents"], batch["tasks"], batch["profiles"]) == (["base", "recipe", "search"], ["math/sums"], ["mini"])
    out = dojo_cli("batches").out
    assert "4 done, 1 running" in out and "first try" in out and "\x1b" not in out


def test_a_batch_s_name_works_wherever_a_batch_is_asked_for(dojo_cli: Cli, home: list[str]) -> None:
    name = "first \x1b[31mtry"
    for arguments in (["status", name], ["report", name]):
        assert dojo_cli(*arguments, "--json").code == 0
    assert dojo_cli("leaderboard", "--batch", name, "--json").data["rows"]
    assert len(dojo_cli("runs", "--batch", name, "--json").data["runs"]) == 5
    unknown = dojo_cli("status", "first trial")
    assert unknown.code == 2
    assert unknown.err.splitlines() == ["error: no batch or run named 'first trial'", "hint: did you mean first try?"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["runs", "--since", "yesterday"], "'yesterday' is neither an age as 7d or 12h nor a date", "`dojo runs --help`"),
        (["batches", "--older-than", "2026-13-45"], "'2026-13-45' is neither", "`dojo batches --help`"),
        (["runs", "--state", "donne"], "'donne' is not one of", "did you mean done?"),
        (["runs", "--profile", "mni"], "'mni' is not one of", "did you mean mini?"),
        (["runs", "--batch", "second"], "no batch named 'second'", "known: "),
        (["runs", "--limit", "-1"], "-1 is not in the range", "`dojo runs --help`"),
        (["runs", "--agnet", "base"], "No such option '--agnet'", "did you mean --agent"),
    ],
)
def test_a_wrong_filter_is_named_with_what_to_do(
    dojo_cli: Cli, home: list[str], arguments: list[str], message: str, hint: str
) -> None:
    answer = dojo_cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    first, second = answer.err.splitlines()
    assert message in first and hint in second


def test_ages_and_dates_are_moments() -> None:
    assert moment("7d", NOW) == NOW - timedelta(days=7)
    assert moment("12h", NOW) == NOW - timedelta(hours=12)
    assert moment("2026-01-02T03:04+00:00", NOW) == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert moment("2026-01-02", NOW) == datetime(2026, 1, 2).astimezone()


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_table_on_a_terminal_loses_nothing_however_narrow_it_is(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    row = ["r20260101-000000-aaaa0", "recipe", "done", "0.750", "baseline, wide"]
    text = rich_table(["run", "agent", "state", "score>", "marks"], [row])
    assert all(len(line) <= columns for line in text.splitlines())
    assert sorted("".join(row).replace(" ", "")) == sorted("".join(text.split("─\n")[-1].split()))
