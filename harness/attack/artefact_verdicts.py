"""Attacks with forged verdicts, given to the code that reads what a grader says (row 20)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.task import TASK_FOLDER
from harness.grading.verdict import MAX_VERDICT_BYTES, read_verdict
from harness.spec.errors import GraderFailure
from harness.taskkit.scoring.contract import TaskGrader, load_grader

_WORDS = ("even", "odd")
_ROWS = {f"q{n}": {"question": f"{n}?", "answer": _WORDS[n % 2]} for n in range(6)}
_PRIMARY = "accuracy"


def _honest(grader: TaskGrader) -> dict[str, Any]:
    """A verdict as a grader writes it: three right answers of six."""
    responses = {name: "\\boxed{even}" for name in _ROWS}
    answers = {name: grader.score(row, responses[name], "parity") for name, row in _ROWS.items()}
    scores = grader.aggregate(((_ROWS[name], "parity", answer) for name, answer in answers.items()), _PRIMARY)
    items = [
        {"id": name, "subset": "parity", "parsed": a.parsed, "score": a.score, "value": a.value} for name, a in answers.items()
    ]
    return {"split": "hidden", "scores": scores.model_dump(mode="json"), "items": items, "settings": {}, "seconds": 1.0}


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(verdict: dict[str, Any]) -> None:
        place: Any = verdict
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def _doubled_item(verdict: dict[str, Any]) -> None:
    verdict["items"][5] = dict(verdict["items"][0])


def _only_the_right_ones(verdict: dict[str, Any]) -> None:
    verdict["items"] = [item for item in verdict["items"] if item["score"] == 1.0]
    verdict["scores"] |= {"items": 3, "primary": {"name": _PRIMARY, "value": 1.0, "higher_is_better": True}}


CHANGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "a score of 1 that does not follow from the items": _set("scores", "primary", "value", value=1.0),
    "a sub-set's score that does not follow": _set("scores", "subsets", "parity", "accuracy", value=0.9),
    "a parse rate that does not follow": _set("scores", "parse_rate", value=0.1),
    "an item's score above 1": _set("items", 0, "score", value=5.0),
    "a negative score": _set("items", 0, "score", value=-1.0),
    "NaN as a score": _set("scores", "primary", "value", value=float("nan")),
    "infinity as a score": _set("items", 0, "score", value=float("inf")),
    "a score of 1e300": _set("scores", "metrics", "accuracy", value=1e300),
    "text as a score": _set("items", 0, "score", value="1.0 (really)"),
    "an item twice": _doubled_item,
    "only the items it got right": _only_the_right_ones,
    "an item that is not of the split": _set("items", 0, "id", value="mine"),
    "another sub-set": _set("items", 0, "subset", value="easy"),
    "the dev split's verdict": _set("split", value="dev"),
    "a field of its own": _set("passed", value=True),
    "a negative duration": _set("seconds", value=-1.0),
    "a further metric": _set("scores", "metrics", "bonus", value=1.0),
}


def _texts(honest: str) -> dict[str, bytes]:
    return {
        "a key twice": honest.replace('"split": "hidden"', '"split": "dev", "split": "hidden"', 1).encode(),
        "scores twice, the second of 1": (honest[:-1] + ', "scores": {"primary": {"name": "accuracy", "value": 1.0}}}').encode(),
        "NaN spelt out": honest.replace('"seconds": 1.0', '"seconds": NaN', 1).encode(),
        "a number that overflows": honest.replace('"seconds": 1.0', '"seconds": 1e999', 1).encode(),
        "an integer of 400 digits": honest.replace('"seconds": 1.0', f'"seconds": {"9" * 400}', 1).encode(),
        "brackets without end": b"[" * 200_000,
        "no UTF-8": b'{"split": "\xff\xfe"}',
        "nothing": b"",
        "a list": b"[]",
        "more bytes than allowed": b" " * (MAX_VERDICT_BYTES + 1),
    }


def _read(data: Any, grader: TaskGrader) -> None:
    read_verdict(data, split="hidden", subsets=dict.fromkeys(_ROWS, "parity"), grader=grader, rows=_ROWS, primary=_PRIMARY)


def _refused(what: str, data: Any, grader: TaskGrader) -> None:
    try:
        _read(data, grader)
    except GraderFailure:
        return
    raise NotStopped(f"{what} was believed")


def _forged_verdicts(ground: Ground) -> str:
    grader = load_grader(TASK_FOLDER)
    honest = _honest(grader)
    for what, change in CHANGED.items():
        forged = copy.deepcopy(honest)
        change(forged)
        _refused(what, forged, grader)
    texts = _texts(json.dumps(honest))
    for what, data in texts.items():
        _refused(what, data, grader)
    return f"{len(CHANGED) + len(texts)} forged verdicts were refused as a failure of the grader, never as a score"


def _honest_verdict(ground: Ground) -> str:
    grader = load_grader(TASK_FOLDER)
    _read(json.dumps(_honest(grader)).encode(), grader)
    stopped(False, "the honest verdict is believed")
    return "not reached"


ATTACKS = (
    Attack(
        20, "forges-verdicts", Where.ARTEFACT,
        "give verdicts with NaN, infinities, doubled keys and items, other items, scores that do not follow, 64 MB of blanks",
        "strict JSON, a bounded schema, exactly the split's items, and scores computed again",
        _forged_verdicts, _honest_verdict,
    ),
)  # fmt: skip
