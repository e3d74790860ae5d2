"""The executor `slurm` keeps its promises on a real Slurm, and runs outlive what happens to jobs there. The runs are played."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.executor.base import Outcomes, Work
from harness.executor.contract import PROMISES, Stage
from harness.executor.slurm import SlurmExecutor
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.database import SqlStore

pytestmark = pytest.mark.slow
_PLAYED = (sys.executable, "-m", "harness.executor.contract")
_SOON_S = 60.0


def played(work: Work) -> SlurmExecutor:
    return SlurmExecutor(work, _PLAYED)


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def of_job(id: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", slurm("scontrol", "show", "job", "--oneliner", id))
    assert found
    return found[1]


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + _SOON_S
    while not (found := true()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)
    return found


def jobs_of(run: str) -> list[str]:
    """The ids of a run's jobs, whatever became of them, the oldest first."""
    return sorted(slurm("squeue", "--noheader", "--states=all", f"--name=dojo-{run}", "--format=%i").split(), key=int)


@pytest.fixture
def stage(cluster: None, tmp_path: Path) -> Iterator[Stage]:
    store = SqlStore(tmp_path / "home")
    yield Stage(played, store)
    for run in store.runs():
        slurm("scancel", f"--name=dojo-{run.id}")
    store.close()


@pytest.fixture
def started(stage: Stage) -> tuple[str, str]:
    """A run that is driven by a job, and the job."""
    batch, (run,) = stage.batch(1)
    stage.executor.start(batch)
    assert stage.runner.started(run).wait(_SOON_S)
    (job,) = jobs_of(run)
    return run, job


