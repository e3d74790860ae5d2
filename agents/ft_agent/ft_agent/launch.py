"""Training in several processes: how many, and the command that starts them.

Each process takes its part of a batch, so a step sees the same examples as in one process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def how_many(info: dict[str, Any], asked: int, batch: int) -> int:
    """Return how many processes train a batch together.

    Args:
        info: what the worker says of the machine.
        asked: a number of processes, or 0: one a GPU, and one where there is none.
        batch: examples a step; parts must be equal.
    """
    most = asked or max(1, int(info["gpus"]))
    if info["cuda"]:
        most = min(most, int(info["gpus"]))
    return max(n for n in range(1, max(1, min(most, batch)) + 1) if batch % n == 0)


def divided(job: dict[str, Any], processes: int) -> dict[str, Any]:
    """Return the job as each of the processes does it: its part of every batch, its part of the processor time."""
    batch, stint = int(job["trainer"].get("per_device_train_batch_size", 8)), dict(job["stint"])
    if stint["clock"] == "cpu":
        stint["seconds"] /= processes
    return {**job, "stint": stint, "trainer": {**job["trainer"], "per_device_train_batch_size": batch // processes}}


def command(model_path: str, job: Path, processes: int) -> list[str]:
    """Return the command that starts the processes of one job."""
    # on a CPU too: only this way accelerate starts the processes itself instead of leaving it to MPI
    how = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    how += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", "ft_agent.worker", model_path, "--job", str(job)]


def environment(cuda: bool, processes: int) -> dict[str, str]:
    """Return the variables that the processes need beside their parent's: on a CPU they share its cores and use loopback."""
    if cuda:
        return {}
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1) // processes)
    there = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    return {**there, "OMP_NUM_THREADS": str(threads)}
