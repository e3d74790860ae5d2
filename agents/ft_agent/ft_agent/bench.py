"""What a turn works with: the folder, the data, the machine, the training process; met once, at the start of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reading.cards import Card
from reading.memory import Shape
from reading.pace import Stint

from ft_agent.config import describe, schema_from_json
from ft_agent.counter import Counter
from ft_agent.data import NEED_MAKERS, OPERATIONS, Context, Maker, names_of
from ft_agent.history import History
from ft_agent.material import Material
from ft_agent.memory import ModelFacts
from ft_agent.on_card import all_weights_fit
from ft_agent.switches import Switches
from ft_agent.train import Trainer
from ft_agent.validate import Machine


@dataclass(frozen=True)
class Bench:
    """Everything a turn needs beside the plan.

    Attributes:
        task: the agent API's answer to ``task``.
        folder: of the run, the agent's workspace.
        seed: of the run.
        counter: where models are handed in.
        trainer: the training process, its model loaded.
        material: rows, cards, own validation split.
        machine: what plans must fit.
        facts: the machine as planners see it.
        arguments: the trainers' and the adapter's arguments with type, default and range, in words.
        makers: operations that need more than rows (`data.Context.makers`).
        switches: which parts are at work.
        say: tells people.
        proven: configuration → largest batch that has passed validation in this process; extended by turns.
    """

    task: dict[str, Any]
    folder: Path
    seed: int
    counter: Counter
    trainer: Trainer
    material: Material
    machine: Machine
    facts: dict[str, Any]
    arguments: str
    makers: dict[str, Maker]
    switches: Switches
    say: Callable[[str], None]
    proven: dict[str, int] = field(default_factory=dict)

    def context(self, history: History) -> Context:
        """Return what data operations may look at, now; what dev feedback has shown is held out from now on."""
        weak = next((i.own.slices for i in reversed(history.iterations) if i.own), {})
        context = self.material.context
        held_out = context.held_out | names_of(history.shown, context.forms.prompts)
        return replace(context, slice_scores=weak, held_out=held_out, makers=self.makers)

    def own_stint(self) -> Stint:
        """How long one look at the own split may take."""
        times = self.counter.timebook
        return times.clock.stint(max(5.0, min(0.06 * times.limit, 0.3 * times.usable())))

    def operations(self) -> str:
        """The data operations of this run, in words: those that need a maker only where it is there."""
        there = {n: o for n, o in OPERATIONS.items() if n not in NEED_MAKERS or n in self.makers}
        return "\n".join(
            f"- {n}({', '.join(sorted(args))}): {(op.__doc__ or '').splitlines()[0]}" for n, (op, args) in there.items()
        )


def meet(info: dict[str, Any], task: dict[str, Any]) -> tuple[Machine, dict[str, Any], str]:
    """Turn what the training process said of itself into what plans must fit, facts for planners, and arguments in words."""
    limits, model = task["limits"], ModelFacts(**info["model"])
    memory = float(limits["memory_mb"])
    fits = memory if info["gpu_memory_mb"] is None else float(info["gpu_memory_mb"])
    card = Card.of(info["card"]) if info["card"] else None
    shape = Shape(**info["shape"]) if info["shape"] else None
    schemas = {k: schema_from_json(v) for k, v in info["schemas"].items()}
    machine = Machine(fits, bool(info["cuda"]), model, schemas, card, shape)
    facts = {"cpus": limits["cpus"], "memory_mb": memory, "gpu": bool(info["cuda"]), **info["model"]}
    if card is not None:
        longest, answer = (int(task["generation"][n]) for n in ("max_context", "max_new_tokens"))
        full = all_weights_fit(
            card, shape, gpus=int(info["gpus"]), longest=longest, answer=answer, disk_mb=float(limits["disk_mb"])
        )
        facts |= {"card": card.name, "gpu_memory_mb": round(card.total / 1e6), "full_weights": full}
    return machine, facts, describe(machine.schemas)
