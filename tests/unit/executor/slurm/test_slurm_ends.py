"""How a job of Slurm ended, told from what its programs print and what the runner wrote."""

import json

import pytest

from harness.executor.slurm.ends import Ended, end_of, forgotten, of_sacct, of_scontrol, seconds
from harness.spec.errors import MissingError, SandboxError, StoreError
from harness.spec.outcome import Cause

_SHOWN = (
    "JobId=12 JobName=dojo-r1 UserId=root(0) Priority=1 QOS=(null) JobState={state} Reason=None Dependency=(null) Requeue=1 "
    "Restarts=0 BatchFlag=1 Reboot=0 ExitCode={code} RunTime=1-00:00:02 TimeLimit={limit} TimeMin=N/A NodeList=n7 "
    "Comment=dojo batch b1 JobState=FAKED"
)


def said(code: str) -> str:
    return "a line\n" + json.dumps({"ok": False, "error": {"code": code, "message": "what is wrong", "hint": "do this"}})


def test_what_scontrol_shows_is_read() -> None:
    shown = _SHOWN.format(state="NODE_FAIL", code="0:9", limit="2-00:00:00")
    assert of_scontrol("12", shown) == Ended("12", "NODE_FAIL", 0, 9, 86402, 172800, "n7")
    assert of_scontrol("12", _SHOWN.format(state="RUNNING", code="0:0", limit="UNLIMITED")).limit_s is None


def test_what_sacct_prints_is_read_the_newest_start_last() -> None:
    printed = "NODE_FAIL|0:0|3|60|n1\nCANCELLED by 1000|0:15|62|Partition_Limit|n2\n"
    assert of_sacct("12", printed) == Ended("12", "CANCELLED", 0, 15, 62, None, "n2")
    assert of_sacct("12", "TIMEOUT|0:0|3600|60|None assigned\n") == Ended("12", "TIMEOUT", 0, 0, 3600, 3600, "")
    assert of_sacct("12", "") is None


@pytest.mark.parametrize(
    ("text", "is_"), [("00:00:02", 2), ("1-02:03:04", 93784), ("03:04", 184), ("UNLIMITED", None), ("N/A", None), ("", None)]
)
def test_times_are_read_as_slurm_writes_them(text: str, is_: int | None) -> None:
    assert seconds(text) == is_


@pytest.mark.parametrize(
    ("job", "wrote", "cause", "words"),
    [
        (Ended("12", "NODE_FAIL", node="n7"), "", Cause.EVICTED, "the job 12 on n7: its node was lost (NODE_FAIL)"),
        (Ended("12", "PREEMPTED"), "", Cause.EVICTED, "its place was taken"),
        (Ended("12", "BOOT_FAIL"), "", Cause.EVICTED, "did not start"),
        (Ended("12", "TIMEOUT", limit_s=60), "", Cause.HARNESS, "reached its time limit of 60 s"),
        (Ended("12", "OUT_OF_MEMORY", 0, 125), said("spec"), Cause.HARNESS, "ran out of memory (DOJO_SLURM_MEMORY_MB)"),
        (Ended("12", "FAILED", 0, 9), "", Cause.HARNESS, "was killed (signal 9)"),
        (Ended("12", "FAILED", 130, 0, 30, 3600), said("interrupted"), Cause.HARNESS, "was ended (exit code 130)"),
        (Ended("12", "FAILED", 130, 0, 3541, 3600), said("interrupted"), Cause.HARNESS, "time limit of 3600 s was near"),
        (Ended("12", "FAILED", 1), said("lost"), Cause.HARNESS, "was ended"),
        (Ended("12", "FAILED", 1), said("database_away"), Cause.HARNESS, "was ended"),
    ],
)
def test_a_runner_that_died_is_followed_by_another_job(job: Ended, wrote: str, cause: Cause, words: str) -> None:
    end = end_of(job, wrote, "/log")
    assert job.over and end.error is None and end.death.cause is cause and words in end.death.text


@pytest.mark.parametrize(
    ("job", "wrote", "kind", "code"),
    [
        (Ended("12", "FAILED", 3), said("missing"), MissingError, "missing"),
        (Ended("12", "FAILED", 1), said("refused"), SandboxError, "refused"),
        (Ended("12", "FAILED", 1), said("disk_full"), StoreError, "disk_full"),
        (Ended("12", "FAILED", 1), "Traceback: words", StoreError, "runner_failed"),
        (Ended("12", "COMPLETED"), "", StoreError, "runner_failed"),
        (Ended("12", "CANCELLED", 0, 15), "", StoreError, "lost"),
        (Ended("12", "FAILED", 90), "", MissingError, "not_shared"),
        (Ended("12", "FAILED", 91), "", MissingError, "not_shared"),
    ],
)
def test_what_a_person_must_mend_is_not_tried_again(job: Ended, wrote: str, kind: type[Exception], code: str) -> None:
    error = end_of(job, wrote, "/log").error
    assert isinstance(error, kind) and error.code == code and error.hint  # type: ignore[attr-defined]


def test_the_end_of_a_job_that_slurm_has_forgotten_is_a_death() -> None:
    assert forgotten("12").error is None and "forgotten" in forgotten("12").death.text


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETING", "REQUEUED", "SUSPENDED", ""])
def test_a_job_that_goes_on_is_not_over(state: str) -> None:
    assert not Ended("12", state).over
