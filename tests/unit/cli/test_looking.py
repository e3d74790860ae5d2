"""The commands that look, over a small real home directory and the real façade."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.headings import wrapped
from harness.cli.rows import spent
from harness.sandbox.scripted import ScriptedBackend
from harness.session.journal import Journal
from harness.spec import EventKind, RunResult
from harness.spec.errors import SandboxUnavailable
from harness.spec.event import Ended, payload_of
from harness.spec.outcome import Cause, RunState
from harness.store.database import SqlStore
from harness.store.run_dir import RunDir
from tests.unit.cli.conftest import BATCH, Answer

Cli = Callable[..., Answer]


def test_status_of_an_empty_home_is_no_error(dojo_cli: Cli) -> None:
    assert dojo_cli("status", "--json").data == {"batch": None, "name": "", "runs": []}
    assert "dojo submit" in dojo_cli("status").out


def test_status_shows_phase_time_budget_and_score(dojo_cli: Cli, home: list[str]) -> None:
    data = dojo_cli("status", "--json").data
    assert data["batch"] == BATCH
    assert [row["id"] for row in data["runs"]] == home
    done, running = data["runs"][0], data["runs"][-1]
    assert (done["agent"], done["task"], done["seed"], done["state"], done["score"]) == ("base", "math/sums", 0, "done", 0.25)
    assert done["outcome"]["cause"] == "completed"
    assert (running["phase"], running["outcome"]) == ("running", None)
    assert running["budget"]["wall"]["limit"] == 600 and running["elapsed_s"] > 3
    assert "resume" in running["why"]


def test_status_for_people_says_why_a_run_stands_still_and_shows_nothing_hostile(dojo_cli: Cli, home: list[str]) -> None:
    out = dojo_cli("status").out
    assert f"batch {BATCH} (first try)" in out
    assert "0.250" in out and "of 10m 00s" in out
    assert "no dojo process drives it" in out
    assert not set(out) & set("\x1b\x07\u202e")


def test_ids_may_be_cut_and_the_newest_has_a_name(dojo_cli: Cli, home: list[str]) -> None:
    assert dojo_cli("status", "b2026", "--json").data["batch"] == BATCH
    assert dojo_cli("status", "@last", "--json").data["batch"] == BATCH
    assert dojo_cli("show", home[0][:17], "--json").data["spec"]["id"] == home[0]
    unclear = dojo_cli("show", "r2026", "--json")
    assert unclear.code == 2 and "is not unique" in unclear.json["error"]["message"]
    unknown = dojo_cli("show", home[0][:-1] + "x", "--json")
    assert unknown.code == 2 and unknown.json["error"]["code"] == "not_found"
    assert "did you mean" in unknown.json["error"]["hint"]


def test_home_may_be_a_flag_of_the_group_or_of_the_command(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    for arguments in (["--home", "other", "status", "--json"], ["status", "--home", "other", "--json"]):
        assert dojo_cli(*arguments).data["batch"] is None


def test_show_gives_the_whole_result(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("show", home[0], "--json")
    assert answer.json["schema"] == "dojo/show/v1"
    result = RunResult.model_validate(answer.data)
    assert result.spec.id == home[0] and result.grade is not None
    text = dojo_cli("show", home[0]).out
    for shown in (
        "completed in phase agent",
        "accuracy 0.250",
        "base",
        "1m 05s",
        "workspace",
        "integrity",
        "vllm on cpu, float32; vllm 0.32.0",
    ):
        assert shown in text
    assert not set(text) & set("\x1b\x07\u202e")


def test_show_of_a_run_that_has_not_ended_says_so(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("show", home[-1])
    assert answer.code == 2
    assert "has not ended" in answer.err and "dojo status" in answer.err


def test_logs_are_the_events_a_line_each(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    answer = dojo_cli("logs", home[-1], "--json")
    events = tmp_path / "results" / "batches" / BATCH / "runs" / home[-1] / "events.jsonl"
    assert [json.loads(line) for line in answer.out.splitlines()] == [
        json.loads(line) for line in events.read_text().splitlines()
    ]
    out = dojo_cli("logs", home[-1]).out
    assert "clock_started" in out and "plain text" in out
    assert not set(out) & set("\x1b\x07\u202e")


def test_logs_of_the_agent_keep_its_two_streams_apart(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("logs", home[-1], "--agent")
    assert answer.out == "out plain text\nlast\n"
    assert answer.err == "err \n"
    lines = [json.loads(line) for line in dojo_cli("logs", home[-1], "--agent", "--json").out.splitlines()]
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}


def test_logs_that_follow_end_with_the_run(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "results")
    run = store.run_dir(BATCH, home[-1])
    store.close()

    def end() -> None:
        with (run.path / "agent.stdout").open("ab") as out:
            out.write(b"\nmore\n")
        run.append(payload_of(EventKind.STATE, {"state": "cancelled"}))

    timer = threading.Timer(0.2, end)
    timer.start()
    answer = dojo_cli("logs", home[-1], "-f", "--agent")
    timer.join()
    assert answer.code == 0
    assert answer.out.endswith("last\nmore\n")
    assert json.loads(dojo_cli("logs", home[-1], "-f", "--json").out.splitlines()[-1])["data"] == {"state": "cancelled"}


def test_logs_of_the_talk_of_a_run_without_a_backbone_say_so(dojo_cli: Cli, home: list[str]) -> None:
    answer = dojo_cli("logs", home[-1], "--llm", "--json")
    assert answer.code in (2, 3) and "backbone" in answer.json["error"]["message"], answer


def test_logs_stop_when_nobody_reads_on(home: list[str], dojo_cli: Cli) -> None:
    program = f"{sys.executable} -m harness.cli.main logs {home[-1]} -f | head -1"
    result = subprocess.run(["bash", "-c", program], env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_watching_ends_with_the_last_run(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "results")
    run: RunDir = store.run_dir(BATCH, home[-1])
    timer = threading.Timer(0.3, lambda: run.append(payload_of(EventKind.STATE, {"state": "cancelled"})))
    timer.start()
    lines = [json.loads(line) for line in dojo_cli("status", "--watch", "--json").out.splitlines()]
    timer.join()
    store.close()
    assert [line["data"]["runs"][-1]["state"] for line in lines] == ["running", "cancelled"]


def test_leaderboard_ranks_agents_beside_their_yardsticks(dojo_cli: Cli, home: list[str]) -> None:
    data = dojo_cli("leaderboard", "--json").data
    assert [(row["task"], row["agent"], row["runs"], row["score"]) for row in data["rows"]] == [
        ("math/sums", "recipe", 2, 0.75),
        ("math/sums", "base", 2, 0.25),
    ]
    assert data["references"]["math/sums"][0]["name"] == "base"
    out = dojo_cli("leaderboard", "--batch", "@last", "--task", "math/*").out
    assert out.index("recipe") < out.index("(base)")
    assert dojo_cli("leaderboard", "--task", "no/such", "--json").code == 2


def test_leaderboard_of_an_empty_home_is_no_error(dojo_cli: Cli) -> None:
    assert dojo_cli("leaderboard", "--json").data["rows"] == []
    assert "no run has been measured" in dojo_cli("leaderboard").out


def test_compare_gives_a_verdict(dojo_cli: Cli, home: list[str]) -> None:
    data = dojo_cli("compare", "recipe", "base", "--json").data
    row = data["rows"][0]
    assert row["difference"] == pytest.approx(0.5)
    assert row["verdict"] in ("better", "not_distinguishable")
    assert (row["win"], row["tie"], row["loss"]) == (2, 2, 0)
    assert data["overall"]["task"] == "math/sums"
    assert "+0.500" in dojo_cli("compare", "recipe", "base").out
    answer = dojo_cli("compare", "recipee", "base")
    assert answer.code == 2 and "did you mean recipe" in answer.err


def test_grade_shows_the_grade_there_is(dojo_cli: Cli, home: list[str]) -> None:
    data = dojo_cli("grade", home[2], "--json").data
    assert data["scores"]["primary"] == {"name": "accuracy", "value": 0.75, "higher_is_better": True}
    assert data["graders"][0]["number"] == 1
    assert "accuracy 0.750" in dojo_cli("grade", home[2]).out


def test_report_is_one_page_and_goes_where_it_is_told(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    page = dojo_cli("report").out
    for part in (f"# Batch {BATCH}: first", "## Leaderboard", "| (base) |", "recipe against base", "## Runs", home[-1]):
        assert part in page
    assert dojo_cli("report", BATCH, "--md", "page.md").out == "wrote page.md\n"
    assert (tmp_path / "page.md").read_text() == page.replace("(<batches/", "(<results/batches/")  # links lead from the page
    assert dojo_cli("report", "--md", "no/such/page.md", "--json").json["error"]["message"].startswith("cannot write")


def test_names_of_agents_and_ids_complete(home: list[str], dojo_cli: Cli) -> None:
    environ = {**os.environ, "_DOJO_COMPLETE": "bash_complete", "COMP_WORDS": "dojo show r2026", "COMP_CWORD": "2"}
    out = subprocess.run([sys.executable, "-m", "harness.cli.main"], env=environ, capture_output=True, text=True).stdout
    assert out.split() == [f"plain,{run}" for run in home]


FACTS = {
    "profile": "mini",
    "hidden": "",
    "base_model": "smol",
    "metric": "accuracy",
    "sandbox": "namespace",
    "dojo_version": "0.1.0",
}
HEADING = "mini · smol · accuracy · 10m, 20 evaluations · namespace · dojo 0.1.0"


def test_every_row_says_what_was_measured(dojo_cli: Cli, home: list[str]) -> None:
    board = dojo_cli("leaderboard", "--json").data
    comparison = dojo_cli("compare", "recipe", "base", "--json").data
    graded = dojo_cli("grade", home[0], "--json").data
    for row in (*board["rows"], *board["references"]["math/sums"], *comparison["rows"], comparison["overall"], graded):
        assert {**row, **FACTS, "budget": "10m, 20 evaluations"} == row
    for row in dojo_cli("status", "--json").data["runs"][:-1]:
        assert {**row, **FACTS, "budget_words": "10m, 20 evaluations"} == row


def test_what_was_measured_stands_over_every_score_and_fits_a_terminal(dojo_cli: Cli, home: list[str]) -> None:
    for arguments in (["status"], ["leaderboard"], ["show", home[0]], ["grade", home[0]], ["compare", "recipe", "base"]):
        out = dojo_cli(*arguments).out
        assert ("recipe against base · " if "compare" in arguments else "math/sums · ") + HEADING in out
        assert max(len(line) for line in out.splitlines() if "run-to-run" not in line and "it said" not in line) <= 100
    assert f"### math/sums · {HEADING}" in dojo_cli("report").out


def test_a_heading_that_is_too_long_goes_on_below() -> None:
    lines = wrapped(" · ".join(["chemistry/a_long_name", *(["something of twenty"] * 6)])).splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 100
    assert lines[0].endswith(" ·") and lines[1].startswith("  something")


def test_a_quick_look_is_marked_wherever_it_is_shown(dojo_cli: Cli, home: list[str], tmp_path: Path) -> None:
    run = SqlStore(tmp_path / "results").run_dir(BATCH, home[0])
    spec = run.spec().model_copy(update={"limit": 2})
    (run.path / "run.json").write_text(spec.model_dump_json())
    result = run.result()
    assert result is not None
    run.write_result(result.model_copy(update={"spec": spec}))
    assert dojo_cli("reindex").code == 0
    for arguments in (["status"], ["show", home[0]], ["grade", home[0]], ["report"]):
        assert "quick look at 2 items" in dojo_cli(*arguments).out
    board = dojo_cli("leaderboard")
    assert f"left out: run {home[0]}, agent base, task math/sums, reason quick look at 2 items" in board.out
    assert "left out" in dojo_cli("compare", "recipe", "base").out


def test_the_time_spent_is_shown_by_what_is_nearer_its_end() -> None:
    row: dict[str, Any] = {"elapsed_s": 130.0, "budget": {"wall": {"limit": 2400.0}, "cpu": {"limit": 240.0, "used": 124.0}}}
    assert spent(row) == "2m 04s of 4m 00s CPU"
    assert spent({**row, "elapsed_s": 2000.0}) == "33m 20s of 40m 00s"
    assert spent({**row, "budget": {"wall": {"limit": 600.0}, "cpu": None}}) == "2m 10s of 10m 00s"
    assert spent({**row, "budget": {}}) == "2m 10s"


def test_of_one_run_compare_says_which_model_leads_and_leaves_the_agent_open(dojo_cli: Cli, home: list[str]) -> None:
    dojo_cli("exclude", home[2], "--why", "it was a try")
    answer = dojo_cli("compare", "recipe", "base")
    line = next(line for line in answer.out.splitlines() if line.startswith("math/sums  "))
    assert line.split()[2:] == ["–", "–", "2/2/0", "1+2", "open:", "one", "run"]
    assert "models do not surely differ: +0.500" in " ".join(answer.out.split())
    assert "1 more run of recipe (dojo submit --agent recipe --task math/sums --seed 2)" in " ".join(answer.out.split())
    row = dojo_cli("compare", "recipe", "base", "--json").data["rows"][0]
    assert (row["p"], row["ci_low"], row["verdict"], row["models"]["verdict"]) == (None, None, *["not_distinguishable"] * 2)


def test_status_says_why_the_sandbox_of_a_driven_run_waits(
    dojo_cli: Cli, home: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of the backend's scheduler, asked once for all runs; one that does not answer keeps nobody from looking."""
    run, asked = home[-1], []

    class Busy(ScriptedBackend):
        def waiting(self) -> dict[str, str]:
            asked.append(1)
            if len(asked) > 1:
                raise SandboxUnavailable("the cluster does not answer")
            return {f"{run}-1-dev": "no node for its pod: 0/3 nodes"}

    monkeypatch.setattr("harness.service.runs.get_backend", lambda _name: Busy())
    with SqlStore(Path(os.environ["DOJO_HOME"])).claim(run):
        assert dojo_cli("status", "--json").data["runs"][-1]["why"] == "no node for its pod: 0/3 nodes"
        assert dojo_cli("status", "--json").data["runs"][-1]["why"] == ""
    assert "resume" in dojo_cli("status", "--json").data["runs"][-1]["why"]
    assert len(asked) == 2


def test_status_for_people_says_why_a_run_waits_to_be_graded_whose_agent_has_completed(
    dojo_cli: Cli, home: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = home[-1]

    class Full(ScriptedBackend):
        def waiting(self) -> dict[str, str]:
            return {f"{run}-1-grade": "no pod is made for it: quota lab is used up"}

    monkeypatch.setattr("harness.service.runs.get_backend", lambda _name: Full())
    store = SqlStore(Path(os.environ["DOJO_HOME"]))
    journal = Journal(store.files(run), lambda state: store.record_state(run, state))
    with store.claim(run):
        journal.emit(Ended(cause=Cause.COMPLETED, phase="agent"))
        journal.enter(RunState.GRADING)
        assert f"{run}: no pod is made for it: quota lab is used up" in dojo_cli("status").out
