"""What agents of fixed steps do in every run: begin with a valid submission, watch the time, train, hand in."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dojo_tool

from reading.pace import BudgetClock
from reading.training import load_model, train_adapter

# Kept back from training for saving and handing in.
RESERVE_SHARE, RESERVE_S = 0.05, 10.0
# Less training than this is not worth an adapter.
WORTH_S = 10.0


@dataclass
class Run:
    """One run of an agent: the API, the task, the agent's parameters and its clock. Made, it has handed in the base model."""

    name: str
    api: Any = field(default_factory=dojo_tool.Client)
    work: Path = field(default_factory=Path.cwd)  # /workspace
    params: dict[str, Any] = field(default_factory=lambda: json.loads(os.environ.get("DOJO_AGENT_PARAMS") or "{}"))
    seed: int = field(default_factory=lambda: int(os.environ.get("DOJO_SEED") or 0))
    task: dict[str, Any] = field(init=False)
    clock: BudgetClock = field(init=False)

    def __post_init__(self) -> None:
        self.task = self.api.task()
        limits = self.task["limits"]
        self.clock = BudgetClock(self.api.budget(), cores=float(limits["cpus"]), gpus=int(limits["gpus"]))
        base = self.work / "base"
        base.mkdir(parents=True, exist_ok=True)
        (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
        self.api.submit(str(base), note="the base model, so that a valid submission exists")
        self.say(f"{self.clock.limit:.0f} s at full speed, by {self.clock.dimension}")

    def say(self, text: str) -> None:
        """Print a line of the agent's log."""
        print(f"{self.name}: {text}", flush=True)

    def usable(self) -> float:
        """Return the seconds left before the reserve, by the harness's own count."""
        self.clock.sync(self.api.budget())
        return max(0.0, self.clock.left() - max(RESERVE_S, RESERVE_SHARE * self.clock.limit))

    def train_one(self, pairs: Sequence[tuple[str, str]], note: str) -> None:
        """Train one adapter for the share ``train_share`` of the run, as the parameters say, and hand it in.

        With too little time or data the base model stays what is handed in.
        """
        if self.usable() < WORTH_S or not pairs:
            self.say(f"{self.usable():.0f} s and {len(pairs)} rows are not enough to train; the base model stays")
            return
        model, tokenizer = load_model(self.task["base_model"]["path"])
        seconds = min(self.clock.limit * float(self.params["train_share"]), self.usable())
        if seconds < WORTH_S:
            self.say(f"{seconds:.0f} s are not enough to train; the base model stays")
            return
        self.api.note(f"{self.name}: training for {seconds:.0f} s on {len(pairs)} rows")
        adapter = self.work / "adapter"
        stint = self.clock.stint(seconds)
        train_adapter(model, tokenizer, pairs, self.params, stint=stint, seed=self.seed, out=adapter)
        report = self.api.validate(str(adapter))
        if not report["ok"]:
            raise SystemExit(f"{self.name}: the adapter does not validate: {report['problems']}")
        self.api.submit(str(adapter), note=note)
