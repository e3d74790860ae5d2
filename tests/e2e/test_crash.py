"""kill -9 of the harness in each phase, then `dojo resume`: nothing acknowledged is lost, nothing is scored twice."""

import signal
import time

import pytest

from harness.sandbox.registry import get_backend
from tests.e2e.conftest import HAND_IN_BASE, SANDBOX, Commands

pytestmark = pytest.mark.e2e

WORKER = (
    HAND_IN_BASE
    + """
api.submit("/workspace/out", note="early")
api.note("ready")
first = api.evaluate("/workspace/out")
second = api.evaluate("/workspace/out")
assert (first["evaluation"], second["evaluation"]) == (1, 2), (first, second)
for n in range(10):
    time.sleep(0.2)
    api.note(f"tick {n}")
api.submit("/workspace/out", note="late")
"""
)


def entered(state: str):
    return lambda events: any(e["kind"] == "state" and e["data"]["state"] == state for e in events)


def happened(kind: str):
    return lambda events: any(e["kind"] == kind for e in events)


@pytest.mark.parametrize(
    ("moment", "condition"),
    [
        ("while preparing", entered("preparing")),
        ("while the agent runs and evaluates", happened("note")),
        ("between evaluations", happened("evaluate")),
        ("while collecting", entered("collecting")),
        ("when sealed", entered("sealed")),
        ("while grading", entered("grading")),
        ("after the grade", happened("graded")),
    ],
)
def test_a_killed_harness_is_resumed_without_loss(dojo: Commands, moment, condition):
    process = dojo.start(*dojo.submit(dojo.agent("worker", WORKER)), "--json")
    dojo.wait_for(condition)
    dojo.kill(process)
    acknowledged = dojo.events()
    resumed = dojo("resume")
    stderr = (dojo.run_folder() / "agent.stderr").read_text()
    assert resumed.code == 0, (moment, resumed, stderr)
    run = resumed.data["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "completed", (moment, run, stderr)
    events = dojo.events()
    assert events[: len(acknowledged)] == acknowledged
    assert [e["seq"] for e in events] == list(range(len(events)))
    kinds = [e["kind"] for e in events]
    assert kinds.count("graded") == 1 and kinds.count("sealed") == 1, moment
    keys = [e["data"]["key"] for e in events if e["kind"] == "evaluate"]
    assert len(keys) == len(set(keys)) == 2
    ticks = [e["data"]["text"] for e in events if e["kind"] == "note"][1:]
    assert ticks == [f"tick {n}" for n in range(10)]  # the agent was re-attached, not restarted, and never noticed
    assert not [s for s in get_backend(SANDBOX).list() if run["id"] in s]


def test_ctrl_c_leaves_the_run_resumable_and_says_how_to_go_on(dojo: Commands):
    process = dojo.start(*dojo.submit(dojo.agent("worker", WORKER)))
    dojo.wait_for(happened("note"))
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "1 agent goes on working in its sandbox until the budget is over, at " in err
    batch = dojo.run_folder().parent.parent.name
    assert f"dojo resume {batch}" in err and f"dojo cancel {batch}   stops the agents now" in err
    resumed = dojo("resume")
    assert resumed.data["runs"][0]["state"] == "done"


def test_a_cancelled_run_ends_at_once_and_leaves_nothing_on_the_host(dojo: Commands):
    process = dojo.start(*dojo.submit(dojo.agent("worker", WORKER + "time.sleep(600)")), "--json")
    dojo.wait_for(happened("submit"))
    cancelled = dojo("cancel", "@last")
    process.communicate(timeout=60)
    assert cancelled.code == 0
    run = dojo("status").data["runs"][0]
    assert run["state"] == "cancelled" and run["outcome"]["cause"] == "cancelled"
    assert not [s for s in get_backend(SANDBOX).list() if run["id"] in s]


def test_a_sandbox_that_dies_is_an_infrastructure_failure_and_the_run_starts_anew(dojo: Commands):
    process = dojo.start(*dojo.submit(dojo.agent("worker", WORKER)), "--json")
    dojo.wait_for(happened("note"))
    backend = get_backend(SANDBOX)
    victim = next(s for s in backend.list() if s.endswith("-task") and dojo.run_folder().name in s)
    backend.destroy(victim)
    process.communicate(timeout=200)
    run = dojo("status").data["runs"][0]
    assert run["state"] == "done" and run["attempt"] == 2


def test_gc_ends_and_grades_a_run_whose_budget_ended_after_its_harness(dojo: Commands):
    script = HAND_IN_BASE + 'api.submit("/workspace/out")\napi.note("ready")\ntime.sleep(600)'
    process = dojo.start(*dojo.submit(dojo.agent("sleeper", script), "--budget", "wall=15s"), "--json")
    dojo.wait_for(happened("note"))
    dojo.kill(process)
    run = dojo.run_folder().name
    deadline = time.monotonic() + 60
    while not (late := dojo("gc", "--dry-run").data["overdue"]):
        assert time.monotonic() < deadline  # each look is a process of its own, so this does not spin
    assert (late[0]["id"], late[0]["state"]) == (run, None)
    finished = dojo("gc", "--finish").data["overdue"]
    assert [(row["id"], row["state"], row["error"]) for row in finished] == [(run, "done", None)]
    ended = dojo("status").data["runs"][0]
    assert ended["outcome"]["cause"] == "agent_budget" and ended["score"] is not None
    assert dojo("gc").data["overdue"] == []
    assert not [s for s in get_backend(SANDBOX).list() if run in s]
