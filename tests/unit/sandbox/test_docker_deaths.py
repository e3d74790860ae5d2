"""Why a container does not answer: want of memory is its agent's doing where the container's limit is all there is."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.sandbox import docker
from harness.spec.outcome import Cause


@pytest.mark.parametrize(
    ("killed", "running", "own_group", "cause"),
    [
        (True, False, False, Cause.AGENT_ERROR),
        (True, False, True, Cause.SANDBOX),
        (True, True, False, Cause.SANDBOX),
        (False, False, False, Cause.SANDBOX),
    ],
)
def test_a_container_that_ended_for_memory_was_ended_by_whoever_works_in_it(
    killed: bool, running: bool, own_group: bool, cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless commands have a group of their own, whose limit is reached first."""
    host: Any = object.__new__(docker._Host)
    host.folder = SimpleNamespace(path=SimpleNamespace(exists=lambda: True))
    host.group = SimpleNamespace(procs_files=("tasks",) if own_group else ())
    state = {"Running": running, "Status": "exited", "OOMKilled": killed, "Error": "", "ExitCode": 137}
    container = SimpleNamespace(attrs={"State": state}, logs=lambda tail: b"")
    monkeypatch.setattr(host, "_container_found", lambda: container)
    assert host.cause_of_death().cause is cause
