"""Generated submissions and answers through the grader's path: each is scored or refused, none breaks its grade.

    python -m tests.faults.void --cases 10000 [--seed 1] [--answers 0.7] [--json FILE]

A submission goes into a real grader's sandbox with a tiny model: check, load, generate, score, verdict. An answer goes to the
grader of one of the 17 tasks and from there the way of a grade: worker, file, harness, verdict and interval as they are kept.
What breaks is printed with the seed that makes it again (`--seed S --only N`). The memory of this process, which is the harness's
side, is bounded; what makes the submissions is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.assets.base_models import BaseModel
from harness.attack.artefact_voids import way_of
from harness.grading.evaluator import Evaluator, Exam
from harness.grading.worker.lm_task import score_answer
from harness.project import bundled
from harness.sandbox.base import Backend
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError, SubmissionRefused
from harness.spec.task import Generation, Limits
from harness.taskkit.scoring.contract import TaskGrader, load_grader
from harness.taskkit.scoring.scores import interval, pseudo_values
from tests.faults.hostile_models import hostile_json, write_submission
from tests.unit.grading import tiny

# Slower than this is a way to keep a grader from its work; an answer's worst honest case is plotting code that runs to its limit.
PATIENCE_S = 60.0
# What this process may grow by, whatever is handed in or answered: the harness's 64, and as much for the 17 graders, which
# live in a sandbox of their own otherwise.
MEMORY_MB = 128.0
# One answer in so many of the task that runs code is really run: each costs a process with plotting libraries.
_CODE_TASK, _CODE_EVERY = "table/visualization", 20
_PIECES = (
    "</think>", "<think>", "{", "}", "[", "]", '"', "\\", ",", ":", "\x00", "\ud800", "\udfff", "\\ud800", "9" * 400, "1e999",
    "-1e-999", "NaN", "Infinity", "null", "[" * 300, '{"a":' * 300, "\\boxed{", "Final Answer: ", "答案是: ", "```python\n",
    "```", "[ANSWER_START]", "\n", "\u0661\u0662", "A" * 50_000, "C1CC1" * 400, "C(" * 500, "[13C@@H]", "c1ccccc1" * 100,
    "%99", "\u202e", "😀", "½", "0x10", "1_000", "--1", "+inf",
)  # fmt: skip


@dataclass
class Found:
    """What was counted."""

    cases: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    grown_mb: float = 0.0
    broken: list[str] = field(default_factory=list)


class Void:
    """The generators and what they are given to."""

    def __init__(self, folder: Path, backend: Backend, cases: dict[str, Any], seed: int) -> None:
        self._folder, self._backend, self._seed = folder, backend, seed
        self._cases = cases
        self._graders: dict[str, TaskGrader] = {name: load_grader(bundled("tasks") / name) for name in cases}
        folder.chmod(0o755)
        tiny.write_tokenizer(tiny.write_base(folder / "base"))
        self._exam = Exam(
            tiny.TOY_TASK,
            BaseModel("toy", folder / "base", "0" * 64, 0),
            tiny.write_lines(folder / "items.jsonl", tiny.toy_items(4)),
            tiny.write_lines(folder / "few_shot.jsonl", tiny.toy_items(2)),
            Generation(max_new_tokens=4, max_context=512, batch_size=4),
            "hidden",
        )
        self._evaluator: Evaluator | None = None
        self._starts = 0
        self._maker = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.found = Found()

    def close(self) -> None:
        """Destroy the grader's sandbox and end what makes submissions."""
        self._maker.shutdown()
        self._stop_grader()

    def _stop_grader(self) -> None:
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None

    def play(self, numbers: Sequence[int], answers: float) -> Found:
        """Play these cases; ``answers`` is the share of answers among them."""
        for name in sorted(self._cases):  # so that every library is in before memory is looked at
            self._graded(name, self._cases[name].right)
        before = _peak_mb()
        for number in numbers:
            rng = random.Random(f"{self._seed}-{number}")
            answer = rng.random() < answers
            if not answer:
                self._grader()  # its start is no case's time
            started = time.monotonic()
            what, how = "?", "?"
            try:
                what, how = self._answer(rng) if answer else self._submission(rng)
            except Exception as exc:
                how = "broken"
                self.found.broken.append(f"case {number} of seed {self._seed}: {what}: {type(exc).__name__}: {str(exc)[-1500:]}")
                if isinstance(exc, DojoError):
                    self._stop_grader()
            taken = time.monotonic() - started
            if taken > PATIENCE_S:
                self.found.broken.append(f"case {number} of seed {self._seed}: {taken:.0f} s")
            self.found.cases += 1
            self.found.ended[how] += 1
            self.found.slowest_s = max(self.found.slowest_s, round(taken, 2))
            self.found.grown_mb = round(_peak_mb() - before, 1)
        return self.found

    def _submission(self, rng: random.Random) -> tuple[str, str]:
        target = self._folder / "submission"
        shutil.rmtree(target, ignore_errors=True)
        what = self._maker.submit(write_submission, target, rng).result()
        try:
            self._grader().score(target)
        except SubmissionRefused as exc:
            return what, f"refused: {exc.code}"
        except DojoError as exc:
            raise type(exc)(f"{what}: {exc.message}", hint=exc.hint) from exc
        return what, "scored"

    def _grader(self) -> Evaluator:
        if self._evaluator is None:
            self._starts += 1
            limits = Limits(memory_mb=3000)
            self._evaluator = Evaluator.start(self._backend, f"void-{os.getpid()}-{self._starts}", self._exam, limits)
        return self._evaluator

    def _answer(self, rng: random.Random) -> tuple[str, str]:
        name = rng.choice(sorted(self._cases))
        if name == _CODE_TASK and rng.randrange(_CODE_EVERY):
            name = "math/aime25"
        response = answer_like(rng, self._cases[name].opening, self._cases[name].right)
        try:
            parsed = self._graded(name, response)
        except Exception as exc:
            raise ValueError(f"{name}: {response[:200]!r}: {type(exc).__name__}: {exc}") from exc
        return name, f"answer {'parsed' if parsed else 'not parsed'}"

    def _graded(self, name: str, response: str) -> bool:
        """Send an answer the whole way of a grade; return whether it was parsed."""
        case, grader = self._cases[name], self._graders[name]
        scored = score_answer(grader, {"id": "i", "subset": case.subset, "row": case.row}, response, 1)
        way_of(grader, scored, case.row, self._folder)
        interval((scored,), pseudo_values((scored,), grader, {"i": case.row}))
        return scored.parsed


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer_like(rng: random.Random, opening: str, right: str) -> str:
    """Return an answer near a right one, or far from any."""
    kind = rng.randrange(4)
    if kind == 0:
        parts = [rng.choice([*_PIECES, opening, right, right[:-1], rng.choice(right)]) for _ in range(rng.randrange(1, 12))]
        return "".join(parts)
    if kind == 1:  # the right keys with values of other kinds
        try:
            document = json.loads(right)
        except ValueError:
            return opening + str(hostile_json(rng))
        key = rng.choice(sorted(document))
        return json.dumps(document | {key: hostile_json(rng)})
    text = list(right)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(text) + 1)
        text[place : place + rng.randrange(3)] = rng.choice([*_PIECES, "", str(hostile_json(rng))[:2000]])
    return "".join(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Play, print what was found, and return 1 where anything broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--answers", type=float, default=0.7, help="share of answers; the rest are submissions")
    parser.add_argument("--only", type=int, default=None, metavar="N", help="play this case alone")
    parser.add_argument("--sandbox", default="namespace")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "tasks"))
    from test_hostile_answers import CASES

    numbers = range(options.cases) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory(prefix="dojo-void-") as folder:
        void = Void(Path(folder), get_backend(options.sandbox), CASES, options.seed)
        try:
            found = void.play(numbers, options.answers)
        finally:
            void.close()
    if found.grown_mb > MEMORY_MB:
        found.broken.append(f"the harness's side grew by {found.grown_mb} MB (at most {MEMORY_MB:.0f})")
    if options.json is not None:
        options.json.write_text(json.dumps({**vars(found), "ended": dict(found.ended)}, indent=1))
    print(f"{found.cases} cases, slowest {found.slowest_s} s, memory grown by {found.grown_mb} MB")
    for how, count in found.ended.most_common():
        print(f"  {count:6d} {how}")
    print("\n".join([f"{len(found.broken)} broken", *found.broken]))
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
