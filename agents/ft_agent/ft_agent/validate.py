"""The ladder: each rung is cheap beside the next, and what it catches costs an iteration seconds instead of its training time.

time → static → data → one batch → a few steps. A plan that falls off a rung is never trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reading.rows import bare_value, normal

from ft_agent.config import ModelFacts, Schema, check, estimate_memory_mb, lora_parameters
from ft_agent.data import Context, Dataset, Example, RecipeError
from ft_agent.plan import Plan
from ft_agent.timebook import DoesNotFit, TimeBook
from ft_agent.train import TrainingFailed

# A run of fewer steps has no room for a warm-up and a decay.
MIN_STEPS = 6
# Steps of the last rung: the first carries one-time costs, the others give the speed.
TRIAL_STEPS = 2
# The very first step pays one-time costs: 0.8 examples a second where later ones made 4.5. Three is on the safe side of that.
WARM_FACTOR = 3.0
# Share of the time left that the last rung may cost.
TRIAL_SHARE = 0.06
# Characters a token stands for, at least: real text has 3 to 4, numbers and SMILES down to 1.5.
CHARS_PER_TOKEN = 2.0


@dataclass(frozen=True)
class Catch:
    """What a rung found: the problem, and what would mend it."""

    rung: str
    problem: str
    seconds: float


@dataclass(frozen=True)
class Machine:
    """What the plan has to fit: memory in MB, whether there is a GPU, the model, and the trainer's argument schemas."""

    memory_mb: float
    cuda: bool
    model: ModelFacts
    schemas: dict[str, Schema]


# steps of a plan on these examples → what the trainer reports (`Trainer.train`)
Trial = Callable[[Plan, Sequence[Example], int], dict[str, Any]]


def climb(
    plan: Plan,
    make: Callable[[], Dataset],
    context: Context,
    machine: Machine,
    timebook: TimeBook,
    trial: Trial,
    *,
    proven: dict[str, int],
) -> tuple[Dataset | None, list[Catch], dict[str, Any]]:
    """Take a plan up the ladder until a rung catches something.

    Args:
        plan: what is to be trained.
        make: builds the plan's data set (the data rung runs it).
        context: what rows are checked against.
        machine: what the plan must fit.
        timebook: the time left.
        trial: trains a few steps without keeping anything.
        proven: configuration (`structure`) → largest batch that has passed the last two rungs in this run; what is as small is
            not
            tried again. Extended here.

    Returns:
        The data set, what was caught (empty: fit to train), and what the trial measured (empty if it was not needed).
    """
    begun = time.monotonic()

    def catch(rung: str, problems: Sequence[str]) -> list[Catch]:
        return [Catch(rung, p, round(time.monotonic() - begun, 3)) for p in problems]

    found = catch("time", time_problems(plan, timebook)) or catch("static", static_problems(plan, machine))
    if found:
        return None, found, {}
    try:
        dataset = make()
    except RecipeError as exc:
        return None, catch("data", [str(exc)]), {}
    found = catch("data", data_problems(dataset, context)) or catch("static", memory_problems(plan, dataset, machine))
    if found:
        return dataset, found, {}
    key, batch = structure(plan), int(plan.trainer.get("per_device_train_batch_size", 8))
    if proven.get(key, 0) >= batch:
        return dataset, [], {}
    longest = sorted(dataset.examples, key=lambda e: -len(e.prompt) - len(e.answer))
    try:
        # the longest examples first: what they do not exhaust, nothing will
        measured = trial(small_batch(plan), longest[:2], 1)
    except TrainingFailed as exc:
        return dataset, catch("batch", [f"{exc.kind}: {exc}"]), {}
    measured = {**measured, "per_second": WARM_FACTOR * float(measured["per_second"])}
    if TRIAL_STEPS * batch / measured["per_second"] > TRIAL_SHARE * timebook.usable():
        # on a machine this slow the trial would cost more than it could save; one batch has told the speed, roughly
        return dataset, catch("steps", step_problems(plan, measured)), measured
    try:
        measured = trial(plan, dataset.examples, TRIAL_STEPS)
    except TrainingFailed as exc:
        return dataset, catch("steps", [f"{exc.kind}: {exc}"]), {}
    found = catch("steps", step_problems(plan, measured))
    if not found:
        proven[key] = batch
    return dataset, found, measured


