"""Views, plans and iterations for tests of planner, ladder, view and report."""

from dataclasses import replace
from typing import Any

from ft_agent.cards import Card
from ft_agent.offline import default_recipe
from ft_agent.plan import Diagnosis, Iteration, Operation, Plan, Score
from ft_agent.timebook import TimeBook
from ft_agent.view import View

TASK: dict[str, Any] = {
    "id": "math/aime25",
    "profile": "mini",
    "goal": "Answer questions with an integer. " * 20,
    "answer_format": "An integer in \\boxed{}.",
    "metric": {"name": "accuracy", "description": "share right"},
    "subsets": [{"name": "all", "metric": "accuracy", "description": ""}],
    "examples": [{"prompt": "What is 1 + 1?", "answer": "\\boxed{2}"}],
    "max_train_samples": 2000,
    "generation": {"max_new_tokens": 16, "max_context": 512},
    "limits": {"cpus": 1, "memory_mb": 6000},
}
CARD = Card("forum", 1400, 970, {"sums": 500, "rounding": 470}, 0.0, 0.1, 0.2, 0.26, 500, 0.3, 40.0)
MACHINE = {
    "cpus": 1,
    "memory_mb": 6000,
    "gpu": False,
    "parameters": 135_000_000,
    "layers": 30,
    "hidden": 576,
    "vocabulary": 49152,
    "bytes": 4,
}


def a_timebook(limit: float = 300.0) -> TimeBook:
    """A book of so many seconds of wall time, none of them gone."""
    return TimeBook({"wall": {"limit": limit, "used": 0.0, "left": limit}})


def a_view(**changes: Any) -> View:
    """A view five minutes wide with nothing done yet."""
    view = View(
        task=TASK,
        cards=(CARD,),
        machine=MACHINE,
        arguments="- trainer.learning_rate: float",
        operations="- clean(): tidy",
        wall_limit=300.0,
        usable=270.0,
        budget={"wall": {"limit": 300.0, "used": 15.0, "left": 285.0}, "evaluations": {"limit": 8, "used": 0, "left": 8}},
        costs={"overhead_own": 6.0, "overhead_dev": 20.0},
        speed=None,
        train_rows=1600,
        evaluations_left=8,
    )
    return replace(view, **changes)


def a_plan(**changes: Any) -> Plan:
    """A probe with sound settings."""
    plan = Plan(
        phase="probe",
        hypothesis="it learns",
        reason="no history",
        data=default_recipe(a_view()),
        trainer={"learning_rate": 1e-3, "per_device_train_batch_size": 8, "max_length": 512},
        lora={"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        seconds=20.0,
        knob="starting point",
    )
    return replace(plan, **changes)


def a_score(value: float, split: Any = "own", n: int = 20) -> Score:
    """A score of ``n`` items in two slices, all with the same credit."""
    items = {f"i{k}": float(k < round(value * n)) for k in range(n)}
    credit = {k: value + 0.001 * i for i, k in enumerate(items)}
    return Score(split, value, {"sums": min(1.0, value + 0.2), "rounding": max(0.0, value - 0.2)}, items, credit, 1.0, 0.5, 3.0)


def an_iteration(number: int, value: float | None = 0.5, status: Any = "trained", **changes: Any) -> Iteration:
    """An iteration with a falling loss."""
    plan = changes.pop("plan", a_plan())
    iteration = Iteration(
        number,
        plan,
        status,
        data_log=({"operation": "clean", "args": {}, "rows_in": 10, "rows_out": 9},),
        losses=tuple((s, 2.0 / (s + 1)) for s in range(16)),
        steps=16,
        examples=128,
        train_seconds=plan.seconds,
        own=a_score(value) if value is not None and status == "trained" else None,
        decision="the base model stays: within",
        diagnosis=Diagnosis(("loss 2.0 → 0.1",), {}),
        adapter=f"iterations/{number:03d}/adapter" if status == "trained" else None,
    )
    return replace(iteration, **changes)


def operation(recipe: tuple[Operation, ...], name: str) -> Operation:
    """The operation of that name."""
    return next(o for o in recipe if o.name == name)
