"""Tidying: tags, exclusions, removal, freed weights, overdue runs, repeated runs, and runs that somebody else drives."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.store.database import SqlStore
from harness.store.run_dir import RunDir
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]


@pytest.fixture
def driven(home: list[str], tmp_path: Path) -> Iterator[str]:
    """Let another process drive the last run; yield the run's id."""
    program = (
        "import sys; from pathlib import Path; from harness.store.database import SqlStore\n"
        "with SqlStore(Path(sys.argv[1])).claim(sys.argv[2]):\n print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "results"), home[-1]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield home[-1]
        process.communicate()


def folder_of(tmp_path: Path, run: str) -> RunDir:
    return SqlStore(tmp_path / "results").files(run)


def on_a_terminal(tmp_path: Path, typed: str, *arguments: str) -> tuple[int, str]:
    """Run ``dojo`` with a terminal on all three streams, type something at its first question, and return what it showed."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "DOJO_HOME": str(tmp_path / "results"), "DOJO_CACHE": str(tmp_path / "cache"), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness.cli.main", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=tmp_path) as process:
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
            if typed and b"[y/N]" in shown:
                os.write(ours, f"{typed}\n".encode())
                typed = ""
        code = process.wait(timeout=30)
    os.close(ours)
    return code, shown.decode()


def test_tags_find_runs_and_batches_and_survive_a_new_index(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    assert dojo_cli("tag", home[2], "good", "draft", "--json").data == {"id": home[2], "added": ["good", "draft"], "removed": []}
    assert dojo_cli("tag", "@last", "baseline").code == 0
    assert dojo_cli("tag", home[2], "--remove", "draft").out.split() == [home[2], "-draft"]
    (tmp_path / "results" / "dojo.db").unlink()
    assert dojo_cli("reindex", "--json").data["runs"] == 5
    tagged = {tag: [row["id"] for row in dojo_cli("runs", "--tag", tag, "--json").data["runs"]] for tag in ("good", "draft")}
    assert tagged == {"good": [home[2]], "draft": []}
    assert len(dojo_cli("runs", "--tag", "baseline", "--json").data["runs"]) == 5
    nothing = dojo_cli("tag", home[2])
    assert nothing.code == 2 and "no tag was named" in nothing.err


def test_an_excluded_run_is_kept_and_shown_with_the_reason_and_counted_nowhere(dojo_cli: Cli, home: list[str]) -> None:
    assert dojo_cli("exclude", home[0], "--why", "the disk \x1b[2Jwas full", "--json").data["run"] == home[0]
    (row,) = dojo_cli("runs", "--excluded", "--json").data["runs"]
    assert row["id"] == home[0]
    assert "excluded: the disk" in dojo_cli("runs").out and "\x1b" not in dojo_cli("runs").out
    board = {row["agent"]: row["runs"] for row in dojo_cli("leaderboard", "--json").data["rows"]}
    assert board == {"recipe": 2, "base": 1}
    assert home[0] in dojo_cli("leaderboard").out
    for arguments in (["show", home[0]], ["status"]):
        out = dojo_cli(*arguments).out
        assert "excluded from comparisons: the disk was full" in out and "\x1b" not in out
    assert dojo_cli("status", "--json").data["runs"][0]["excluded"].startswith("the disk")
    assert dojo_cli("include", home[0]).code == 0
    assert dojo_cli("runs", "--excluded", "--json").data["runs"] == []
    assert {row["runs"] for row in dojo_cli("leaderboard", "--json").data["rows"]} == {2}


def test_an_exclusion_needs_a_reason(dojo_cli: Cli, home: list[str]) -> None:
    assert "Missing option '--why'" in dojo_cli("exclude", home[0]).err
    empty = dojo_cli("exclude", home[0], "--why", " ")
    assert empty.code == 2 and "without a reason" in empty.err


def test_what_a_leaderboard_counts_goes_only_when_told(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    for option in ([], ["--yes"]):
        refused = dojo_cli("rm", home[0], *option, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (2, "counted")
        assert "dojo exclude" in refused.json["error"]["hint"] and "--counted" in refused.json["error"]["hint"]
    path = folder_of(tmp_path, home[0]).path
    assert path.is_dir()
    assert dojo_cli("rm", home[0], "--yes", "--counted", "--json").data["runs"] == [home[0]]
    assert not path.exists()
    assert len(dojo_cli("runs", "--json").data["runs"]) == 4


def test_without_a_terminal_nothing_is_deleted_unasked(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    dojo_cli("exclude", home[0], "--why", "a test")
    refused = dojo_cli("rm", home[0])
    assert refused.code == 2 and "1 run (" in refused.err and "--yes" in refused.err
    assert folder_of(tmp_path, home[0]).path.is_dir()
    assert "deleted 1 run (" in dojo_cli("rm", home[0], "--yes").out


@pytest.mark.parametrize(("typed", "stays"), [("n", True), ("y", False)])
def test_on_a_terminal_it_asks_first(dojo_cli: Cli, home: list[str], tmp_path: Path, typed: str, stays: bool) -> None:
    code, shown = on_a_terminal(tmp_path, typed, "rm", BATCH, "--counted")
    assert "5 runs (" in shown and "for good?" in shown and "counted by a leaderboard" in shown
    assert (code, (tmp_path / "results" / "batches" / BATCH).exists()) == (130 if stays else 0, stays)
    assert len(dojo_cli("runs", "--json").data["runs"]) == (5 if stays else 0)


def test_a_run_that_somebody_drives_is_never_deleted(dojo_cli: Cli, driven: str, tmp_path: Path) -> None:
    refused = dojo_cli("rm", driven, "--yes", "--counted", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "busy")
    assert f"dojo cancel {driven}" in refused.json["error"]["hint"]
    assert folder_of(tmp_path, driven).path.is_dir()


def test_a_batch_that_another_process_drives_is_left_alone_with_a_line_about_it(dojo_cli: Cli, driven: str) -> None:
    answer = dojo_cli("resume", "@last", "--json")
    assert answer.code == 0, answer
    assert answer.data["driven_elsewhere"] == [driven]
    assert f"{driven}: driven by another dojo process" in dojo_cli("resume").out
    alone = dojo_cli("run", driven, "--json")
    assert (alone.code, alone.json["error"]["code"]) == (1, "busy")


def test_weights_of_old_runs_are_freed_and_their_results_stay(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    run = folder_of(tmp_path, home[0])
    run.sealed.mkdir()
    (run.sealed / "model.safetensors").write_bytes(os.urandom(100_000))
    run.manifest_path.write_text("{}")
    assert dojo_cli("gc", "--sealed-older-than", "30d", "--json").data == {"freed": []}
    (would,) = dojo_cli("gc", "--sealed-older-than", "0s", "--dry-run", "--json").data["would_free"]
    assert would["run"] == home[0] and would["bytes"] >= 100_000 and run.sealed.exists()
    assert "freed 1" in dojo_cli("gc", "--sealed-older-than", "0s").out
    assert not run.sealed.exists() and run.manifest_path.exists()
    assert dojo_cli("show", home[0]).code == 0
    wrong = dojo_cli("gc", "--sealed-older-than", "yesterday")
    assert wrong.code == 2 and "'yesterday'" in wrong.err


@pytest.fixture
def overdue(home: list[str], tmp_path: Path) -> str:
    """Let the budget of the last run be over for long; return its id."""
    events = folder_of(tmp_path, home[-1]).path / "events.jsonl"
    text = events.read_text()
    day = datetime.now(UTC)
    events.write_text(text.replace(f"{day:%Y-%m-%d}T", f"{day - timedelta(days=2):%Y-%m-%d}T"))
    return home[-1]


def test_gc_shows_runs_whose_budget_is_over_and_touches_them_only_when_told(dojo_cli: Cli, overdue: str, tmp_path: Path) -> None:
    before = (folder_of(tmp_path, overdue).path / "events.jsonl").read_bytes()
    for option in ([], ["--dry-run"]):
        (late,) = dojo_cli("gc", *option, "--json").data["overdue"]
        assert (late["kind"], late["id"], late["state"], late["error"]) == ("overdue", overdue, None, None)
    out = dojo_cli("gc").out
    assert f"{overdue}: its budget was over at " in out and "`dojo gc --finish`" in out
    assert (folder_of(tmp_path, overdue).path / "events.jsonl").read_bytes() == before
    both = dojo_cli("gc", "--finish", "--dry-run")
    assert both.code == 2 and "exclude each other" in both.err


def test_on_a_terminal_gc_asks_whether_to_end_overdue_runs(dojo_cli: Cli, overdue: str, tmp_path: Path) -> None:
    code, shown = on_a_terminal(tmp_path, "n", "gc")
    assert code == 0 and "end and grade 1 overdue run now?" in shown
    assert len(dojo_cli("gc", "--json").data["overdue"]) == 1


def test_an_overdue_run_that_cannot_be_ended_is_a_failure_that_names_it(dojo_cli: Cli, overdue: str) -> None:
    answer = dojo_cli("gc", "--finish", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (1, "runs_failed")
    (late,) = answer.json["data"]["overdue"]
    assert late["state"] == "failed" and "no task named 'math/sums'" in late["error"]
    assert f"dojo show {overdue}" in answer.json["error"]["hint"]
    assert dojo_cli("gc", "--json").data["overdue"] == []
    again = dojo_cli("submit", "--retry-failed", "@last")  # finds that run, and that its task is gone
    assert again.code == 2 and "no task named 'math/sums'" in again.err


def test_runs_are_repeated_as_they_were_or_not_at_all(dojo_cli: Cli, home: list[str]) -> None:
    none = dojo_cli("submit", "--retry-failed", "@last")
    assert none.code == 2 and f"no run of batch {BATCH} failed" in none.err and "--from RUN" in none.err
    beside = dojo_cli("submit", "--from", home[0], "--seed", "3")
    assert beside.code == 2 and "--seed does not go with --from" in beside.err
    gone = dojo_cli("submit", "--from", home[0])
    assert gone.code == 2 and "no task named 'math/sums'" in gone.err
    unknown = dojo_cli("submit", "--retry-failed", "nothing")
    assert unknown.code == 2 and "no batch named 'nothing'" in unknown.err
