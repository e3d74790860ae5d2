"""What a machine can run at once: CPU cores and GPUs, taken and given back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.spec.errors import MissingError
from harness.spec.task import Limits


class Slots:
    """Cores and GPUs of this machine. A run waits until what its limits ask for is free."""

    def __init__(self, cpus: float, gpus: int) -> None:
        self.cpus, self.gpus = cpus, gpus
        self._free_cpus, self._free_gpus = cpus, gpus
        self._changed = threading.Condition()

    @classmethod
    def of_this_machine(cls) -> Slots:
        """Count the cores this process may use and the NVIDIA devices that are there."""
        gpus = len([p for p in Path("/dev").glob("nvidia[0-9]*") if p.name[6:].isdigit()])
        return cls(float(len(os.sched_getaffinity(0))), gpus)

    def check(self, limits: Limits) -> None:
        """Refuse limits that this machine can never satisfy.

        Raises:
            MissingError: names what is asked for and what is there.
        """
        if limits.cpus > self.cpus:
            raise MissingError(
                f"a run asks for {limits.cpus:g} CPUs, this machine has {self.cpus:g}",
                hint="use a larger machine or another profile of the task",
            )
        if limits.gpus > self.gpus:
            raise MissingError(
                f"a run asks for {limits.gpus} GPUs, this machine has {self.gpus}",
                hint="use a machine with GPUs, or --profile mini",
            )

    @contextmanager
    def take(self, limits: Limits, stop: threading.Event) -> Iterator[bool]:
        """Hold what ``limits`` asks for; yields False when ``stop`` was set while waiting."""
        with self._changed:
            while not stop.is_set() and (self._free_cpus < limits.cpus or self._free_gpus < limits.gpus):
                self._changed.wait(timeout=0.5)
            taken = not stop.is_set()
            if taken:
                self._free_cpus -= limits.cpus
                self._free_gpus -= limits.gpus
        try:
            yield taken
        finally:
            if taken:
                with self._changed:
                    self._free_cpus += limits.cpus
                    self._free_gpus += limits.gpus
                    self._changed.notify_all()
