"""A run's desk with real rows and a real workshop, views with a history, and a backbone that answers by call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backbone_server import Reply
from ft_agent.data import OPERATIONS, Context
from ft_agent.effects import table
from ft_agent.forms import Forms
from ft_agent.llm.desk import Desk
from ft_agent.offline import first_plan
from ft_agent.plan import Iteration, Plan, Score
from ft_agent.programs import Limits, Workshop
from ft_agent.view import View
from ft_cases import a_view, an_iteration
from reading.rows import AnswerForm, PromptForm, Row, normal

HELD = "What is 7 + 1?"
FORMS = Forms(PromptForm("", "\nAnswer in \\boxed{}."), AnswerForm("boxed"), frozenset({"integer"}))
CONTEXT = Context(FORMS, 2000, held_out=frozenset({normal(HELD)}))
ROWS = tuple(Row(f"What is {i} + 1?", str(i + 1), "", "sums", "forum", i) for i in range(120))
OPERATION_WORDS = "\n".join(
    f"- {n}({', '.join(sorted(a))}): {(op.__doc__ or '').splitlines()[0]}" for n, (op, a) in OPERATIONS.items()
)
BASE = Score("own", 0.1, {"all": 0.1}, {f"i{k}": 0.0 for k in range(20)}, {f"i{k}": 0.1 for k in range(20)})


def a_desk(folder: Path, **changes: Any) -> Desk:
    """A desk whose static validation knows a few arguments."""
    limits = Limits(cpu_s=2, wall_s=20.0, memory_mb=256, output_mb=2)
    desk = Desk(
        rows=ROWS,
        context=CONTEXT,
        folder=folder,
        programs=Workshop(folder / "programs", limits=limits),
        time_left=lambda: 3000.0,
        problems=problems,
    )
    return replace(desk, **changes)


def problems(plan: Plan) -> list[str]:
    """What a validator would say, in the words of the real one."""
    known = {
        "learning_rate": (1e-7, 3e-2),
        "per_device_train_batch_size": (1, 512),
        "weight_decay": (0, 0.5),
        "max_grad_norm": (0, 100),
    }
    found = []
    for name, value in plan.trainer.items():
        if name == "max_length":
            continue
        if name not in known:
            found.append(f"trainer.{name} is no argument of the trainer")
        elif not isinstance(value, int | float):
            found.append(f"trainer.{name} = {value!r}: is {type(value).__name__}, expected float")
        elif not known[name][0] <= value <= known[name][1]:
            found.append(f"trainer.{name} = {value!r}: is outside {known[name][0]:g} … {known[name][1]:g}")
    return found


def scored(number: int, credit: float, plan: Plan, **changes: Any) -> Iteration:
    """An iteration that gives every whole answer about this probability."""
    credits = {f"i{k}": min(1.0, credit + 0.002 * k) for k in range(20)}
    own = Score("own", credit, {"all": credit}, {k: float(v > 0.5) for k, v in credits.items()}, credits)
    return an_iteration(number, 0.5, plan=plan, own=own, **changes)


def probes(*rates_and_credits: tuple[float, float]) -> tuple[Iteration, ...]:
    """Probes that differ in the rate alone."""
    start = replace(first_plan(a_view()), seconds=20.0)
    return tuple(
        scored(n, credit, replace(start, trainer={**start.trainer, "learning_rate": rate}, knob=f"rate {rate:g}"))
        for n, (rate, credit) in enumerate(rates_and_credits, 1)
    )


def a_run(*iterations: Iteration, **changes: Any) -> View:
    """An hour's run with this history, and the effects that follow from it."""
    limit, usable = float(changes.get("wall_limit", 3600.0)), float(changes.get("usable", 3000.0))
    base: dict[str, Any] = {
        "budget": {"wall": {"limit": limit, "used": limit - usable - 20.0, "left": usable + 20.0}},
        "wall_limit": 3600.0,
        "usable": 3000.0,
        "speed": 5.0,
        "operations": OPERATION_WORDS,
        "iterations": iterations,
        "champion": max((i.number for i in iterations if i.own), default=0),
        "base_own": BASE,
        "effects": table(iterations, BASE),
        "next_number": len(iterations) + 1,
    }
    return a_view(**{**base, **changes})


def an_idea(**changes: Any) -> dict[str, Any]:
    """A sound probe of another rate."""
    idea: dict[str, Any] = {
        "hypothesis": "A lower rate keeps what the base model knows.",
        "knob": "learning rate",
        "phase": "probe",
        "changes": {"trainer": {"learning_rate": 0.0005}},
        "expected_gain": 0.03,
        "seconds": 30,
        "evidence": "",
    }
    return {**idea, **changes}


def proposal(*ideas: dict[str, Any]) -> str:
    """The answer to `propose`."""
    return json.dumps({"ideas": list(ideas)})


SURVEY = json.dumps(
    {
        "task": "Add small numbers.",
        "good_row": "A sum and its value.",
        "sources": [{"source": "forum", "worth": "use", "why": "All samples are right."}],
        "risks": [],
    }
)
LESSONS = json.dumps({"lessons": [{"lesson": "Rates below 0.001 learn too slowly.", "evidence": "2v1", "scope": "model"}]})
PROGRAM = "def transform(rows):\n    return [{**r, 'prompt': r['prompt'].strip()} for r in rows]\n"


def by_call(answers: Mapping[str, str | list[str]]) -> Any:
    """Return a reply that depends on the call: its schema's name → text, or texts one after the other."""
    turns = {name: [said] if isinstance(said, str) else list(said) for name, said in answers.items()}

    def reply(body: dict[str, Any]) -> Reply:
        name = body["response_format"]["json_schema"]["name"]
        said = turns.get(name, ["no answer to this"])
        return Reply(said.pop(0) if len(said) > 1 else said[0])

    return reply
