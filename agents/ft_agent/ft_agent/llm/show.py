"""Prints a rendered prompt of each call, from the facts of a small run: ``python -m ft_agent.llm.show [CALL …]``.

Run it in ``agents/ft_agent``, with ``PYTHONPATH=..`` for what agents share. The prompts come out of the planner's own code: a
backbone that only listens takes them down.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reading.backbone import Answer
from reading.rows import AnswerForm, PromptForm, Row

from ft_agent.cards import Card
from ft_agent.config import RANGES
from ft_agent.data import OPERATIONS, Context
from ft_agent.effects import table
from ft_agent.forms import Forms
from ft_agent.journal import Journal
from ft_agent.llm.calls import CALLS
from ft_agent.llm.desk import Desk
from ft_agent.llm.facts import task_text
from ft_agent.llm.limits import LIMITS, tokens_of
from ft_agent.llm.planner import LlmPlanner
from ft_agent.llm.thinker import Thinker
from ft_agent.offline import Offline, first_plan, with_operation
from ft_agent.plan import Iteration, Operation, Plan, Score
from ft_agent.programs import Workshop
from ft_agent.rowchecks import shown
from ft_agent.view import View

TASK: dict[str, Any] = {
    "id": "math/aime25",
    "profile": "mini",
    "goal": "Teach the model to answer short questions whose answer is an integer: sums, rounding, counting, units.",
    "answer_format": "The integer in \\boxed{}, nothing else.",
    "metric": {"name": "accuracy", "description": "share of right answers"},
    "subsets": [{"name": "all", "metric": "accuracy", "description": ""}],
    "base_model": {"name": "SmolLM2-135M"},
    "data": {
        "sources": [
            {"name": "school", "description": "Exercises with checked answers."},
            {"name": "forum", "description": "Questions and answers of a forum; nobody checked them."},
        ]
    },
    "examples": [
        {"prompt": "What is 17 + 25?\nAnswer in \\boxed{}.", "answer": "\\boxed{42}"},
        {"prompt": "Round 3,482 to the nearest hundred.\nAnswer in \\boxed{}.", "answer": "\\boxed{3500}"},
    ],
    "max_train_samples": 2000,
    "generation": {"max_new_tokens": 16, "max_context": 512},
    "limits": {"cpus": 2, "memory_mb": 8000},
}
MACHINE = {
    "cpus": 2,
    "memory_mb": 8000,
    "gpu": False,
    "parameters": 134_515_008,
    "layers": 30,
    "hidden": 576,
    "vocabulary": 49152,
}
CARDS = (
    Card("school", 900, 840, {"what is": 420, "round": 260, "how many": 160}, 0.0, 0.02, 0.05, 0.01, 300, 0.6, 96.0),
    Card("forum", 1400, 970, {"what is": 500, "round": 470}, 0.03, 0.12, 0.2, 0.26, 500, 0.3, 140.0),
)
ITEMS = 40
ANSWERS: dict[str, dict[str, Any]] = {
    "Survey": {
        "task": "Answer short questions of school arithmetic with one integer.",
        "good_row": "A question of one or two steps, the integer alone as its answer.",
        "sources": [
            {"source": "school", "worth": "use", "why": "All samples are right and have the task's form."},
            {"source": "forum", "worth": "clean", "why": "Some answers are words; about a quarter are estimated to be wrong."},
        ],
        "risks": ["forum: numbers written as words teach another form of answer."],
    },
    "Proposal": {
        "ideas": [
            {
                "hypothesis": "Answers of the forum in words are read as wrong kinds and lost; in digits they are 160 more rows.",
                "knob": "digits",
                "program": {"name": "digits", "purpose": "Where the answer is a number in English words, write it in digits."},
                "expected_gain": 0.02,
                "seconds": 30,
            }
        ]
    },
}


class Listener:
    """A backbone that takes prompts down, and answers only what leads to the next one."""

    context, max_output = 32_768, 8_192

    def __init__(self) -> None:
        self.heard: dict[str, list[dict[str, str]]] = {}

    def ask(
        self, messages: list[dict[str, str]], *, max_output: int, schema: Mapping[str, Any] | None, timeout_s: float
    ) -> Answer:
        """Take down the first prompt of each call."""
        title = str((schema or {})["title"])
        self.heard.setdefault(next(call for call, model in CALLS.items() if model.__name__ == title), messages)
        return Answer(json.dumps(ANSWERS.get(title, {})))


def prompts(calls: Sequence[str] = tuple(CALLS)) -> dict[str, list[dict[str, str]]]:
    """Return the messages of the calls, by name."""
    listener = Listener()
    with tempfile.TemporaryDirectory() as folder:
        thinker = Thinker(listener, Journal(Path(folder) / "journal.jsonl"))
        view, desk = a_view(), a_desk(Path(folder))
        planner = LlmPlanner(thinker, Offline(), desk)
        first = view.iterations[:1]
        planner.meanwhile(replace(view, iterations=first, next_number=2), first[0].plan)
        planner.propose(view)
        planner.diagnose(replace(view, iterations=view.iterations[:-1]), view.iterations[-1])
        planner.finish(view)
        rows = [json.dumps(shown(row), ensure_ascii=False) for row in desk.rows]
        made = {"count": "16", "wanted": "Somewhat harder than the rows below. Slice: round.", "avoid": "- Round 3,482 to tens."}
        thinker.asking(4, 9.0)("synthesise", {**made, "task": task_text(view), "examples": "\n".join(rows[:4])})
        how = "Write a short solution as rationale, step by step, ending in the given answer. Question and answer stay."
        told = {"how": how, "task": task_text(view), "examples": "\n".join(rows[:2]), "rows": "\n".join(rows[4:8])}
        thinker.asking(4, 9.0)("rewrite", told)
    return {call: listener.heard[call] for call in calls}


def a_desk(folder: Path) -> Desk:
    """A desk with a few rows of two sources."""
    rows = [
        *(Row(f"What is {7 * i} + {i + 8}?", str(8 * i + 8), "", "what is", "school", i) for i in range(1, 5)),
        *(Row(f"Round {137 * i} to the nearest ten.", str(round(13.7 * i) * 10), "", "round", "forum", i) for i in range(1, 4)),
        Row("How many days do three weeks have?", "twenty-one", "Three weeks are 3 x 7 = 21 days.", "how many", "forum", 4),
    ]
    forms = Forms(PromptForm("", "\nAnswer in \\boxed{}."), AnswerForm("boxed"), frozenset({"integer"}))
    return Desk(rows, Context(forms, 2000), folder, Workshop(folder / "programs"), lambda: 3000.0, lambda plan: [])


def a_view() -> View:
    """A run of ten minutes after three probes."""
    view = View(
        task=TASK,
        cards=CARDS,
        machine=MACHINE,
        arguments="\n".join(
            f"- {'lora' if n in LORA else 'trainer'}.{n}: {low:g} … {high:g}" for n, (low, high) in RANGES.items()
        ),
        operations="\n".join(
            f"- {n}({', '.join(sorted(a))}): {(op.__doc__ or '').splitlines()[0]}" for n, (op, a) in OPERATIONS.items()
        ),
        wall_limit=600.0,
        usable=430.0,
        budget={
            "wall": {"limit": 600.0, "used": 140.0, "left": 460.0},
            "evaluations": {"limit": 8, "used": 1, "left": 7},
            "tokens": {"limit": 300_000, "used": 21_400, "left": 278_600},
        },
        costs={"overhead_own": 6.2, "overhead_dev": 24.0},
        speed=11.5,
        train_rows=1600,
        evaluations_left=7,
        base_own=_score(0.05),
        champion=2,
        next_number=4,
        lessons="- [model] Two passes over 2,000 rows take about six minutes here. (iteration 1)",
        feedback={
            "scores": {"primary": {"value": 0.31}, "parse_rate": 0.97},
            "subsets": {"all": {"value": 0.31}},
            "response_tokens": {"mean": 6.1},
            "errors": [
                {"prompt": "Round 3,847 to the nearest ten.\nAnswer in \\boxed{}.", "response": "\\boxed{3800}", "answer": 3850},
                {"prompt": "How many legs do 7 spiders have?\nAnswer in \\boxed{}.", "response": "\\boxed{28}", "answer": 56},
            ],
        },
    )
    start = replace(first_plan(view), seconds=20.0)
    faster = replace(
        start,
        knob="rate 0.0025",
        hypothesis="rate 0.0025 learns faster than the starting point",
        trainer={**start.trainer, "learning_rate": 0.0025},
    )
    natural = with_operation(faster.data, Operation("rebalance", {"power": 1.0}))
    mixed = replace(
        faster, knob="natural mix", hypothesis="the sources' own proportions may be the task's", data=natural, author="llm"
    )
    iterations = (
        _iteration(1, start, 0.22, "replaces the base model: beyond the margin"),
        _iteration(2, faster, 0.31, "replaces iteration 1: beyond the margin"),
        _iteration(3, mixed, 0.29, "iteration 2 stays: within the margin"),
    )
    return replace(view, iterations=iterations, effects=table(iterations, view.base_own))


LORA = frozenset({"r", "lora_alpha", "lora_dropout"})


def _score(value: float) -> Score:
    credit = {}
    for k in range(ITEMS):
        hard, luck = random.Random(k).uniform(-0.2, 0.2), random.Random(f"{k} {value}").uniform(-0.1, 0.1)
        credit[f"own-{k}"] = round(min(1.0, max(0.0, value + hard + luck)), 3)
    slices = {"what is": round(value + 0.1, 2), "round": round(value - 0.1, 2), "how many": round(value, 2)}
    return Score("own", value, slices, {k: float(v > 0.5) for k, v in credit.items()}, credit)


def _iteration(number: int, plan: Plan, value: float, decision: str) -> Iteration:
    losses = tuple((step, 1.9 / (1 + 0.2 * step)) for step in range(24))
    return Iteration(
        number,
        plan,
        "trained",
        losses=losses,
        steps=24,
        train_seconds=20.4,
        own=_score(value),
        decision=decision,
        adapter="adapter",
    )


def main(arguments: Sequence[str]) -> int:
    """Print the prompts of the calls named, or of all."""
    unknown = [name for name in arguments if name not in CALLS]
    if unknown:
        print(f"there is no call {', '.join(unknown)}; there are {', '.join(CALLS)}", file=sys.stderr)
        return 2
    for call, messages in prompts(arguments or tuple(CALLS)).items():
        tokens = sum(tokens_of(message["content"]) for message in messages)
        print(f"======== {call}: at most {LIMITS[call].prompt} tokens in and {LIMITS[call].output} out; these are about {tokens}")
        for message in messages:
            print(f"---- {message['role']}\n{message['content']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
