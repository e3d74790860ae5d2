"""How a Job ended, told from what the API says of it and its pod."""

import json
from typing import Any

import pytest

from harness.executor.kubernetes.ends import end_of, finished
from harness.spec.errors import MissingError, SandboxError, StoreError
from harness.spec.outcome import Cause
from tests.unit.executor.kubernetes.objects import complete, job, runner_pod


def said(code: str) -> str:
    return "dojo: words\n" + json.dumps({"ok": False, "error": {"code": code, "message": "what is wrong", "hint": "do this"}})


def disrupted() -> dict[str, Any]:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    return runner_pod(137, conditions=[condition])


@pytest.mark.parametrize(
    ("found", "pods", "cause", "words"),
    [
        (
            job(reason="DeadlineExceeded", message="active too long"),
            [],
            Cause.HARNESS,
            "DeadlineExceeded: active too long",
        ),
        (job(reason="BackoffLimitExceeded"), [disrupted()], Cause.EVICTED, "drained"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(137, reason="OOMKilled")], Cause.HARNESS, "ran out of memory"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(255, "its log", reason="Unknown")], Cause.EVICTED, "node lost"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(137)], Cause.HARNESS, "was ended (exit code 137)"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(130, said("interrupted"))], Cause.HARNESS, "exit code 130"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(1, said("lost"))], Cause.HARNESS, "was ended"),
        (job(reason="BackoffLimitExceeded"), [runner_pod(1, said("database_away"))], Cause.HARNESS, "what is wrong"),
        (job(reason="BackoffLimitExceeded", message="gone"), [], Cause.HARNESS, "BackoffLimitExceeded: gone"),
    ],
)
def test_a_runner_that_died_is_started_again(found: Any, pods: Any, cause: Cause, words: str) -> None:
    end = end_of(found, pods)
    assert end.error is None and end.death.cause is cause and words in end.death.text


@pytest.mark.parametrize(
    ("exit_code", "code", "kind"), [(1, "disk_full", StoreError), (3, "missing", MissingError), (1, "refused", SandboxError)]
)
def test_what_a_runner_said_before_it_ended_is_the_error_of_its_run(exit_code: int, code: str, kind: type) -> None:
    end = end_of(job(reason="BackoffLimitExceeded"), [runner_pod(exit_code, said(code))])
    assert type(end.error) is kind
    assert (end.error.code, end.error.message, end.error.hint) == (code, "what is wrong", "do this")


def test_a_runner_that_ended_with_other_words_is_not_started_again() -> None:
    end = end_of(job(reason="BackoffLimitExceeded"), [runner_pod(1, "Traceback: boom")])
    assert end.error is not None and end.error.code == "runner_failed" and "boom" in end.error.message


def test_a_job_is_over_when_it_is_complete_or_failed() -> None:
    assert finished(complete()) and finished(job(reason="BackoffLimitExceeded")) and not finished(job())
