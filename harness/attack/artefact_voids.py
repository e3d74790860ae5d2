"""Attacks that mean to make a run not count: what is handed in or answered breaks its own grade (row 30)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.attack.artefact_submissions import base_model, each_refused, honest_adapter
from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.small_model import ADAPTER, CONFIG, LAYER, adapter_weights, write_adapter, write_full, write_safetensors
from harness.grading.replies import decode_reply
from harness.grading.submission.check import check_submission
from harness.grading.verdict import read_verdict
from harness.grading.worker import protocol
from harness.grading.worker.lm_task import score_answer
from harness.session.grade_phase import written
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import TaskGrader
from harness.taskkit.scoring.extraction import last_json_value
from harness.taskkit.scoring.scores import aggregate

_HUGE = 520_000
_WIDTH = 32

# -- weights that cost the grader more than it has ------------------------------------------------------------------------


def _holes(rank: int, **config: Any) -> Callable[[Path], None]:
    """An adapter of any rank whose file is a header and a hole: it costs whoever made it nothing."""

    def make(path: Path) -> None:
        path.mkdir(parents=True)
        (path / "adapter_config.json").write_text(json.dumps(ADAPTER | {"r": rank} | config))
        size, entries = rank * _WIDTH * 4, {}
        for number, (part, shape) in enumerate((("lora_A", [rank, _WIDTH]), ("lora_B", [_WIDTH, rank]))):
            place = [number * size, (number + 1) * size]
            entries[f"base_model.model.{LAYER}.{part}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": place}
        file = path / "adapter_model.safetensors"
        write_safetensors(file, entries, b"")
        with file.open("r+b") as stream:
            stream.truncate(file.stat().st_size + 2 * size)

    return make


def _outgrown(ground: Ground) -> str:
    def config(**fields: Any) -> Callable[[Path], object]:
        return lambda path: write_adapter(path, adapter_weights(), fields)

    return each_refused(
        ground,
        {
            "a LoRA of rank 520,000 in holes": ({"rank_too_large"}, _holes(_HUGE)),
            "the same rank by a pattern for one layer": (
                {"rank_too_large"}, _holes(_HUGE, r=4, rank_pattern={LAYER: _HUGE}),
            ),
            "a rank of 0.5": ({"bad_config"}, config(r=0.5)),
            "a rank of 0.5 by a pattern": ({"bad_config"}, config(rank_pattern={"q_proj": 0.5})),
            "a rank of 300 digits": ({"bad_config"}, config(r=10**299)),
            "an alpha of 300 digits": ({"bad_config"}, config(lora_alpha=10**299)),
        },
    )  # fmt: skip


# -- directories that break whoever reads them ------------------------------------------------------------------------------


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _unreadable(ground: Ground) -> str:
    """Every one of these is refused with a code; none raises."""
    base, folder = base_model(ground), ground.folder()
    hostile: dict[str, dict[str, Any]] = {
        "positions that are a list": {"rope_parameters": [1]},
        "positions that are text": {"rope_parameters": "ab"},
        "positions nested 900 deep": {"rope_scaling": {"factor": _nested(900)}},
        "a size of 300 digits": {"hidden_size": 10**299},
        "a field nested 900 deep": {"hidden_act": _nested(900)},
        "a lone surrogate": {"hidden_act": "\ud800"},
        "an architecture that is an object": {"architectures": {"a": _nested(100)}},
    }
    for number, (what, fields) in enumerate(hostile.items()):
        target = folder / str(number)
        target.mkdir()
        write_full(target / "full", {}, CONFIG | fields)
        write_adapter(target / "adapter", adapter_weights(), fields | {"r": fields.get("hidden_act", 4), "peft_type": "LORA"})
        for kind in ("full", "adapter"):
            try:
                report = check_submission(target / kind, base)
                said = json.dumps(report.model_dump(mode="json")) and report.model_dump_json()
            except Exception as exc:
                raise NotStopped(f"{what} in the config of {kind}: {type(exc).__name__}: {exc}") from exc
            stopped(not report.ok and bool(said), f"{what} in the config of {kind} was taken")
    return f"refused with a code, in full weights and in adapters: {'; '.join(hostile)}"


# -- answers that cannot be written -------------------------------------------------------------------------------------------

_ITEM = {"id": "i", "subset": "only", "row": {}}
ANSWERS: dict[str, str] = {
    "a lone surrogate": '{"answer": "\\ud800"}',
    "a lone surrogate as a key": '{"answer": {"\\udfff": 1}}',
    "an integer of 400 digits": '{"answer": ' + "9" * 400 + "}",
    "a number that overflows": '{"answer": 1e999}',
    "a list 300 deep": '{"answer": ' + "[" * 300 + "]" * 300 + "}",
    "an object 300 deep": '{"answer": ' + '{"a":' * 300 + "1" + "}" * 300 + "}",
    "zero bytes": '{"answer": "\\u0000"}',
    "a response with a lone surrogate": '{"answer": "x"} \ud800',
}


def _takes_everything() -> TaskGrader:
    """A grader that keeps whatever JSON an answer holds, as graders of tables and orders do."""

    def score(row: Any, response: str, subset: str) -> dict[str, Any]:
        value = last_json_value(response, ["answer"], lambda found: found)
        return {"parsed": value is not None, "value": value, "score": 0.0, "metrics": {}}

    module = SimpleNamespace(SUBSET_METRICS={"only": "accuracy"}, score=score)
    return TaskGrader(Path("grader.py"), cast("Any", module))


def way_of(grader: TaskGrader, item: ItemScore, row: dict[str, Any], folder: Path) -> bytes:
    """Send one scored answer the way of a grade: worker, file, harness, verdict as it is kept.

    Raises:
        Exception: whatever breaks on it.
    """
    scores = aggregate([item], grader, "accuracy", {item.id: row})
    verdict = Verdict(split="hidden", scores=scores, items=(item,))
    report = {"ok": True, "kind": "base"}
    path = folder / "reply.json"
    protocol.write_json(path, {"ok": True, "report": report, "verdict": verdict.model_dump(mode="json"), "responses": {}})
    reply = decode_reply(path.read_bytes())
    checked = read_verdict(
        reply["verdict"], split="hidden", subsets={item.id: item.subset}, grader=grader, rows={item.id: row}, primary="accuracy"
    )
    return written(checked)


def _unwritable(ground: Ground) -> str:
    grader, folder = _takes_everything(), ground.folder()
    for what, response in ANSWERS.items():
        try:
            way_of(grader, score_answer(grader, _ITEM, response, 1), {}, folder)
        except Exception as exc:
            raise NotStopped(f"{what}: {type(exc).__name__}: {exc}") from exc
    return f"kept in a form that can be written: {'; '.join(ANSWERS)}"


def _as_it_came(ground: Ground) -> str:
    """Keep the value of an answer as a reader of JSON gives it."""
    grader = _takes_everything()
    raw = ItemScore(id="i", subset="only", parsed=True, score=0.0, value=json.loads('"\\ud800"'))
    try:
        way_of(grader, raw, {}, ground.folder())
    except Exception as exc:
        raise NotStopped(f"the verdict cannot be written: {type(exc).__name__}") from exc
    return "written"


ATTACKS: tuple[Attack, ...] = (
    Attack(
        30, "outgrows-its-grader", Where.ARTEFACT,
        "hand in ranks that make matrices of gigabytes out of holes, and ranks that are no whole numbers",
        "a rank is a whole number, and none is larger than the matrix it changes or 512",
        _outgrown, honest_adapter,
    ),
    Attack(
        30, "breaks-its-check", Where.ARTEFACT,
        "hand in configs whose fields have other types, 900 levels or 300 digits",
        "whatever cannot be read is refused with a code; the check raises nothing",
        _unreadable, honest_adapter,
    ),
    Attack(
        30, "answers-what-cannot-be-written", Where.ARTEFACT,
        "answer with lone surrogates, numbers without end and hundreds of levels",
        "an answer's value is made plain once, before it is scored and written",
        _unwritable, _as_it_came,
    ),
)  # fmt: skip
