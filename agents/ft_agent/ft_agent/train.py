"""The parent's side of the training process: start it, give it a job, watch it, and replace it when it hangs or dies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import reading
from reading.pace import Stint
from reading.rows import AnswerForm

from ft_agent import launch
from ft_agent.child import GONE, Child, OnStep
from ft_agent.child import TrainingFailed as TrainingFailed
from ft_agent.data import Example
from ft_agent.pace import Clock
from ft_agent.plan import Method

# No sign of life for this long is a hang: longer than any step that is worth taking, shorter than an hour lost.
STALL_S = 120.0
# Loading a model and importing its libraries takes 5 s for a small model and minutes for a large one from a slow disk.
START_S = 900.0
# Thirty years.
UNLIMITED_S = 1e9


class Trainer:
    """One warm worker process. Use as a context manager.

    Args:
        model_path: the base model's folder.
        scratch: a folder for its log and what trainers write on the way.
        stall_s: seconds without a sign of life that are a hang.
        memory_mb: what the process may allocate without a GPU, so that too large a batch is an error of the job; None: no limit.
        processes: how many train together; 0: one a GPU, and one where there is none.

    Attributes:
        info: what the worker said when it was ready: model facts, argument schemas, device.
    """

    def __init__(
        self, model_path: str, scratch: Path, *, stall_s: float = STALL_S, memory_mb: float | None = None, processes: int = 0
    ) -> None:
        self.model_path, self.scratch, self.stall_s = model_path, scratch, stall_s
        self.memory_mb, self.processes = memory_mb, processes
        self.info: dict[str, Any] = {}
        self._child: Child | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; it loads while the caller does other things."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "ft_agent.worker", self.model_path]
        argv += ["--memory-mb", str(self.memory_mb)] if self.memory_mb else []
        self._child = Child(argv, self._environment(), self.scratch / "worker.log")
        self.info = {}

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def ready(self, timeout_s: float = START_S) -> dict[str, Any]:
        """Wait until the model is loaded.

        Raises:
            TrainingFailed: it could not be loaded.
        """
        if not self.info:
            self.info = self._wait("ready", timeout_s, None, quiet_s=timeout_s)
        return self.info

    def train(
        self,
        examples: Sequence[Example],
        trainer: dict[str, Any],
        lora: dict[str, Any],
        *,
        seconds: float,
        method: Method = "sft",
        clock: Clock = "wall",
        wall_at_most: float | None = None,
        form: AnswerForm | None = None,
        max_steps: int | None = None,
        seed: int = 0,
        schedule: dict[str, float] | None = None,
        init: Path | None = None,
        out: Path | None = None,
        on_step: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Train on the examples for ``seconds`` (or ``max_steps`` steps, whichever is first).

        Args:
            examples: in training order.
            trainer: arguments of the method's trainer.
            lora: arguments of the adapter; empty for full weights.
            seconds: by ``clock``.
            method: how to learn; ``dpo`` needs `Example.rejected`, ``grpo`` `Example.gold`.
            clock: what the run is paced by: the wall clock or the training process's processor time.
            wall_at_most: seconds of wall time after which it ends in any case; None: no such limit.
            form: how the task's answers are written, by which ``grpo`` reads and rewards them.
            max_steps: end after so many steps.
            seed: of adapter, dropout and sampling.
            schedule: shares of the highest rate at start and end, and of the run for warming up.
            init: adapter or full model to go on from.
            out: where to save the adapter, or with full weights the whole model; None: nowhere.
            on_step: is told of every step.

        Raises:
            TrainingFailed: NaN, divergence, a stall, a crash, an error of the trainer, or no end in sight well after ``seconds``.
        """
        form = form or AnswerForm("plain")
        job: dict[str, Any] = {
            "job": "train",
            "method": method,
            "examples": [(e.id, e.prompt, e.answer) for e in examples],
            "golds": [e.gold for e in examples],
            "rejected": [e.rejected for e in examples],
            "form": {"kind": form.kind, "key": form.key, "lead": form.lead},
            "trainer": trainer,
            "lora": lora,
            "stint": _stint(clock, seconds, wall_at_most),
            "max_steps": max_steps,
            "seed": seed,
            "schedule": schedule or {"start": 0.05, "warm": 0.05, "end": 0.02},
            "init": str(init) if init else None,
            "out": str(out) if out else None,
            "scratch": str(self.scratch),
        }
        limit_s = _most_wall(job["stint"]) * 1.25 + 30.0
        self.ready()
        # what is thrown away afterwards is not worth starting several processes
        processes = launch.how_many(self.info, self.processes, int(trainer.get("per_device_train_batch_size", 8))) if out else 1
        if processes > 1:
            done = self._launched(job, processes, limit_s, on_step, busy=clock == "cpu")
        else:
            done = self._job(job, limit_s, on_step, busy=clock == "cpu")
        if done["end"] in ("nan", "diverged"):
            raise TrainingFailed(
                done["end"], f"the loss {'is not finite' if done['end'] == 'nan' else 'diverged'} after {done['steps']} steps"
            )
        return done

    def score(
        self,
        examples: Sequence[Example],
        adapter: Path | None,
        *,
        seconds: float = 3600.0,
        clock: Clock = "wall",
        wall_at_most: float | None = None,
    ) -> dict[str, Any]:
        """Score an adapter, a full model, or the base model without one, on examples (`ft_agent.worker.Worker.score`).

        It ends after ``seconds`` of ``clock``, and after ``wall_at_most`` seconds of wall time in any case.

        Raises:
            TrainingFailed: the worker crashed or hung.
        """
        job: dict[str, Any] = {
            "job": "score",
            "examples": [(e.id, e.prompt, e.answer) for e in examples],
            "adapter": str(adapter) if adapter else None,
            "stint": _stint(clock, seconds, wall_at_most),
        }
        return self._job(job, limit_s=_most_wall(job["stint"]) * 1.5 + 60.0, on_step=None, busy=clock == "cpu")

    def generate(
        self,
        examples: Sequence[Example],
        *,
        adapter: Path | None = None,
        samples: int = 1,
        temperature: float = 0.0,
        max_new_tokens: int = 64,
        seconds: float = 3600.0,
        clock: Clock = "wall",
        wall_at_most: float | None = None,
        seed: int = 0,
    ) -> list[list[str]]:
        """Let the base model, or an adapter, answer each prompt ``samples`` times (once and greedily at temperature 0).

        It ends after ``seconds`` of ``clock``, and after ``wall_at_most`` seconds of wall time in any case.

        Returns:
            The texts by example, in the order given; none where the time was up first.

        Raises:
            TrainingFailed: the worker crashed or hung.
        """
        job: dict[str, Any] = {
            "job": "generate",
            "examples": [(str(i), e.prompt) for i, e in enumerate(examples)],
            "adapter": str(adapter) if adapter else None,
            "samples": samples,
            "temperature": temperature,
            "max_new_tokens": max_new_tokens,
            "stint": _stint(clock, seconds, wall_at_most),
            "seed": seed,
        }
        said = self._job(job, limit_s=_most_wall(job["stint"]) * 1.5 + 60.0, on_step=None, busy=clock == "cpu")["said"]
        return [list(said[str(i)]) for i in range(len(examples))]

    def _job(self, job: dict[str, Any], limit_s: float, on_step: OnStep | None, *, busy: bool = False) -> dict[str, Any]:
        self.ready()
        assert self._child is not None
        try:
            self._child.send(job)
        except TrainingFailed:
            self._restart()
            raise
        return self._wait("done", limit_s, on_step, busy=busy)

    def _wait(
        self, wanted: str, limit_s: float, on_step: OnStep | None, *, busy: bool = False, quiet_s: float | None = None
    ) -> dict[str, Any]:
        assert self._child is not None
        try:
            # loading says nothing until it is done; a job speaks at every step
            return self._child.wait(wanted, limit_s, lambda: quiet_s or self.stall_s, busy=busy, on_step=on_step)
        except TrainingFailed as exc:
            if exc.kind in GONE:
                self._restart()
            raise

    def _launched(
        self, job: dict[str, Any], processes: int, limit_s: float, on_step: OnStep | None, *, busy: bool
    ) -> dict[str, Any]:
        """Do a training job in several processes of its own, beside the warm one."""
        path = self.scratch / "job.json"
        path.write_text(json.dumps(launch.divided(job, processes)), encoding="utf-8")
        env = {**self._environment(), **launch.environment(bool(self.info["cuda"]), processes)}
        child = Child(launch.command(self.model_path, path, processes), env, self.scratch / "worker.log", group=True)
        heard: list[int] = []

        def step(event: dict[str, Any]) -> None:
            heard.append(event["step"])
            if on_step:
                on_step(event)

        try:
            # each loads libraries and model before its first step
            return child.wait("done", limit_s + START_S, lambda: START_S if not heard else self.stall_s, busy=busy, on_step=step)
        finally:
            child.stop()

    def _environment(self) -> dict[str, str]:
        packages = (str(Path(f).resolve().parent.parent) for f in (__file__, str(reading.__file__)))
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*packages, os.environ.get("PYTHONPATH", "")]))}

    def _restart(self) -> None:
        self.stop()
        self.start()


def _stint(clock: Clock, seconds: float, wall_at_most: float | None) -> Stint:
    # a number that JSON has stands for no limit
    most = UNLIMITED_S if wall_at_most is None and clock == "cpu" else seconds if wall_at_most is None else wall_at_most
    return {"clock": clock, "seconds": seconds, "wall_at_most": most}


def _most_wall(stint: Stint) -> float:
    return min(stint["wall_at_most"], stint["seconds"] if stint["clock"] == "wall" else stint["wall_at_most"])
