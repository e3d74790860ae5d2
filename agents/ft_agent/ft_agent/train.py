"""The parent's side of the training process: start it, give it a job, watch it, and replace it when it hangs or dies."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import reading
from reading.rows import AnswerForm

from ft_agent.data import Example
from ft_agent.pace import Clock
from ft_agent.plan import Method

# No sign of life for this long is a hang: longer than any step that is worth taking, shorter than an hour lost.
STALL_S = 120.0
# Loading a model and importing its libraries takes 5 s for a small model and minutes for a large one from a slow disk.
START_S = 900.0


class TrainingFailed(Exception):
    """A job came to nothing. ``kind``: crashed, stalled, overran, nan, diverged, error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Trainer:
    """One warm worker process. Use as a context manager.

    Attributes:
        info: what the worker said when it was ready: model facts, argument schemas, device.
    """

    def __init__(self, model_path: str, scratch: Path, *, stall_s: float = STALL_S) -> None:
        self.model_path, self.scratch, self.stall_s = model_path, scratch, stall_s
        self.info: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; it loads while the caller does other things."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        log = (self.scratch / "worker.log").open("a")
        packages = (str(Path(f).resolve().parent.parent) for f in (__file__, str(reading.__file__)))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*packages, os.environ.get("PYTHONPATH", "")]))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ft_agent.worker", self.model_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=env,
        )
        log.close()
        self._events = queue.Queue()
        threading.Thread(target=_pump, args=(self._process, self._events), daemon=True).start()
        self.info = {}

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ready(self, timeout_s: float = START_S) -> dict[str, Any]:
        """Wait until the model is loaded.

        Raises:
            TrainingFailed: it could not be loaded.
        """
        if not self.info:
            self.info = self._wait("ready", timeout_s, None)
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
        done = self._job(
            {
                "job": "train",
                "method": method,
                "examples": [(e.id, e.prompt, e.answer) for e in examples],
                "golds": [e.gold for e in examples],
                "rejected": [e.rejected for e in examples],
                "form": {"kind": form.kind, "key": form.key, "lead": form.lead},
                "trainer": trainer,
                "lora": lora,
                "seconds": seconds,
                "clock": clock,
                "wall_at_most": wall_at_most,
                "max_steps": max_steps,
                "seed": seed,
                "schedule": schedule or {"start": 0.05, "warm": 0.05, "end": 0.02},
                "init": str(init) if init else None,
                "out": str(out) if out else None,
                "scratch": str(self.scratch),
            },
            limit_s=seconds * 1.25 + 30.0,
            on_step=on_step,
        )
        if done["end"] in ("nan", "diverged"):
            raise TrainingFailed(
                done["end"], f"the loss {'is not finite' if done['end'] == 'nan' else 'diverged'} after {done['steps']} steps"
            )
        return done

    def score(self, examples: Sequence[Example], adapter: Path | None, *, seconds: float = 3600.0) -> dict[str, Any]:
        """Score an adapter, or the base model without one, on examples (`ft_agent.worker.Worker.score`).

        Raises:
            TrainingFailed: the worker crashed or hung.
        """
        job = {
            "job": "score",
            "examples": [(e.id, e.prompt, e.answer) for e in examples],
            "adapter": str(adapter) if adapter else None,
            "seconds": seconds,
        }
        return self._job(job, limit_s=seconds * 1.5 + 60.0, on_step=None)

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
        wall = seconds if wall_at_most is None else wall_at_most
        job = {
            "job": "generate",
            "examples": [(str(i), e.prompt) for i, e in enumerate(examples)],
            "adapter": str(adapter) if adapter else None,
            "samples": samples,
            "temperature": temperature,
            "max_new_tokens": max_new_tokens,
            "stint": {"clock": clock, "seconds": seconds, "wall_at_most": wall},
            "seed": seed,
        }
        said = self._job(job, limit_s=wall * 1.5 + 60.0, on_step=None)["said"]
        return [list(said[str(i)]) for i in range(len(examples))]

    def _job(self, job: dict[str, Any], limit_s: float, on_step: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
        self.ready()
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except OSError as exc:
            self._restart()
            raise TrainingFailed("crashed", f"the training process is gone: {exc}") from exc
        return self._wait("done", limit_s, on_step)

    def _wait(self, wanted: str, limit_s: float, on_step: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while True:
            # loading says nothing until it is done; a job speaks at every step
            patience = deadline - time.monotonic()
            patience = patience if wanted == "ready" else min(self.stall_s, patience)
            try:
                event = self._events.get(timeout=max(0.01, patience))
            except queue.Empty:
                overran = time.monotonic() >= deadline
                self._restart()
                kind = "overran" if overran else "stalled"
                raise TrainingFailed(
                    kind, f"the training process gave no {'end' if overran else 'sign of life'} in time"
                ) from None
            if event is None:
                code = self._process.wait() if self._process else None
                self._restart()
                raise TrainingFailed("crashed", f"the training process died with exit code {code}; its output is in worker.log")
            if event["event"] == "failed":
                raise TrainingFailed("error", str(event["message"]))
            if event["event"] == wanted:
                return event
            if event["event"] == "step" and on_step:
                on_step(event)

    def _restart(self) -> None:
        self.stop()
        self.start()


def _pump(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any] | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        events.put(json.loads(line))
    events.put(None)
