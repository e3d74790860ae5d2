"""What a watched process may do: speak, work in silence, hang, overrun, die."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ft_agent.child import Child, TrainingFailed

SAYS_DONE = "import json; print(json.dumps({'event': 'done', 'steps': 1}), flush=True)"
WAITS = "import sys; sys.stdin.read()"
SPINS = "import json; print(json.dumps({'event': 'step', 'step': 1}), flush=True)\nwhile True: pass"
# two seconds of work without a word, then done
WORKS = f"import time\nwhile time.process_time() < 2.0: pass\n{SAYS_DONE}"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    children: list[Child] = []

    def start(code: str, **kwargs: Any) -> Child:
        children.append(Child([sys.executable, "-c", code], dict(os.environ), tmp_path / "log", **kwargs))
        return children[-1]

    yield start
    for child in children:
        child.stop()


def failure(child: Child, limit_s: float = 60.0, stall_s: float = 60.0, busy: bool = False) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        child.wait("done", limit_s, lambda: stall_s, busy=busy)
    return caught.value


def test_what_is_waited_for_comes_with_all_it_says(started: Any) -> None:
    assert started(SAYS_DONE).wait("done", 60.0, lambda: 60.0)["steps"] == 1


def test_silence_is_a_stall_and_no_end_in_time_an_overrun(started: Any) -> None:
    assert failure(started(WAITS), stall_s=0.2).kind == "stalled"
    assert failure(started(WAITS), limit_s=0.2).kind == "overran"
    assert failure(started(WAITS), stall_s=0.2, busy=True).kind == "stalled"


def test_by_processor_time_a_slow_step_is_no_stall_and_a_loop_without_end_is_one(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 20)
    assert started(WORKS).wait("done", 600.0, lambda: 1.0, busy=True)["event"] == "done"
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert failure(started("while True: pass"), limit_s=600.0, stall_s=0.5, busy=True).kind == "stalled"


def test_a_group_counts_and_ends_with_what_it_has_started(started: Any) -> None:
    child = started(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPINS!r}])", group=True)
    assert child.wait("step", 60.0, lambda: 60.0)["step"] == 1
    before = child.processor_seconds()
    assert failure(child, limit_s=1.0).kind == "overran"
    assert child.processor_seconds() > before
    child.stop()
    # what it wrote to is closed only once the last of them is gone
    assert failure(child).kind == "crashed"


def test_death_is_told_with_its_code_and_killing_hints_at_memory(started: Any) -> None:
    assert "exit code 3" in str(failure(started("import sys; sys.exit(3)")))
    assert "perhaps memory ran out" in str(failure(started("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")))


def test_a_job_for_a_process_that_is_gone_says_so(started: Any) -> None:
    child = started("")
    assert failure(child).kind == "crashed"
    with pytest.raises(TrainingFailed, match="is gone"):
        child.send({"job": "score"})