def time_problems(plan: Plan, timebook: TimeBook) -> list[str]:
    """Whether the plan fits the time left, with everything that comes after it."""
    if not math.isfinite(plan.seconds) or plan.seconds <= 0:
        return [f"seconds = {plan.seconds!r} is no training time"]
    try:
        timebook.require(f"this {plan.phase} of {plan.seconds:.0f} s", plan.seconds, plan.measure == "dev")
    except DoesNotFit as exc:
        return [str(exc)]
    return []


def static_problems(plan: Plan, machine: Machine) -> list[str]:
    """Whether every argument exists, has the right type and a sensible value."""
    return check(plan.trainer, plan.lora, machine.schemas, cuda=machine.cuda)


def memory_problems(plan: Plan, dataset: Dataset, machine: Machine) -> list[str]:
    """Whether the estimate of peak memory fits the machine."""
    batch = int(plan.trainer.get("per_device_train_batch_size", 8))
    lengths = sorted(((len(e.prompt) + len(e.answer)) / CHARS_PER_TOKEN for e in dataset.examples), reverse=True)[:batch]
    limit = plan.trainer.get("max_length") or math.inf
    tokens = sum(min(n, limit) for n in lengths)
    answers = sum(sorted((len(e.answer) / CHARS_PER_TOKEN for e in dataset.examples), reverse=True)[:batch])
    checkpointing = bool(plan.trainer.get("gradient_checkpointing", False))
    trained = lora_parameters(plan.lora, machine.model)
    needed = estimate_memory_mb(machine.model, trained, int(tokens), int(answers), checkpointing)
    if needed > machine.memory_mb:
        return [f"about {needed:.0f} MB are needed, {machine.memory_mb:.0f} MB are there; halve per_device_train_batch_size"]
    return []


def data_problems(dataset: Dataset, context: Context) -> list[str]:
    """Check every row: a question, an answer that reads back as one, held out nowhere; and the cap."""
    problems = []
    empty = [e.id for e in dataset.examples if not e.prompt.strip() or not e.answer.strip()]
    if empty:
        problems.append(f"{len(empty)} rows have no prompt or no answer, the first is {empty[0]}")
    form = context.forms.answers
    unreadable = [e.id for e in dataset.examples if e.answer.strip() and not _reads_back(e, form.kind, form.key)]
    if unreadable:
        problems.append(f"{len(unreadable)} answers do not read back in the form {form.kind}, the first is {unreadable[0]}")
    barred = context.held_out | context.forms.leaks
    leaked = [e.id for e in dataset.examples if normal(e.prompt) in barred]
    if leaked:
        problems.append(f"{len(leaked)} rows are held out for validation, the first is {leaked[0]}; add drop_leaks")
    if len(dataset.examples) > context.cap:
        problems.append(f"{len(dataset.examples)} samples, the task allows {context.cap}")
    if len(dataset.examples) < 8:
        problems.append(f"only {len(dataset.examples)} samples are left; loosen the recipe")
    return problems


def step_problems(plan: Plan, measured: dict[str, Any]) -> list[str]:
    """Whether enough steps fit the time asked for, at the speed of the trial."""
    batch = int(plan.trainer.get("per_device_train_batch_size", 8)) * int(plan.trainer.get("gradient_accumulation_steps", 1))
    steps = plan.seconds * float(measured["per_second"]) / batch
    if steps < MIN_STEPS:
        return [
            f"{steps:.1f} steps fit into {plan.seconds:.0f} s at {measured['per_second']:.2f} examples/s; lower the batch size"
        ]
    return []


def structure(plan: Plan) -> str:
    """Name what decides whether a configuration runs at all, apart from rates, amounts and batch size."""
    free = ("learning_rate", "weight_decay", "max_grad_norm", "per_device_train_batch_size")
    trainer = {k: v for k, v in plan.trainer.items() if k not in free}
    return repr((sorted(trainer.items()), sorted(plan.lora.items(), key=str)))


def small_batch(plan: Plan) -> Plan:
    """Return the plan with at most two examples a batch."""
    batch = min(2, int(plan.trainer.get("per_device_train_batch_size", 8)))
    return replace(plan, trainer={**plan.trainer, "per_device_train_batch_size": batch, "gradient_accumulation_steps": 1})


def _reads_back(example: Example, kind: str, key: str) -> bool:
    if kind == "boxed":
        return "\\boxed{" in example.answer and bool(bare_value(example.answer, key))
    if kind == "json":
        return f'"{key}"' in example.answer and bool(bare_value(example.answer, key))
    return bool(example.answer.strip())
