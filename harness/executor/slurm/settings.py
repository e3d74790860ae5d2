"""What a user or operator decides about the jobs that drive runs: environment variables, read when an executor is made."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.variables import read

PREFIX = "DOJO_SLURM_"


class SlurmSettings(Spec):
    """Settings of the executor; each is called ``DOJO_SLURM_`` and its name in capitals."""

    partition: str = Field("", description="partition of the jobs; empty: the cluster's default")
    account: str = Field("", description="account that they are charged to; empty: the user's default")
    qos: str = Field("", description="their quality of service; empty: the default")
    options: str = Field("", description="more options of sbatch, as in a shell: --constraint=a100 --exclude=n7")
    prologue: str = Field("", description="file with shell lines that a job runs before dojo, such as `module load`")
    program: str = Field("", description="how dojo is called on the nodes; empty: with the Python that submits, at the same path")
    export: str = Field("ALL", description="variables that jobs are given: ALL of the submitter's, or names with commas")
    gpu: str = Field("gpu", pattern=r"^gpu(:[^:,\s]+)?$", description="what a GPU is called in --gres: gpu, or gpu:TYPE")
    memory_mb: int = Field(3072, ge=0, description="megabytes beside the task's: dojo itself and its graders")
    room: float = Field(7200.0, ge=300, description="seconds that a job may take beside the run's budget: preparing, grading")
    notice: int = Field(60, ge=1, description="so many seconds before its time is over a job is told to leave its run resumable")
    starts: int = Field(3, ge=1, description="so many jobs, one after the other, may die under one run")
    poll: float = Field(5.0, gt=0, description="seconds between two looks at the queue, one look for all runs")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them.

        Raises:
            UsageError: one has a value that it cannot have; names it.
        """
        found = read(cls, PREFIX, environment)
        for name in ("options", "program"):
            try:
                shlex.split(getattr(found, name))
            except ValueError as exc:
                value = getattr(found, name)
                raise UsageError(f"{PREFIX}{name.upper()}={value!r}: {exc}", hint="quote it as in a shell") from exc
        return found

    def prologue_lines(self) -> str:
        """Return the shell lines that a job runs first.

        Raises:
            UsageError: the file cannot be read.
        """
        if not self.prologue:
            return ""
        try:
            return Path(self.prologue).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(
                f"{PREFIX}PROLOGUE={self.prologue!r} cannot be read: {exc}", hint="name a file of shell lines"
            ) from exc

    def dojo(self) -> tuple[str, ...]:
        """Return how dojo is called on the nodes."""
        return tuple(shlex.split(self.program)) or (sys.executable, "-m", "harness.cli.main")
