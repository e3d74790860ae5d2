"""The suite can fail, and it tries no attack where that would hit the host."""

from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.base import ExecResult, SandboxSpec
from harness.sandbox.contract import PROMISES, Promise, PromiseBroken, Stage
from harness.sandbox.contract.promise import HARMFUL_WITHOUT_ISOLATION
from harness.sandbox.unsafe_local import UnsafeLocalBackend

BY_NAME = {promise.name: promise for promise in PROMISES}


class Lying:
    """A real sandbox whose results are wrong in one way."""

    def __init__(self, inner: Any, **wrong: Any) -> None:
        self._inner, self._wrong = inner, wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def exec(self, *args: Any, **kwargs: Any) -> ExecResult:
        result = self._inner.exec(*args, **kwargs)
        return ExecResult(**{**result.__dict__, **self._wrong})


class LyingBackend(UnsafeLocalBackend):
    def __init__(self, **wrong: Any) -> None:
        self._wrong = wrong

    def create(self, spec: SandboxSpec) -> Any:
        return Lying(super().create(spec), **self._wrong)


class SilentBackend(UnsafeLocalBackend):
    """Isolates nothing and does not say so."""

    isolates = True


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ({"exit_code": 0}, "the_exit_code_is_the_commands"),
        ({"timed_out": False}, "a_deadline_ends_the_command"),
        ({"timed_out": True}, "exit_codes_never_look_like_timeouts"),
        ({"truncated": False}, "a_flood_keeps_head_and_tail"),
        ({"truncated": True}, "output_up_to_the_cap_is_whole"),
        ({"stderr": b""}, "a_missing_program_is_a_result"),
        ({"stdout": b""}, "stdin_reaches_the_command"),
    ],
)
def test_a_backend_that_reports_wrongly_breaks_the_promise(wrong: dict[str, Any], broken: str, tmp_path: Path) -> None:
    with Stage(LyingBackend(**wrong), tmp_path) as stage, pytest.raises(PromiseBroken):
        BY_NAME[broken].check(stage)


def test_names_are_unique_and_there_are_enough() -> None:
    assert len(BY_NAME) == len(PROMISES) >= 70


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group in HARMFUL_WITHOUT_ISOLATION], ids=str)
def test_no_attack_is_tried_on_a_backend_that_does_not_isolate_whatever_it_says(promise: Promise, tmp_path: Path) -> None:
    stage = Stage(SilentBackend(), tmp_path)
    calls: list[object] = []
    real = stage.backend.create

    class Watched:
        """Lets the look at the namespaces through and nothing else."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def exec(self, argv: list[str], **kwargs: Any) -> ExecResult:
            calls.append(argv)
            assert argv[0] == "readlink", argv
            result: ExecResult = self._inner.exec(argv, **kwargs)
            return result

        def alive(self) -> bool:
            return bool(self._inner.alive())

        def close(self) -> None:
            self._inner.close()

    stage.backend.create = lambda spec: Watched(real(spec))  # type: ignore[method-assign, assignment, return-value]
    with stage, pytest.raises(PromiseBroken, match="the host's own"):
        promise.check(stage)
    assert calls
