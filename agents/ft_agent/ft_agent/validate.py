"""The ladder: each rung is cheap beside the next, and what it catches costs an iteration seconds instead of its training time.

time → static → data → one batch → a few steps. A plan that falls off a rung is never trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reading.cards import Card
from reading.memory import Shape
from reading.rows import bare_value, normal

from ft_agent.config import Schema, check
from ft_agent.data import Context, Dataset, Example, RecipeError
from ft_agent.memory import CHARS_PER_TOKEN, ModelFacts, fit_of, needed_mb
from ft_agent.methods.lineage import lineage_problems
from ft_agent.pace import DIVERGED_FACTOR, DIVERGED_PLUS
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
# Share of the trial's examples that may be too long; beyond it a plan would train on other data than it asked for.
TOO_LONG_SHARE = 0.5
# The remedy where all weights do not fit and an adapter would.
ADAPTER_INSTEAD = "train an adapter instead of full weights"


@dataclass(frozen=True)
class Catch:
    """What a rung found: the problem with what would mend it, and the seconds that all rungs up to it have cost."""

    rung: str
    problem: str
    seconds: float


@dataclass(frozen=True)
class Machine:
    """What the plan has to fit.

    Attributes:
        memory_mb: of the process, or of the card where there is one.
        cuda: whether there is a GPU.
        model: the base model.
        schemas: the trainers' arguments.
        card: the GPU, if there is one.
        shape: the base model's, where its memory can be counted.
    """

    memory_mb: float
    cuda: bool
    model: ModelFacts
    schemas: dict[str, Schema]
    card: Card | None = None
    shape: Shape | None = None


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
    init: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
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
            not tried again. Extended here.
        init: the folder of what the plan goes on from.
        clock: seconds; tests give their own.

    Returns:
        The data set, what was caught (empty: fit to train), and what the trial measured (empty if it was not needed).
    """
    begun = clock()

    def catch(rung: str, problems: Sequence[str]) -> list[Catch]:
        return [Catch(rung, p, round(clock() - begun, 3)) for p in problems]

    found = catch("time", time_problems(plan, timebook)) or catch("static", static_problems(plan, machine, init))
    if found:
        return None, found, {}
    if plan.method == "average":
        return None, [], {}
    try:
        dataset = make()
    except RecipeError as exc:
        return None, catch("data", [str(exc)]), {}
    found = catch("data", data_problems(dataset, context) + method_problems(plan, dataset))
    found = found or catch("static", memory_problems(plan, dataset, machine))
    if found:
        return dataset, found, {}
    fit = learnable(plan, dataset.examples)
    key, batch = structure(plan), int(plan.trainer.get("per_device_train_batch_size", 8))
    if proven.get(key, 0) >= batch:
        return dataset, [], {}
    try:
        measured = trial(small_batch(plan), hardest(plan, fit), 1)
    except TrainingFailed as exc:
        return dataset, catch("batch", [f"{exc.kind}: {exc}"]), {}
    measured = {**measured, "per_second": WARM_FACTOR * float(measured["per_second"])}
    if TRIAL_STEPS * batch / measured["per_second"] > TRIAL_SHARE * timebook.usable():
        # on a machine this slow the trial would cost more than it could save; one batch has told the speed, roughly
        return dataset, catch("steps", step_problems(plan, measured)), measured
    part = fit[: TRIAL_STEPS * batch * int(plan.trainer.get("gradient_accumulation_steps", 1))]
    try:
        measured = trial(plan, part, TRIAL_STEPS)
    except TrainingFailed as exc:
        return dataset, catch("steps", [f"{exc.kind}: {exc}"]), {}
    found = catch("steps", step_problems(plan, measured) + length_problems(plan, len(part), measured))
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


def static_problems(plan: Plan, machine: Machine, init: Path | None = None) -> list[str]:
    """Whether every argument exists, has the right type and a sensible value, and fits what the plan goes on from."""
    if plan.method == "average":
        wrong = len(set(plan.average)) < 2 or bool(plan.data)
        named = f"average = {list(plan.average)}"
        return [f"{named}: name two iterations or more and no data; their adapters are averaged as they are"] if wrong else []
    found = check(plan.trainer, plan.lora, machine.schemas, cuda=machine.cuda, method=plan.method)
    return found + lineage_problems(plan.lora, init)


