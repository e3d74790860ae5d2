"""Slurm's own programs, called so that the user's habits (SQUEUE_FORMAT and the like) change nothing in what they print."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from harness.spec.errors import MissingError, StoreError

# Slurm's programs wait for a controller that is busy or away for a while of their own.
_LONGEST_S = 120.0
# What another job, or a habit, leaves behind; where Slurm is is said by these.
_HABITS = ("SLURM_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_")
_WHERE = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})
_AWAY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "temporarily",
    "Zero Bytes were transmitted",
)


class Away(StoreError):
    """Slurm's controller does not answer; it may later."""

    default_code = "slurm_away"


class Unknown(StoreError):
    """Slurm does not know what it was asked about, or has no accounting that would."""

    default_code = "slurm_unknown"


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's variables without those that would change what Slurm's programs do, and ``more``."""
    own = {name: value for name, value in os.environ.items() if name in _WHERE or not name.startswith(_HABITS)}
    return {**own, **(more or {})}


def call(*command: str, stdin: str = "", more: Mapping[str, str] | None = None) -> str:
    """Run one of Slurm's programs and return what it prints.

    Raises:
        MissingError: it is not installed here, or knows no cluster.
        Away: the controller does not answer.
        Unknown: it does not know the job.
        StoreError: it refuses (code ``refused``); in its own words.
    """
    program = command[0]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, encoding="utf-8", errors="replace", env=environment(more),
            timeout=_LONGEST_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise MissingError(
            f"there is no program {program} here",
            hint="submit from a login node of the cluster, or install Slurm's client programs",
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise Away(f"{program} has not answered for {_LONGEST_S:g} s", hint="is slurmctld up? `scontrol ping` says it") from exc
    if done.returncode == 0:
        return done.stdout
    said = " ".join(line.removeprefix(f"{program}: ").removeprefix("error: ") for line in done.stderr.splitlines()).strip()
    if any(words in said for words in _AWAY):
        raise Away(f"{program}: {said}", hint="is slurmctld up? `scontrol ping` says it")
    if "configuration source" in said:
        raise MissingError(
            f"{program} knows no cluster: {said}", hint="set SLURM_CONF, or submit from a login node of the cluster"
        )
    if "Invalid job id" in said or "accounting storage is disabled" in said:
        raise Unknown(f"{program}: {said}", hint="")
    raise StoreError(f"{program}: {said or f'exit code {done.returncode}'}", hint=_hint(said), code="refused")


def _hint(said: str) -> str:
    if "submit limit" in said or "MaxSubmit" in said:
        return "--parallel N keeps fewer jobs in the queue at once"
    return "DOJO_SLURM_PARTITION, DOJO_SLURM_ACCOUNT, DOJO_SLURM_QOS and DOJO_SLURM_OPTIONS say what jobs ask for"
