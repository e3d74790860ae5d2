"""A results directory that is damaged, and what each command then says: the rows of the table in docs/operate.md."""

import gc
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import main
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]
GUIDE = Path(__file__).parents[3] / "docs" / "operate.md"
LISTINGS = (("status",), ("runs",), ("batches",), ("leaderboard",), ("compare", "recipe", "base"))


@pytest.fixture
def results(home: list[str], tmp_path: Path) -> Path:
    return tmp_path / "results"


def folder(results: Path, run: str) -> Path:
    return results / "batches" / BATCH / "runs" / run


def without_database(results: Path) -> None:
    for path in results.glob("dojo.db*"):
        path.unlink()


def empty_database(results: Path) -> None:
    without_database(results)
    (results / "dojo.db").touch()


def garbled_database(results: Path) -> None:
    without_database(results)
    (results / "dojo.db").write_bytes(b"SQLite format 3\0" + b"\x7f" * 5000)


def newer_database(results: Path) -> None:
    with closing(sqlite3.connect(results / "dojo.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


DATABASES = [without_database, empty_database, garbled_database, newer_database]


@pytest.mark.parametrize("damage", DATABASES, ids=lambda d: d.__name__)
def test_listings_answer_from_the_run_folders_where_the_database_cannot_be_read(results, home, dojo_cli, damage):
    whole = {command: dojo_cli(*command, "--json").data for command in LISTINGS}
    damage(results)
    before = _tree(results)
    for command in LISTINGS:
        answer = dojo_cli(*command, "--json")
        assert answer.code == 0, (command, answer)
        assert _facts(answer.data) == _facts(whole[command]), command
    assert _tree(results) == before, "looking has written"


@pytest.mark.parametrize("damage", DATABASES, ids=lambda d: d.__name__)
def test_reindex_makes_a_whole_database_of_the_run_folders(results, home, dojo_cli, damage):
    whole = dojo_cli("leaderboard", "--json").data["rows"]
    dojo_cli("tag", home[0], "kept")
    damage(results)
    answer = dojo_cli("reindex", "--json")
    assert answer.code == 0 and answer.data["runs"] == len(home) and answer.data["damaged"] == []
    assert dojo_cli("leaderboard", "--json").data["rows"] == whole
    assert [row["id"] for row in dojo_cli("runs", "--tag", "kept", "--json").data["runs"]] == [home[0]]


@pytest.mark.parametrize("damage", [garbled_database, newer_database], ids=lambda d: d.__name__)
def test_what_would_write_says_what_is_wrong_with_the_database_and_offers_reindex(results, home, dojo_cli, damage):
    damage(results)
    answer = dojo_cli("tag", home[0], "x", "--json")
    assert answer.code == 1 and "reindex" in answer.json["error"]["hint"], answer


def deleted_run(path: Path) -> None:
    shutil.rmtree(path)


def no_spec(path: Path) -> None:
    (path / "run.json").unlink()


def cut_spec(path: Path) -> None:
    _cut(path / "run.json")


def strange_spec(path: Path) -> None:
    (path / "run.json").write_text('{"id": "x"}')


def cut_result(path: Path) -> None:
    _cut(path / "result.json")


def strange_result(path: Path) -> None:
    (path / "result.json").write_text("[1, 2]")


def cut_events(path: Path) -> None:
    lines = (path / "events.jsonl").read_bytes().splitlines(keepends=True)
    (path / "events.jsonl").write_bytes(lines[0] + lines[1][:20] + b"\n" + b"".join(lines[2:]))


def foreign_events(path: Path) -> None:
    (path / "events.jsonl").write_bytes(b"\xff\xfe\n")


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    "damage",
    [deleted_run, no_spec, cut_spec, strange_spec, cut_result, strange_result, cut_events, foreign_events],
    ids=lambda d: d.__name__,
)
def test_a_damaged_run_harms_itself_alone_in_every_listing(results, home, dojo_cli, damage):
    damage(folder(results, home[0]))
    for command in LISTINGS:
        answer = dojo_cli(*command, "--json")
        assert answer.code == 0, (command, answer)
        shown = json.dumps(answer.data)
        assert all(run in shown for run in home[1:]) or command[0] in ("leaderboard", "compare", "batches"), command
    text = dojo_cli("status")
    assert sum(home[0] in line and "damaged" in line for line in text.err.splitlines()) <= 1


@pytest.mark.parametrize("command", [("leaderboard",), ("compare", "recipe", "base"), ("report",), ("runs",)])
@pytest.mark.parametrize("damage", [cut_result, strange_result], ids=lambda d: d.__name__)
def test_a_cut_result_is_one_line_beside_everything_else(results, home, dojo_cli, damage, command):
    damage(folder(results, home[0]))
    answer = dojo_cli(*command, "--json")
    assert answer.code == 0 and [found["run"] for found in answer.data["damaged"]] == [home[0]]
    text = dojo_cli(*command)
    assert sum(f"damaged: run {home[0]}" in line for line in text.err.splitlines()) == 1


def test_a_page_says_which_runs_are_not_on_it(results, home, dojo_cli):
    cut_result(folder(results, home[0]))
    page = dojo_cli("report").out
    assert f"Damaged, so not (wholly) on this page:\n\n- {home[0]}: " in page


@pytest.mark.parametrize("damage", [deleted_run, no_spec, cut_spec, cut_events, foreign_events], ids=lambda d: d.__name__)
def test_status_names_a_run_whose_folder_cannot_be_read_in_one_line(results, home, dojo_cli, damage):
    damage(folder(results, home[0]))
    answer = dojo_cli("status", "--json")
    assert [found["run"] for found in answer.data["damaged"]] == [home[0]]
    assert answer.data["damaged"][0]["hint"]
    assert len(answer.data["runs"]) == len(home) - 1


@pytest.mark.parametrize("damage", [cut_result, strange_result], ids=lambda d: d.__name__)
def test_show_says_that_a_result_is_damaged_and_reports_go_on(results, home, dojo_cli, damage):
    damage(folder(results, home[0]))
    answer = dojo_cli("show", home[0], "--json")
    assert answer.code == 1 and answer.json["error"]["code"] == "damaged" and "result.json" in answer.json["error"]["message"]
    report = dojo_cli("report", "@last", "--json")
    assert report.code == 0, report


def test_a_last_line_that_a_power_cut_left_half_written_is_no_damage(results, home, dojo_cli):
    with (folder(results, home[0]) / "events.jsonl").open("ab") as events:
        events.write(b'{"seq": 9, "kind": "no')
    answer = dojo_cli("status", "--json")
    assert answer.code == 0 and answer.data["damaged"] == [] and len(answer.data["runs"]) == len(home)


def test_a_deleted_batch_folder_leaves_the_others(results, home, dojo_cli):
    shutil.rmtree(results / "batches" / BATCH)
    answer = dojo_cli("runs", "--json")
    assert answer.code == 0, answer
    reindexed = dojo_cli("reindex", "--json")
    assert reindexed.code == 0 and reindexed.data["runs"] == 0


@pytest.mark.parametrize("name", ["batch.json", "marks.json"])
def test_a_garbled_note_beside_the_runs_costs_the_note_and_nothing_else(results, home, dojo_cli, name):
    dojo_cli("tag", home[0], "x")
    place = results / "batches" / BATCH
    path = place / name if name == "batch.json" else folder(results, home[0]) / name
    assert path.is_file()
    path.write_text("{")
    without_database(results)
    answer = dojo_cli("leaderboard", "--json")
    assert answer.code == 0 and answer.data["rows"], answer


def test_one_copied_run_folder_can_be_shown_and_logged(results, home, dojo_cli, tmp_path, monkeypatch):
    copy = tmp_path / "colleague"
    shutil.copytree(folder(results, home[0]), copy)
    before = _tree(copy)
    monkeypatch.setenv("DOJO_HOME", str(copy))
    assert dojo_cli("show", home[0], "--json").data["spec"]["id"] == home[0]
    assert dojo_cli("logs", "@last", "--json").code == 0
    assert len(dojo_cli("status", "--json").data["runs"]) == 1
    assert dojo_cli("report", "--json").code == 0
    assert _tree(copy) == before, "looking has written"


@pytest.mark.parametrize("name", ["example", "thinking"])
def test_the_examples_that_come_with_dojo_can_be_shown(name, dojo_cli, monkeypatch):
    example = Path(__file__).parents[3] / "results" / name
    monkeypatch.setenv("DOJO_HOME", str(example))
    before = _tree(example)
    assert dojo_cli("show", "@last", "--json").data["state"] == "done"
    assert dojo_cli("leaderboard", "--json").data["rows"]
    assert _tree(example) == before


def test_a_missing_home_is_no_home_yet(dojo_cli, tmp_path):
    for command in (("status",), ("runs",), ("leaderboard",)):
        assert dojo_cli(*command, "--json").code == 0
    assert not (tmp_path / "results").exists()


def _as_somebody_else(*commands: tuple[str, ...]) -> list[int]:
    """Return the exit codes of commands that an ordinary user gives in a child of this process."""
    near, far = os.pipe()
    child = os.fork()
    if child == 0:
        codes: list[int] = []
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            codes = [main(command) for command in commands]
        finally:
            os.write(far, json.dumps(codes).encode())
            os._exit(0)
    os.close(far)
    with os.fdopen(near) as said:
        codes = json.load(said)
    os.waitpid(child, 0)
    return codes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to look at this home")
@pytest.mark.parametrize("whole", [True, False], ids=["with its database", "without a database"])
def test_another_users_home_can_be_looked_at_and_not_written_to(results, home, dojo_cli, whole):
    looks = (("status", "--json"), ("runs",), ("leaderboard",), ("show", home[0]), ("logs", home[0]), ("report",))
    assert [dojo_cli(*look).code for look in (*looks, ("tag", home[0], "mine"))] == [0] * 7  # everything is imported now
    if not whole:
        without_database(results)
    for path in (results, *results.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in results.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    gc.collect()  # what this process's own calls left open writes its last pages when it is closed
    before = _tree(results)
    assert _as_somebody_else(*looks, ("tag", home[0], "theirs")) == [0, 0, 0, 0, 0, 0, 3]
    assert _tree(results) == before


def test_the_guide_has_a_row_for_each_damage_that_is_tried_here():
    section = GUIDE.read_text().partition("## What damage costs")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not re.match(r"\|[ -]*\|", line)][1:]
    assert len(rows) >= 20, len(rows)


def _tree(results: Path) -> dict[str, Any]:
    """Return every file with size and time, but what SQLite keeps beside a database that is open."""
    found = {}
    for path in sorted(results.rglob("*")):
        if not path.name.endswith(("-wal", "-shm")):
            state = path.stat()
            found[path.relative_to(results).as_posix()] = (state.st_size, state.st_mtime_ns if path.is_file() else 0)
    return found


def _facts(data: Any) -> Any:
    """Leave out what may differ between two looks: times, and what is only known to a database."""
    if isinstance(data, dict):
        return {k: _facts(v) for k, v in data.items() if k not in ("updated", "elapsed_s", "budget", "created", "damaged", "why")}
    return [_facts(v) for v in data] if isinstance(data, list) else data
