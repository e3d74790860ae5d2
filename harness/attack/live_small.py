"""Attacks through small gaps: memory that nobody counts, calls that leave no trace, answers of chance (row 44)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground
from harness.attack.live_api import Served, served
from harness.attack.live_calls import sent
from harness.executor.slots import Slots
from harness.sandbox.contract.promise import expect
from harness.spec.event import EventKind
from harness.spec.task import Limits
from harness.taskkit.scoring.contract import TaskGrader, load_grader

# A grader as one is that draws what a model's program plots: the same answer is worth another score each time it is run.
_GRADER = """
SUBSET_METRICS = {"all": "accuracy"}
runs = []
def subset_of(row): return "all"
def score(row, response, subset):
    runs.append(response)
    return {"parsed": True, "value": None, "score": float(len(runs) % 2), "metrics": {}}
def constant_answers(items): return ["x"]
def process_results(doc, results):
    scored = score(doc["row"], results[0], doc["subset"])
    return {"score": scored["score"], "parsed": 1.0}
"""
_LIMITS = Limits(cpus=1, memory_mb=6_000)
_BROKEN = "a\ud800b\udfff\0"
_CALLS: dict[EventKind, list[tuple[str, str, str | None]]] = {
    EventKind.EXEC: [
        ("POST", "/v1/exec", json.dumps({"command": "printf 'a\\377b'; echo \ud800"})),
        ("POST", "/v1/exec", json.dumps({"argv": ["echo", "\udfff", "\u202e"]})),
        ("POST", "/v1/exec", json.dumps({"argv": ["cat"], "stdin": _BROKEN})),
        ("POST", "/v1/exec", json.dumps({"argv": ["sh", "-c", "echo $X"], "env": {"X": "\ud800"}})),
        ("POST", "/v1/exec", json.dumps({"argv": ["no-such-program\ud800"]})),
        ("POST", "/v1/exec", json.dumps({"command": "head -c 100000 /dev/urandom"})),
    ],
    EventKind.NOTE: [
        ("POST", "/v1/note", json.dumps({"text": _BROKEN})),
        ("POST", "/v1/note", json.dumps({"text": "x", "data": {"\ud800": ["\udfff", 1e308, -0.0, None]}})),
    ],
    EventKind.FILE: [
        ("PUT", "/v1/files?path=%ed%a0%80", "x"),
        ("GET", "/v1/files?path=%ed%a0%80", None),
        ("PUT", "/v1/files?path=a%ffb", "x"),
    ],
}


def _traces(ground: Ground) -> str:
    calls = [call for some in _CALLS.values() for call in some]
    with served(ground) as at:
        answers = sent(at, calls)
        _every_one_is_told(at, answers)
    return f"{len(calls)} calls with halves of letters, zeros and bytes that are no text: each was answered and left its event"


def _every_one_is_told(at: Served, answers: list[tuple[int, str, str, str, str]]) -> None:
    done = [answer for answer in answers if answer[0] == 200]
    expect(len(done) == len(answers), [answer for answer in answers if answer[0] != 200])
    told = [event.kind for event in at.run.events()]
    missing = {kind.value: len(some) - told.count(kind) for kind, some in _CALLS.items() if told.count(kind) != len(some)}
    stopped(not missing, f"calls were answered and left no event: {missing}")


def _room(ground: Ground, memory_mb: int) -> str:
    slots, stop = Slots(64, memory_mb, 0, ground.folder()), threading.Event()
    with slots.take("first", _LIMITS, stop) as first:
        expect(first, "the first run has no room")
        stop.set()  # the second does not wait
        missing = slots.missing("second", _LIMITS)
        stopped("MB of memory" in missing, f"two runs of {_LIMITS.memory_mb} MB each began on a machine of 8,000 MB")
    return f"the second run {missing}"


def _memory_is_claimed(ground: Ground) -> str:
    return _room(ground, 8_000)


def _memory_is_not_claimed(ground: Ground) -> str:
    return _room(ground, 1 << 40)


def _chance(ground: Ground, scoring: Callable[[TaskGrader], AbstractContextManager[None]]) -> str:
    task = ground.folder() / "domain" / "chance"
    (task / "tests").mkdir(parents=True)
    Path(task / "tests" / "grader.py").write_text(_GRADER)
    grader = load_grader(task)
    row = {"question": "plot it", "answer": 1.5}
    with scoring(grader):
        measured = grader.module.process_results({"row": json.loads(json.dumps(row)), "subset": "all"}, ["import random"])
        scored = grader.score(row, "import random", "all").score
    runs = len(grader.module.runs)
    told = f"worth {measured['score']} to lm-eval, {scored} to the harness: the grader fails"
    stopped(measured["score"] == scored, told)
    stopped(runs == 1, f"the answer's program was run {runs} times")
    return "an answer whose worth is chance was scored once, for both who ask"


def _scored_once(ground: Ground) -> str:
    return _chance(ground, TaskGrader.scoring_once)


def _scored_twice(ground: Ground) -> str:
    return _chance(ground, lambda grader: nullcontext())


ATTACKS = (
    Attack(
        44, "calls-without-a-trace", Where.SANDBOX,
        "call with texts that are no text, so that what was done stands in no event",
        "text is made clean once, where it comes in; every answered call leaves its event",
        _traces,
    ),
    Attack(
        44, "memory-of-many-runs", Where.ARTEFACT,
        "submit runs whose memory together is more than the machine's, so that the host kills whom it likes",
        "cores, memory and GPUs are claimed before a run begins",
        _memory_is_claimed, _memory_is_not_claimed,
    ),
    Attack(
        44, "answers-of-chance", Where.ARTEFACT,
        "answer with a program that does otherwise each time, so that two scorings disagree and the grader seems broken",
        "every answer is scored once",
        _scored_once, _scored_twice,
    ),
)  # fmt: skip
