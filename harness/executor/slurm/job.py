"""What Slurm is asked for: the script of the job that drives one run, and the options of sbatch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.executor.slurm.settings import SlurmSettings
from harness.session.lifecycle import AFTER
from harness.spec.run import RunSpec

# Exit codes of a job that found nothing of its run; BSD's sysexits use neither.
NO_HOME, NO_FOLDER = 90, 91
# beside these variables, jobs are given what DOJO_SLURM_EXPORT names
OWN_VARIABLES = ("DOJO_HOME", "DOJO_CACHE", "DOJO_DATABASE", "DOJO_ARTEFACTS", AFTER)


def job_name(run: str) -> str:
    """Return what the jobs of a run are called: the same for whoever submits it, so that Slurm has one at a time of them."""
    return f"dojo-{run}"


def limit_s(spec: RunSpec, settings: SlurmSettings) -> int:
    """Return the time limit of a job, seconds: one attempt's budget and the room beside it, in whole minutes."""
    return 60 * math.ceil((spec.budget.wall + settings.room + settings.notice) / 60)


def options(spec: RunSpec, settings: SlurmSettings) -> list[str]:
    """Return the options of sbatch for a run's job."""
    asked = {"partition": settings.partition, "account": settings.account, "qos": settings.qos}
    export = settings.export if settings.export == "ALL" else ",".join([*OWN_VARIABLES, *settings.export.split(",")])
    return [
        "--parsable",
        f"--job-name={job_name(spec.id)}",
        # whoever submits a run twice, at the very same moment too, has the second job wait for the end of the first
        "--dependency=singleton",
        f"--comment=dojo batch {spec.batch}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={max(1, math.ceil(spec.limits.cpus))}",
        f"--mem={spec.limits.memory_mb + settings.memory_mb}M",
        *([f"--gres={settings.gpu}:{spec.limits.gpus}"] if spec.limits.gpus else []),
        f"--time={limit_s(spec, settings) // 60}",
        f"--signal=B:TERM@{settings.notice}",
        "--requeue",
        f"--export={export}",
        "--output=/dev/null",
        *(f"--{name}={value}" for name, value in asked.items() if value),
        *shlex.split(settings.options),
    ]


def log_of(folder: Path, run: str, job: str) -> Path:
    """Return where a job of a run writes: beside the runs of its batch.

    Args:
        folder: the run's.
        run: its id.
        job: the job's.
    """
    return folder.parents[1] / "slurm" / f"{run}-{job}.log"


def script(spec: RunSpec, folder: Path, settings: SlurmSettings, program: Sequence[str]) -> str:
    """Return the script of a run's job.

    Its first act is to find the run's folder. Then the shell becomes dojo, so that Slurm's notice reaches dojo itself.

    Args:
        spec: the run.
        folder: the run's folder, which this process and the nodes share.
        settings: of the executor.
        program: what it executes; the run's id comes last.
    """
    before, after = str(log_of(folder, spec.id, "\0")).split("\0")
    log = f'{shlex.quote(before)}"$SLURM_JOB_ID"{after}'
    return "\n".join(
        [
            "#!/bin/bash",
            f"[ -f {shlex.quote(str(folder / 'run.json'))} ] || exit {NO_HOME}",
            f'cd "$SLURM_SUBMIT_DIR" || exit {NO_FOLDER}',
            f"exec >>{log} 2>&1",
            'echo "job $SLURM_JOB_ID on $SLURMD_NODENAME, started ${SLURM_RESTART_COUNT:-0} times before"',
            'if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then',
            f'  export {AFTER}="Slurm has begun its job $SLURM_JOB_ID anew: its place was taken, or its node was lost"',
            "fi",
            "# the submitter's folders for temporary things may not be here",
            '[ -d "${XDG_RUNTIME_DIR:-/}" ] || unset XDG_RUNTIME_DIR',
            '[ -d "${TMPDIR:-/}" ] || unset TMPDIR',
            settings.prologue_lines().rstrip(),
            f"exec {shlex.join([*program, spec.id])}",
            "",
        ]
    )