def memory_problems(plan: Plan, dataset: Dataset, machine: Machine) -> list[str]:
    """Whether the estimate of peak memory fits the machine; on a card, whether there is a way to compute the batch that does."""
    if machine.card is not None and machine.shape is not None:
        return _card_problems(plan, dataset, machine.card, machine.shape)
    needed = needed_mb(plan, dataset.examples, machine.model)
    if needed <= machine.memory_mb:
        return []
    remedy = "halve per_device_train_batch_size"
    if not plan.lora and needed_mb(replace(plan, lora={"r": 16}), dataset.examples, machine.model) <= machine.memory_mb:
        remedy = ADAPTER_INSTEAD
    return [f"about {needed:.0f} MB are needed, {machine.memory_mb:.0f} MB are there; {remedy}"]


def _card_problems(plan: Plan, dataset: Dataset, card: Card, shape: Shape) -> list[str]:
    try:
        fit_of(plan, dataset.examples, card, shape)
    except ValueError as exc:
        if not plan.lora and not _card_problems(replace(plan, lora={"r": 16}), dataset, card, shape):
            return [f"{exc}; {ADAPTER_INSTEAD}"]
        return [str(exc) if plan.method == "sft" else f"{exc}; halve per_device_train_batch_size"]
    return []


def method_problems(plan: Plan, dataset: Dataset) -> list[str]:
    """Whether the examples hold what the method learns from."""
    if plan.method == "sft" or learnable(plan, dataset.examples):
        return []
    lacking = "wrong answers beside the right ones" if plan.method == "dpo" else "bare right answers"
    return [f"{plan.method} learns from {lacking}, and none of {len(dataset.examples)} examples has one; take method sft"]


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


def learnable(plan: Plan, examples: Sequence[Example]) -> list[Example]:
    """Return the examples that hold what the method learns from; it leaves out the others."""
    wanted = {"dpo": "rejected", "grpo": "gold"}.get(plan.method, "answer")
    return [e for e in examples if getattr(e, wanted)]


def step_problems(plan: Plan, measured: dict[str, Any]) -> list[str]:
    """Whether enough steps fit the time asked for, at the speed of the trial, and whether its loss went anywhere but up."""
    batch = int(plan.trainer.get("per_device_train_batch_size", 8)) * int(plan.trainer.get("gradient_accumulation_steps", 1))
    first, last = measured.get("first_loss"), measured.get("last_loss")
    if plan.method != "grpo" and first is not None and last > DIVERGED_FACTOR * first + DIVERGED_PLUS:
        return [f"diverged: the loss went from {first:.2f} to {last:.2f} in {measured['steps']} steps; lower learning_rate"]
    steps = plan.seconds * float(measured["per_second"]) / batch
    if steps < MIN_STEPS:
        return [
            f"{steps:.1f} steps fit into {plan.seconds:.0f} s at {measured['per_second']:.2f} examples/s; lower the batch size"
        ]
    return []


def length_problems(plan: Plan, given: int, measured: dict[str, Any]) -> list[str]:
    """Whether most examples were short enough to be trained on."""
    dropped = int(measured.get("dropped", 0))
    if dropped <= TOO_LONG_SHARE * given:
        return []
    return [f"{dropped} of {given} examples did not fit max_length = {plan.trainer.get('max_length')}; raise it or shorten rows"]


def hardest(plan: Plan, examples: Sequence[Example]) -> list[Example]:
    """Return the two longest examples that ``max_length`` leaves in, and the shortest for when it leaves in neither.

    What the longest do not exhaust, nothing will; what is left out by length must not speak for the rest.
    """
    limit = float(plan.trainer.get("max_length") or math.inf) * CHARS_PER_TOKEN
    ordered = sorted(examples, key=lambda e: -len(e.prompt) - len(e.answer))
    fitting = [e for e in ordered if len(e.prompt) + len(e.answer) <= limit]
    return [*fitting[:2], ordered[-1]]


def structure(plan: Plan) -> str:
    """Name what decides whether a configuration runs at all, apart from rates, amounts and batch size."""
    free = ("learning_rate", "weight_decay", "max_grad_norm", "per_device_train_batch_size")
    trainer = {k: v for k, v in plan.trainer.items() if k not in free}
    return repr((plan.method, sorted(trainer.items()), sorted(plan.lora.items(), key=str)))


def small_batch(plan: Plan) -> Plan:
    """Return the plan with at most two examples a batch (two answers a group where it learns from its own)."""
    batch = min(2, int(plan.trainer.get("per_device_train_batch_size", 8)))
    less: dict[str, Any] = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 1}
    if plan.method == "grpo":
        less |= {"per_device_train_batch_size": 2, "num_generations": 2}
    return replace(plan, trainer={**plan.trainer, **less})


def _reads_back(example: Example, kind: str, key: str) -> bool:
    if kind == "boxed":
        return "\\boxed{" in example.answer and bool(bare_value(example.answer, key))
    if kind == "json":
        return f'"{key}"' in example.answer and bool(bare_value(example.answer, key))
    return bool(example.answer.strip())
