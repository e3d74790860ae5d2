"""``dojo submit``: plan the matrix, check it, run it, end with the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import agents as complete_agents
from harness.cli.complete import backbones as complete_backbones
from harness.cli.complete import batches as complete_batches
from harness.cli.complete import runs as complete_runs
from harness.cli.complete import tasks as complete_tasks
from harness.cli.humanise import count
from harness.cli.output import Output, plain
from harness.cli.rows import failed
from harness.cli.sanitise import one_line
from harness.spec.errors import UsageError

if TYPE_CHECKING:
    from harness.service import Dojo

UNSAFE = "unsafe-local"


@click.command("submit", cls=Command)
@click.option(
    "--agent",
    "agents",
    multiple=True,
    shell_complete=complete_agents,
    metavar="A",
    help="An agent's name or directory; repeatable.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    shell_complete=complete_tasks,
    metavar="T",
    help="A task's id, as math/aime25, or directory; repeatable.",
)
@click.option("--tasks", "patterns", multiple=True, metavar="GLOB", help="all, or a glob over task ids; repeatable.")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Seeds 0 to N-1 (default 1).")
@click.option("--seed", "seed_list", type=click.IntRange(min=0), multiple=True, metavar="K", help="This seed; repeatable.")
@click.option(
    "--profile",
    type=click.Choice(["full", "mini", "strict"]),
    help="Data and base model: the paper's, small ones, or the paper's with a larger hidden split.",
)
@click.option("--budget", metavar="LIMITS", help="Over the task's own, as wall=2h,evaluations=5.")
@click.option("--sandbox", metavar="NAME", help="Sandbox backend.")
@click.option("--unsafe-local", is_flag=True, help="The sandbox backend that isolates nothing; says what is lost.")
@click.option("--executor", metavar="NAME", help="Where runs are driven: local, kubernetes, slurm.")
@click.option("--base-model", metavar="NAME", help="Instead of the profile's base model.")
@click.option(
    "--backbone",
    shell_complete=complete_backbones,
    metavar="NAME",
    help="Language model that agents think with (dojo backbones).",
)
@click.option("--agent-param", "params", multiple=True, metavar="NAME=VALUE", help="Over an agent.toml's params; repeatable.")
@click.option("--name", metavar="TEXT", help="A name for the batch; it works as a reference.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="A quick look: only the first N hidden and dev items. Such runs are never compared or ranked.",
)
@click.option(
    "--public-hidden",
    is_flag=True,
    help="Hidden items that anybody can make, for documentation; marked on every table. Without it they are drawn with this "
    "installation's secret (dojo data secret).",
)
@click.option(
    "--from-file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A whole batch in TOML: agents with parameters, tasks, seeds, budgets, base models, backbones.",
)
@click.option(
    "--from",
    "again",
    multiple=True,
    shell_complete=complete_runs,
    metavar="RUN",
    help="The same run once more: same copy of the agent, task, profile, seed, budget, parameters; repeatable.",
)
@click.option(
    "--retry-failed",
    shell_complete=complete_batches,
    metavar="BATCH",
    help="Once more every run of the batch that failed for a reason that is not the agent's.",
)
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="At most N runs at once (default: what fits).")
@click.option("--detach", is_flag=True, help="Run in the background and return at once.")
@click.option("--dry-run", is_flag=True, help="Plan and check, start nothing.")
@pass_invocation
def submit(
    invocation: Invocation,
    /,
    agents: tuple[str, ...],
    tasks: tuple[str, ...],
    patterns: tuple[str, ...],
    seeds: int | None,
    seed_list: tuple[int, ...],
    params: tuple[str, ...],
    name: str | None,
    base_model: str | None,
    limit: int | None,
    public_hidden: bool,
    file: Path | None,
    again: tuple[str, ...],
    retry_failed: str | None,
    unsafe_local: bool,
    detach: bool,
    dry_run: bool,
    **flags: Any,
) -> int:
    """Run agents on tasks: one run for each agent, task and seed. Everything that can be checked is checked beforehand.

    With --from or --retry-failed runs are repeated as they were; nothing but --name, --parallel, --detach and --dry-run goes
    with them. With --from-file the flags say only what the file leaves open (docs/matrix-files.md).
    """
    from harness.cli.batch import drive
    from harness.cli.dry_run import planned, render
    from harness.cli.matrix import asked
    from harness.cli.progress import preparing, rows_of_plan

    flags["sandbox"] = _sandbox(unsafe_local, flags["sandbox"])
    config = invocation.config(**flags)
    settings = config.settings
    if settings.server and (flags["sandbox"] or flags["executor"] or flags["parallel"]):
        raise UsageError(
            "a service has a sandbox, an executor and bounds of its own",
            hint="leave --sandbox, --unsafe-local, --executor and --parallel out",
        )
    dojo, output = invocation.dojo(), invocation.output
    told = {
        "--agent": agents, "--agent-param": params, "--task": tasks, "--tasks": patterns, "--seeds": seeds, "--seed": seed_list,
        "--base-model": base_model, "--limit": limit, "--public-hidden": public_hidden,
    }  # fmt: skip
    if again or retry_failed:
        _refuse_beside({**told, "--from-file": file}, flags)
        executor = settings.executor if config.origins["executor"] != "default" else None
        plan = dojo.plan_again(_repeated(dojo, again, retry_failed), name or "", preparing(output), executor)
    else:
        told |= {f"--{flag}": flags[flag] for flag in ("profile", "budget", "backbone")}
        matrix, read = asked(file, {**told, "--name": name}, settings.model_dump(include={"profile", "budget", "backbone"}))
        plan = dojo.plan_matrix(
            matrix,
            sandbox=settings.sandbox if config.origins["sandbox"] != "default" else None,
            executor=settings.executor,
            where=read.where if read else None,
            progress=preparing(output),
        )
    for warning in [*plan.warnings, *(lost for used in {run.sandbox for run in plan.runs} for lost in _lost(used))]:
        output.say(f"warning: {one_line(warning)}")
    if dry_run:
        output.result({**planned(plan), "power": dojo.power(plan)}, render)
        return 0
    if detach:
        status = dojo.submit(plan, parallel=settings.parallel, detach=True)
        output.result(status, _render_detached)
        return 0
    return drive(
        dojo,
        output,
        plan.batch,
        rows_of_plan(plan),
        lambda on_event, stop: dojo.submit(plan, parallel=settings.parallel, on_event=on_event, stop=stop),
    )


def _sandbox(unsafe_local: bool, named: str | None) -> str | None:
    if unsafe_local and named not in (None, UNSAFE):
        raise click.UsageError("--unsafe-local and --sandbox exclude each other")
    return UNSAFE if unsafe_local else named


def _refuse_beside(matrix: dict[str, Any], flags: dict[str, Any]) -> None:
    """Refuse options that a repeated run has values of its own for."""
    own = ("profile", "budget", "sandbox", "backbone")
    given = [option for option, value in matrix.items() if value] + [f"--{name}" for name in own if flags.get(name)]
    if given:
        raise click.UsageError(f"{given[0]} does not go with --from or --retry-failed: runs are repeated as they were")


def _repeated(dojo: Dojo, runs: tuple[str, ...], batch: str | None) -> list[str]:
    """Return the runs to repeat, each once.

    Raises:
        UsageError: no run of the batch failed for a reason that is not the agent's.
    """
    from harness.store.base import RunFilter

    found = dict.fromkeys(dojo.store.resolve(run, "run") for run in runs)
    if batch:
        whole = dojo.store.resolve(batch, "batch")
        rows = [plain(info) for info in dojo.store.runs(RunFilter(batch=whole))]
        bad = [row["id"] for row in rows if failed(row | {"outcome": row["cause"]})]
        if not bad:
            raise UsageError(
                f"no run of batch {whole} failed for a reason that is not the agent's",
                hint=f"`dojo status {whole}` shows how they ended; --from RUN repeats any run",
            )
        found |= dict.fromkeys(bad)
    return list(found)


def _lost(sandbox: str) -> list[str]:
    """Return what is given up by running without isolation."""
    if sandbox != UNSAFE:
        return []
    from harness.sandbox.registry import get_backend

    return [f"{UNSAFE}: {check.detail}; {check.hint}" for check in get_backend(UNSAFE).check() if check.hint]


def _render_detached(data: Any, output: Output) -> None:
    output.line(f"batch {data['batch']}: {count(len(data['runs']), 'run')} in the background")
    output.line(f"watch:  dojo status {data['batch']} --watch")
    output.line(f"cancel: dojo cancel {data['batch']}")
