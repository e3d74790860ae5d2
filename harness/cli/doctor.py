"""``dojo doctor``: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line


@click.command("doctor", cls=Command)
@click.argument("area", required=False)
@click.argument("task", required=False)
@click.option("--profile", type=click.Choice(["full", "mini", "strict"]), help="With `task T`: the profile to check.")
@click.option("--base-model", metavar="NAME", help="With `task T`: told of instead of the profile's.")
@click.option("--tokens-per-second", type=click.FloatRange(min=0, min_open=True), metavar="N", help="With `task T`: of a grader.")
@pass_invocation
def doctor(
    invocation: Invocation,
    area: str | None,
    task: str | None,
    profile: str | None,
    base_model: str | None,
    tokens_per_second: float | None,
) -> int:
    """Check this machine; exit code 3 where something needed is missing.

    AREA: host, sandbox, data (these three by default, and artefacts where DOJO_ARTEFACTS names a place), gpu, docker, k8s,
    gateway, artefacts, or `task T` for one task. Where its profile wants a GPU it is told, on paper, whether grades fit on the
    cards here and how long one takes.
    """
    if (area == "task") != (task is not None):
        raise click.UsageError("write `dojo doctor task T` with a task's id" if area == "task" else f"unexpected {task!r}")
    dojo, output = invocation.dojo(), invocation.output
    if task is None:
        return report_checks(output, dojo.doctor(area), exit_code=3, code="missing")
    chosen = invocation.config(profile=profile).settings.profile
    checks = dojo.diagnose_task(task, chosen, base_model=base_model, tokens_per_s=tokens_per_second)
    return report_checks(output, checks, exit_code=3, code="missing")


def report_checks(output: Output, checks: Any, *, exit_code: int, code: str) -> int:
    """Print checks; where one is not ok the answer is an error too, and ``exit_code`` is returned."""
    data = {"checks": plain(checks)}
    bad = [check for check in data["checks"] if not check["ok"]]
    if not bad:
        output.result(data, render_checks)
        return 0
    what = ", ".join(check["name"] for check in bad)
    output.problem(data, render_checks, code, f"not ok: {what}", bad[0]["hint"] or bad[0]["detail"])
    return exit_code


def render_checks(data: Any, output: Output) -> None:
    """Print one line a check, and what to do below the ones that are not ok."""
    width = max((len(check["name"]) for check in data["checks"]), default=0)
    for check in data["checks"]:
        output.line(f"{'ok ' if check['ok'] else 'NO '} {one_line(check['name']):<{width}}  {one_line(check['detail'])}")
        if not check["ok"] and check["hint"]:
            output.line(f"    {'':<{width}}  → {one_line(check['hint'])}")
