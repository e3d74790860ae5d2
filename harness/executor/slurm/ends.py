"""How a job of Slurm ended while its run had not: what its runner said, or what became of the runner."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.executor.runners import ENDED, MENDED_BY_ANOTHER, End, error_said
from harness.executor.slurm.job import NO_FOLDER, NO_HOME
from harness.spec.errors import MissingError, StoreError
from harness.spec.outcome import Cause, Death

_FINAL = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
        "TIMEOUT",
    }
)  # fmt: skip
_TAKEN = {"NODE_FAIL": "its node was lost", "BOOT_FAIL": "its node did not start", "PREEMPTED": "its place was taken"}
_FIELD = re.compile(r"(\w+)=(\S*)")
# the shell is told before the limit, and Slurm may be this much ahead of that
_EARLY_S = 75


@dataclass(frozen=True)
class Ended:
    """A job as Slurm describes it.

    Attributes:
        id: the job.
        state: in Slurm's word, as ``NODE_FAIL``.
        code: exit code of its script.
        signal: what killed it; 0: nothing did.
        ran_s: seconds that it ran.
        limit_s: its time limit, seconds; None: it had none.
        node: where it ran.
    """

    id: str
    state: str
    code: int = 0
    signal: int = 0
    ran_s: int = 0
    limit_s: int | None = None
    node: str = ""

    @property
    def over(self) -> bool:
        """Whether the job is over for good."""
        return self.state in _FINAL


def of_scontrol(id: str, said: str) -> Ended:
    """Read ``scontrol show job --oneliner``."""
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(said):
        found.setdefault(name, value)
    code, _, number = found.get("ExitCode", "0:0").partition(":")
    return Ended(
        id,
        found.get("JobState", ""),
        int(code or 0),
        int(number or 0),
        seconds(found.get("RunTime", "")) or 0,
        seconds(found.get("TimeLimit", "")),
        found.get("NodeList", "").replace("(null)", ""),
    )


def of_sacct(id: str, said: str) -> Ended | None:
    """Read ``sacct --parsable2 --format=State,ExitCode,ElapsedRaw,TimelimitRaw,NodeList``; None: it knows no such job."""
    lines = said.splitlines()
    if not lines:
        return None
    state, exit_code, ran, limit, node = lines[-1].split("|")
    code, _, number = exit_code.partition(":")
    return Ended(
        id,
        state.partition(" ")[0],  # "CANCELLED by 1000"
        int(code or 0),
        int(number or 0),
        int(ran or 0),
        60 * int(limit) if limit.isdigit() else None,
        "" if node == "None assigned" else node,
    )


def seconds(text: str) -> int | None:
    """Read a time as Slurm writes it (``1-02:03:04``, ``03:04``); None where it is none, as ``UNLIMITED``."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in (days or "0", *parts)):
        return None
    total = 0
    for part in parts:
        total = 60 * total + int(part)
    return 86400 * int(days or 0) + total


def end_of(job: Ended, said: str, log: str) -> End:
    """Say how a job ended.

    Args:
        job: the job, which is over.
        said: the last of what it wrote.
        log: where all of it is.
    """
    at = f"the job {job.id}" + (f" on {job.node}" if job.node else "")
    if job.state in _TAKEN:
        return End(None, Death(Cause.EVICTED, f"{at}: {_TAKEN[job.state]} ({job.state})"))
    if job.state in ("TIMEOUT", "DEADLINE"):
        return End(None, Death(Cause.HARNESS, f"{at} reached its time limit of {job.limit_s} s ({job.state})"))
    if job.state == "OUT_OF_MEMORY":
        return End(None, Death(Cause.HARNESS, f"{at} ran out of memory (DOJO_SLURM_MEMORY_MB)"))
    if job.state in ("CANCELLED", "REVOKED"):
        text = f"{at} was cancelled by somebody; its run can be resumed"
        return End(StoreError(text, hint="`dojo status` shows where it stands", code="lost"), Death(Cause.HARNESS, text))
    if job.code in (NO_HOME, NO_FOLDER):
        return _nothing_shared(at, job.code)
    if job.signal:
        return End(None, Death(Cause.HARNESS, f"{at}: its runner was killed (signal {job.signal})"))
    error = error_said(said, job.code)
    if job.code in ENDED or (error is not None and error.code in MENDED_BY_ANOTHER):
        late = job.limit_s is not None and job.ran_s >= job.limit_s - _EARLY_S
        why = f", as its time limit of {job.limit_s} s was near" if late else ""
        return End(None, Death(Cause.HARNESS, f"{at}: its runner was ended (exit code {job.code}){why}"))
    text = f"{at}: its runner ended with exit code {job.code}: {said.strip()[-800:]}".rstrip(": ")
    return End(error or StoreError(text, hint=f"{log} says more", code="runner_failed"), Death(Cause.HARNESS, text))


def forgotten(id: str) -> End:
    """Say how a job ended that Slurm does not know any more."""
    return End(None, Death(Cause.HARNESS, f"the job {id} is over, and Slurm has forgotten how"))


def _nothing_shared(at: str, code: int) -> End:
    what = "DOJO_HOME" if code == NO_HOME else "the folder that you submit from"
    error = MissingError(
        f"{at} does not find {'its run' if code == NO_HOME else 'its working folder'}: its node does not see {what}",
        hint=f"put {what} on a file system that this machine and the nodes share, at the same path",
        code="not_shared",
    )
    return End(error, Death(Cause.HARNESS, error.message))
