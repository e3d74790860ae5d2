"""Rows read and mended by a language model, in batches; what it says is checked, and unusable words leave rows as they were."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from reading.backbone import Backbone, NoAnswer
from reading.dataset import Material
from reading.rows import Row, json_objects

# A model that wants to drop more of a batch than this has not understood the task.
DROP_AT_MOST = 0.5
# So many batches in a row without a usable answer say that the next will have none either.
MOST_FAILURES = 3
# Characters that are one token at least: what a prompt is sized by.
CHARS_A_TOKEN = 3.0
# Answers are from a closed set where so few values stand in so many rows.
MOST_VALUES, LEAST_ROWS = 20, 100
# A mended question or answer may be so much longer than the longest there was.
LONGER = 1.5
# Tokens of an answer beside the rows in it: a model may think first.
THINKING_TOKENS = 2048
GOAL_CHARS = 4000

SCHEMA: Mapping[str, Any] = {
    "title": "cleaned_rows",
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "n": {"type": "integer"},
                    "answer": {"type": "string"},
                    "question": {"type": "string"},
                    "drop": {"type": "boolean"},
                },
                "required": ["n"],
            },
        }
    },
    "required": ["rows"],
}

PROMPT = """\
You clean training data for a small language model. The task it will be tested on:

{goal}

Form of the answers there: {form}

Worked examples of the task:

{examples}

Below are raw training rows, one JSON object a line: `n`, `question`, `answer`. Some answers are wrong, some questions are \
broken, some rows do not belong to the task. For every row say one of:

- it is right: {{"n": 1}}
- the answer is wrong or badly written: {{"n": 2, "answer": "the right bare answer"}}: the value alone, without words around it
- the question is broken but can be mended: {{"n": 3, "question": "the whole question", "answer": "its bare answer"}}
- it cannot be mended or does not belong here: {{"n": 4, "drop": true}}

Work each answer out before you call it right. Reply with one JSON object {{"rows": [...]}} with an entry for every `n`.

