"""The jobs of runs in Slurm: submitting, listing, stopping and cancelling them, and room that no node has."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.executor.slurm.ends import Ended, of_sacct, of_scontrol
from harness.executor.slurm.job import job_name, options, script
from harness.executor.slurm.programs import Away, Unknown, call
from harness.executor.slurm.settings import SlurmSettings
from harness.spec.errors import DojoError, MissingError
from harness.spec.run import RunSpec
from harness.spec.task import Limits

_NAME = re.compile(r"dojo-(r\S+)")
_GPUS = re.compile(r"(?:^|,)(gpu(?::[^:,(]+)?):(\d+)")
_UNKNOWN_START = ("N/A", "(null)", "")
# A controller may be restarted while runs are submitted: so long it is asked again.
_PATIENCE_S, _AGAIN_S = 180.0, 3.0
# so many jobs are named in one call
_AT_ONCE = 500


@dataclass(frozen=True)
class Queued:
    """A job in the queue that is not over.

    Attributes:
        id: the job.
        run: which it drives.
        state: in Slurm's word.
        starts: when Slurm expects it to start, as it says it; "" where it does not.
        reason: why it waits, in Slurm's words.
    """

    id: str
    run: str
    state: str
    starts: str
    reason: str

    @property
    def waits(self) -> bool:
        """Whether it has no place yet."""
        return self.state not in ("RUNNING", "COMPLETING")


class Jobs:
    """What the executor asks of Slurm.

    Raises (every method):
        MissingError: its programs are not here.
        StoreError: it refuses (code ``refused``), or does not answer (``slurm_away``).
    """

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings = settings
        self._where = (f"--partition={settings.partition}",) if settings.partition else ()

    def listed(self) -> list[Queued]:
        """Return the jobs of runs that are not over, of all batches of this user. One call for all of them."""
        found = []
        for line in call("squeue", "--noheader", f"--user={os.geteuid()}", "--format=%i|%j|%T|%S|%R").splitlines():
            id, name, state, starts, reason = line.split("|", 4)
            if named := _NAME.fullmatch(name):
                starts = "" if starts in _UNKNOWN_START else starts
                found.append(Queued(id, named[1], state, starts, reason.removeprefix("(").removesuffix(")")))
        return found

    def submit(self, spec: RunSpec, folder: Path, program: Sequence[str], variables: Mapping[str, str]) -> str:
        """Submit a run's job; return its id."""
        text = script(spec, folder, self._settings, program)
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                said = call("sbatch", *options(spec, self._settings), stdin=text, more=variables)
                return said.strip().partition(";")[0]
            except Away as exc:
                if time.monotonic() > until:
                    raise
                logging.getLogger(__name__).warning("submitting %s once more: %s", job_name(spec.id), exc.message)
                time.sleep(_AGAIN_S)
                with contextlib.suppress(Away):  # it may have heard all the same
                    if there := by_run(self.listed()).get(spec.id):
                        return there.id

    def ended(self, id: str) -> Ended | None:
        """Return how a job stands that is in the queue no more; None: Slurm does not know any more.

        The controller is asked first: it knows at once, for some minutes; the accounting hears later and remembers.
        """
        with contextlib.suppress(Unknown):
            return of_scontrol(id, call("scontrol", "show", "job", "--oneliner", id))
        shown = "--format=State,ExitCode,ElapsedRaw,TimelimitRaw,NodeList"
        with contextlib.suppress(Unknown, MissingError):
            return of_sacct(id, call("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={id}", shown))
        return None

    def cancel(self, run: str) -> None:
        """End every job of a run, now."""
        call("scancel", f"--user={os.geteuid()}", f"--name={job_name(run)}")

    def stop(self, ids: Iterable[str]) -> None:
        """Tell jobs to leave their runs resumable; those that wait are taken out of the queue."""
        named = list(ids)
        for start in range(0, len(named), _AT_ONCE):
            some = named[start : start + _AT_ONCE]
            with contextlib.suppress(DojoError):  # one of them is over, or begins this moment: they are told again
                call("scancel", "--quiet", "--state=PENDING", *some)
                call("scancel", "--quiet", "--state=RUNNING", "--batch", "--signal=TERM", *some)

    def only_here(self) -> bool:
        """Whether this host is the only node that jobs can be on."""
        nodes = set(call("sinfo", "--noheader", "--Node", "--format=%n", *self._where).split())
        return nodes == {socket.gethostname().partition(".")[0]} or nodes == {socket.gethostname()}

    def check(self, limits: Limits) -> None:
        """Refuse limits that no node has room for.

        Raises:
            MissingError: names what is asked for and what the largest node has.
        """
        lines = call("sinfo", "--noheader", "--Node", "--format=%c|%m|%G", *self._where).splitlines()
        nodes = [line.strip().split("|", 2) for line in lines]
        if not nodes:
            where = f"the partition {self._settings.partition}" if self._settings.partition else "this cluster"
            raise MissingError(f"{where} has no node", hint="`sinfo` lists partitions; DOJO_SLURM_PARTITION names one")
        called, memory = self._settings.gpu, limits.memory_mb + self._settings.memory_mb
        asked = (
            (limits.cpus, max(_number(cpus) for cpus, _, _ in nodes), f"{limits.cpus:g} CPUs", "CPUs"),
            (memory, max(_number(has) for _, has, _ in nodes), f"{memory} MB of memory, dojo's own among them", "MB of memory"),
            (
                limits.gpus,
                max(_gpus(gres, called) for _, _, gres in nodes),
                f"{limits.gpus} GPUs",
                self._settings.gpu,
            ),
        )
        for wanted, most, text, what in asked:
            if wanted > most:
                raise MissingError(
                    f"a run asks for {text}; the largest node has {most} {what}",
                    hint="use another partition (DOJO_SLURM_PARTITION) or another profile of the task",
                )


def by_run(jobs: Iterable[Queued]) -> dict[str, Queued]:
    """Return run → its job; of several the one that Slurm has before the others."""
    found: dict[str, Queued] = {}
    for job in sorted(jobs, key=lambda job: (job.waits, int(job.id.partition("_")[0]))):
        found.setdefault(job.run, job)
    return found


def _number(text: str) -> int:
    """Read what sinfo prints: "128", or "128+" where nodes are grouped and differ."""
    return int(re.sub(r"\D", "", text) or 0)


def _gpus(gres: str, called: str) -> int:
    """Return how many GPUs of a name a node has, from what sinfo prints: ``gpu:a100:4(S:0-1),gpu:2``."""
    return sum(int(count) for name, count in _GPUS.findall(gres) if name == called or name.startswith(f"{called}:"))