@pytest.fixture
def following(stage: Stage) -> Iterator[Callable[[], Future[Outcomes]]]:
    """Follow what was started, in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda: pool.submit(stage.executor.wait, stage.stop)
        stage.stop.set()


Follow = Callable[[], Future[Outcomes]]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_slurm_executor_keeps_its_promise(promise: Any, stage: Stage) -> None:
    promise(stage)


@pytest.mark.parametrize(("number", "code"), [("KILL", "0:9"), ("TERM", "130:0")])
def test_a_runner_that_is_killed_or_told_that_its_time_is_over_is_followed_by_another_job(
    number: str, code: str, stage: Stage, started: tuple[str, str], following: Follow
) -> None:
    run, job = started
    outcomes = following()
    slurm("scancel", "--batch", f"--signal={number}", job)  # as Slurm itself gives notice of the time limit
    again = until(lambda: jobs_of(run)[1:])
    stage.open(run)
    assert outcomes.result(_SOON_S) == {run: RunState.DONE}
    assert (of_job(job, "ExitCode"), of_job(again[0], "ExitCode")) == (code, "0:0")


def test_a_job_whose_place_is_taken_by_another_of_more_weight_goes_on_when_there_is_room(
    stage: Stage, started: tuple[str, str], following: Follow
) -> None:
    run, job = started
    outcomes = following()
    other = slurm(
        "sbatch", "--parsable", "--partition=first", "--exclusive", "--output=/dev/null", "--chdir=/", "--wrap=sleep 300"
    ).strip()
    until(lambda: of_job(other, "JobState") == "RUNNING")
    assert of_job(job, "JobState") == "PENDING" and not stage.store.run(run).state.final, "Slurm has put it back"
    slurm("scancel", other)
    stage.open(run)
    assert outcomes.result(_SOON_S) == {run: RunState.DONE}


def test_a_run_whose_node_is_lost_goes_on_when_the_node_is_back(
    stage: Stage, started: tuple[str, str], following: Follow
) -> None:
    run, job = started
    outcomes = following()
    node = of_job(job, "NodeList")
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=tried")
    until(lambda: of_job(job, "JobState") == "PENDING")
    # a node whose daemon registers again is back by itself
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False, capture_output=True)
    stage.open(run)
    assert outcomes.result(_SOON_S) == {run: RunState.DONE}


def test_a_job_that_somebody_cancels_leaves_its_run_to_be_resumed(
    stage: Stage, started: tuple[str, str], following: Follow
) -> None:
    run, job = started
    outcomes = following()
    slurm("scancel", job)
    found = outcomes.result(_SOON_S)[run]
    assert isinstance(found, DojoError) and found.code == "lost" and "cancelled by somebody" in found.message
    assert not stage.store.run(run).state.final
    again = Stage(played, stage.store)
    again.open(run)
    again.executor.start(stage.store.run(run).batch)
    assert again.executor.wait(again.stop) == {run: RunState.DONE}


def test_a_controller_that_is_away_for_a_while_costs_nothing(stage: Stage, started: tuple[str, str], following: Follow) -> None:
    run, _ = started
    pid = int((Path(os.environ["SLURM_CONF"]).parent / "slurmctld.pid").read_text())
    outcomes = following()
    slurm("scontrol", "shutdown", "slurmctld")
    until(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())
    stage.open(run)
    subprocess.run(["slurmctld", "-f", os.environ["SLURM_CONF"]], check=True)
    assert outcomes.result(_SOON_S) == {run: RunState.DONE}


def test_two_who_submit_a_batch_at_the_same_moment_start_each_run_once(stage: Stage) -> None:
    batch, runs = stage.batch(3)
    stage.open(*runs)
    both = [stage.executor, played(Work(stage.runner))]
    together = threading.Barrier(2)

    def submit(executor: Any) -> Outcomes:
        together.wait()
        executor.start(batch)
        found: Outcomes = executor.wait(stage.stop)
        return found

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(submit, both))
    assert sorted(stage.runner.driven()) == sorted(runs), outcomes
    assert all(stage.store.run(run).state is RunState.DONE for run in runs)


def test_a_job_that_waits_says_why_in_slurms_words_and_is_gone_when_its_run_is_cancelled(stage: Stage) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_SLURM_OPTIONS", "--cpus-per-task=500")  # more than any node has; `check` was not asked
        batch, (run,) = stage.batch(1)
        executor = played(Work(stage.runner))
        executor.start(batch)
        (job,) = jobs_of(run)
        reason = of_job(job, "Reason")
        assert reason not in ("", "None") and reason in (said := executor.why(stage.store.run(run))), said
        executor.cancel(run)
    assert stage.store.run(run).state is RunState.CANCELLED
    assert of_job(job, "JobState") == "CANCELLED"


def test_a_run_asks_for_its_gpus_and_cores_and_a_time_limit_from_its_budget(stage: Stage) -> None:
    batch, (run,) = stage.batch(1, Limits(cpus=2.5, memory_mb=100, gpus=2))
    stage.executor.start(batch)
    (job,) = jobs_of(run)
    asked = slurm("scontrol", "show", "job", "--oneliner", job)
    stage.open(run)
    assert stage.executor.wait(stage.stop) == {run: RunState.DONE}
    assert "TresPerNode=gres:gpu:2" in asked and "CPUs/Task=3" in asked and "MinMemoryNode=164M" in asked
    assert "TimeLimit=02:02:00" in asked and f"Comment=dojo batch {batch}" in asked and "Requeue=1" in asked
    with pytest.raises(DojoError, match="3 GPUs; the largest node has 2"):
        stage.executor.check(Limits(gpus=3, memory_mb=64))


def test_a_node_that_does_not_see_the_results_directory_is_said(stage: Stage, following: Follow, tmp_path: Path) -> None:
    batch, (run,) = stage.batch(1)
    file = stage.store.files(run).path / "run.json"
    patch = pytest.MonkeyPatch()
    patch.setenv("DOJO_SLURM_OPTIONS", "--hold")
    executor = played(Work(stage.runner))
    executor.start(batch)
    patch.undo()
    hidden = file.rename(file.with_name("away"))
    (job,) = jobs_of(run)
    slurm("scontrol", "release", job)
    found = executor.wait(stage.stop)[run]
    hidden.rename(file)
    assert isinstance(found, DojoError) and found.code == "not_shared" and of_job(job, "NodeList") in found.message


def test_a_prologue_runs_first_and_what_a_runner_says_is_its_error(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "prologue").write_text("export SAID_FIRST=loaded\n")
    words = '{"error": {"code": "spec", "message": "the task changed, %s", "hint": "plan anew"}}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_SLURM_PROLOGUE", str(tmp_path / "prologue"))
        batch, (run,) = stage.batch(1)
        executor = SlurmExecutor(Work(stage.runner), ("bash", "-c", f"printf '{words}\\n' $SAID_FIRST; exit 2"))
        executor.start(batch)
    found = executor.wait(stage.stop)[run]
    assert isinstance(found, DojoError) and (found.message, found.code) == ("the task changed, loaded", "spec")
    assert len(jobs_of(run)) == 1, "what was said is not tried again"


def test_a_runner_that_dies_every_time_is_given_up_with_its_last_words(stage: Stage) -> None:
    batch, (run,) = stage.batch(1)
    executor = SlurmExecutor(Work(stage.runner), ("bash", "-c", f"kill -{signal.SIGKILL.value} $$"))
    executor.start(batch)
    found = executor.wait(stage.stop)[run]
    assert isinstance(found, DojoError) and found.code == "runner_lost" and "died 3 times" in found.message
    assert len(jobs_of(run)) == 3