{rows}
"""


@dataclass
class Counts:
    """What became of the rows that were to be cleaned."""

    unchanged: int = 0
    mended: int = 0
    dropped: int = 0
    unusable: int = 0  # the answer about this row could not be used; it stays as it was
    unasked: int = 0  # no answer at all; it stays as it was
    calls: int = 0
    failed_calls: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Cleaned:
    """Rows in their order, what became of them, and why not all were asked about (empty where they were)."""

    rows: list[Row]
    counts: Counts
    stopped: str


@dataclass
class Cleaner:
    """Asks the backbone about rows of one task.

    Attributes:
        deadline: on the monotonic clock: after it nothing is asked any more.
    """

    backbone: Backbone
    task: Mapping[str, Any]
    material: Material
    deadline: float
    counts: Counts = field(default_factory=Counts)
    _stopped: str = ""
    _failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        values = {r.value for r in self.material.rows}
        closed = len(values) <= MOST_VALUES and len(self.material.rows) >= LEAST_ROWS
        self._closed = frozenset(values) if closed else frozenset()
        self._longest = LONGER * max((len(r.value) for r in self.material.rows), default=0)
        self._longest_question = LONGER * max((len(r.prompt) for r in self.material.rows), default=0)

    def clean(self, rows: Sequence[Row], *, rows_a_call: int, calls_at_once: int) -> Cleaned:
        """Ask about all rows and return what is to be trained on."""
        batches = list(self._batches(rows, rows_a_call))
        with ThreadPoolExecutor(max_workers=max(1, calls_at_once)) as pool:
            cleaned = [row for part in pool.map(self._clean_batch, batches) for row in part]
        return Cleaned(cleaned, self.counts, self._stopped)

    def _batches(self, rows: Sequence[Row], rows_a_call: int) -> Iterator[list[Row]]:
        """Cut rows into batches that fill at most a third of the context: an answer may need as much again."""
        room = CHARS_A_TOKEN * self.backbone.context / 3 - len(self._prompt([]))
        batch: list[Row] = []
        for row in rows:
            if batch and (len(batch) >= rows_a_call or len(_lines([*batch, row])) > room):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _clean_batch(self, batch: list[Row]) -> list[Row]:
        said = self._ask(batch)
        with self._lock:
            if said is None:
                self.counts.unasked += len(batch)
                return batch
            judged = [self._judged(row, said.get(n)) for n, row in enumerate(batch, 1)]
            if sum(1 for _, fate in judged if fate == "dropped") > DROP_AT_MOST * len(batch):
                judged = [(row, "unusable") for row in batch]
            for _, fate in judged:
                setattr(self.counts, fate, getattr(self.counts, fate) + 1)
            return [row for row, fate in judged if fate != "dropped"]

    def _judged(self, row: Row, said: Mapping[str, Any] | None) -> tuple[Row, str]:
        """Return the row to train on and its fate, a name of `Counts`."""
        if said is None:
            return row, "unusable"
        if said.get("drop") is True:
            return row, "dropped"
        question, answer = said.get("question", row.prompt), said.get("answer", row.value)
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            answer = f"{answer:g}" if isinstance(answer, float) else str(answer)
        if not isinstance(question, str) or not isinstance(answer, str):
            return row, "unusable"
        mended = replace(row, prompt=question.strip(), value=answer.strip())
        if (mended.prompt, mended.value) == (row.prompt, row.value):
            return row, "unchanged"
        return (mended, "mended") if self._usable(mended) else (row, "unusable")

    def _usable(self, row: Row) -> bool:
        if self._closed and row.value not in self._closed:
            return False
        if len(row.value) > self._longest or len(row.prompt) > self._longest_question:
            return False
        return self.material.fits(row) and self.material.form.read(self.material.form.write(row.value)) is not None

    def _ask(self, batch: list[Row]) -> dict[int, Mapping[str, Any]] | None:
        """Return what the backbone says by number, None where it says nothing that can be read."""
        with self._lock:
            left = self.deadline - time.monotonic()
            if left <= 0 and not self._stopped:
                self._stopped = "the time for cleaning is over"
            if self._stopped:
                return None
            self.counts.calls += 1
        room = THINKING_TOKENS + int(len(_lines(batch)) / CHARS_A_TOKEN)
        messages = [{"role": "user", "content": self._prompt(batch)}]
        try:
            answer = self.backbone.ask(messages, max_output=room, schema=SCHEMA, timeout_s=left)
        except NoAnswer as exc:
            self._failed(str(exc), final=exc.final)
            return None
        said = read_rows(answer.text)
        with self._lock:
            self.counts.tokens += answer.input_tokens + answer.output_tokens
        if said is None:
            self._failed(f"no JSON with rows in {answer.text[:120]!r}", final=False)
            return None
        with self._lock:
            self._failures = 0
        return said

    def _failed(self, why: str, *, final: bool) -> None:
        with self._lock:
            self.counts.failed_calls += 1
            self._failures += 1
            print(f"recipe_llm: a batch stays as it was: {why}", flush=True)
            if not self._stopped and (final or self._failures >= MOST_FAILURES):
                self._stopped = why if final else f"{self._failures} calls in a row without a usable answer, the last: {why}"

    def _prompt(self, batch: Sequence[Row]) -> str:
        shown = self.task["examples"][:2]
        return PROMPT.format(
            goal=str(self.task["goal"])[:GOAL_CHARS],
            form=self.task["answer_format"],
            examples="\n\n".join(f"Prompt: {e['prompt']}\nAnswer: {e['answer']}" for e in shown) or "none",
            rows=_lines(batch),
        )


def _lines(batch: Sequence[Row]) -> str:
    named = ({"n": n, "question": r.prompt, "answer": r.value} for n, r in enumerate(batch, 1))
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in named)


def read_rows(text: str) -> dict[int, Mapping[str, Any]] | None:
    """Return the entries by number in the last JSON object with ``rows``; None where there is none."""
    found = next((o["rows"] for o in reversed(list(json_objects(text))) if isinstance(o.get("rows"), list)), None)
    if found is None:
        return None
    entries = [e for e in found if isinstance(e, dict) and isinstance(e.get("n"), int) and not isinstance(e["n"], bool)]
    return {e["n"]: e for e in entries}
