"""The worker's own loop without a model: whatever a request or its answer is, there is a reply and the worker lives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.grading.worker.main import Worker
from harness.grading.worker.protocol import write_json
from harness.spec.errors import SubmissionRefused


def served(work: Path, answer: Any, request: Any = None) -> dict[str, Any]:
    """Let a worker that has loaded nothing serve one request and the end, and return the reply to the first."""
    worker = Worker.__new__(Worker)
    worker.work, worker.mounted, worker._said, worker._beat, worker.lends = work, work / "submission", 0.0, 0, False
    if answer is not None:
        real = worker.answer
        worker.answer = lambda given: real(given) if given == {"op": "stop"} else answer(given)  # type: ignore[method-assign]
    write_json(work / "requests" / "1.json", {"op": "check", "path": None} if request is None else request)
    write_json(work / "requests" / "2.json", {"op": "stop"})
    worker.serve()
    assert json.loads((work / "replies" / "2.json").read_bytes()) == {"ok": True}
    return json.loads((work / "replies" / "1.json").read_bytes())


def nested(_: Any) -> dict[str, Any]:
    found: list[Any] = []
    for _number in range(100_000):
        found = [found]
    return {"ok": found}


@pytest.mark.parametrize(
    "answer",
    [lambda _: {"ok": True, "score": float("nan")}, lambda _: {"ok": {1, 2}}, lambda _: {"ok": object()}, nested],
    ids=["a number that is none", "a set", "an object", "nested without end"],
)
def test_an_answer_that_json_cannot_say_is_an_error_reply(tmp_path: Path, answer: Any) -> None:
    reply = served(tmp_path, answer)
    assert reply["ok"] is False and reply["error"]["code"] == "grader" and reply["error"]["message"]


@pytest.mark.parametrize(
    "request_",
    [{"op": "check"}, {"op": "score", "path": 7}, {"op": "check", "path": "\ud800"}, {"op": "check", "path": "\0"}, {"op": None}],
)
def test_a_request_that_makes_no_sense_is_an_error_reply(tmp_path: Path, request_: Any) -> None:
    assert served(tmp_path, None, request_)["error"]["code"] == "grader"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (SystemExit(3), "grader"),
        (RecursionError("deep"), "grader"),
        (MemoryError(), "grader"),
        (SubmissionRefused("x"), "submission_refused"),
    ],
)
def test_what_breaks_inside_is_an_error_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: str
) -> None:
    def broken(*_: Any) -> Any:
        raise raised

    monkeypatch.setattr("harness.grading.worker.main.read_submission", broken)
    monkeypatch.setattr(Worker, "engine", type("Engine", (), {"files": None}), raising=False)
    assert served(tmp_path, None)["error"]["code"] == code


def test_where_an_agent_works_on_the_same_card_nothing_is_held_on_it_when_a_reply_can_be_read(tmp_path: Path) -> None:
    class Resting:
        def __init__(self) -> None:
            self.replies: list[list[str]] = []

        def rest(self) -> None:
            self.replies.append(sorted(path.name for path in (tmp_path / "replies").iterdir()))

    worker = Worker.__new__(Worker)
    worker.work, worker.mounted, worker._said, worker._beat, worker.lends = tmp_path, tmp_path / "submission", 0.0, 0, True
    engine = worker.engine = Resting()  # type: ignore[assignment]
    for number, request in (("1", {"op": "check", "path": 7}), ("2", {"op": "stop"})):
        write_json(tmp_path / "requests" / f"{number}.json", request)
    worker.serve()
    assert engine.replies == [[], ["1.json"]]
