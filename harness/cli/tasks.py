"""``dojo tasks``: what there is to solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import TASKS
from harness.cli.complete import tasks as complete_tasks
from harness.cli.humanise import time_limits
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line

if TYPE_CHECKING:
    from harness.spec.task import DojoTask


@click.group(cls=LazyGroup, table=TASKS, default="list")
def tasks() -> None:
    """Tasks: a goal, data, a budget and graders each."""


@click.command("list", cls=Command)
@pass_invocation
def list_tasks(invocation: Invocation) -> None:
    """List tasks with their metric, sizes, licence and profiles."""
    invocation.output.result(invocation.dojo().list_tasks(), _render_list)


@click.command("show", cls=Command)
@click.argument("task", shell_complete=complete_tasks)
@pass_invocation
def show_task(invocation: Invocation, task: str) -> None:
    """Show one task: goal, metric, sub-sets, and data, base model, budget and limits by profile."""
    invocation.output.result(invocation.dojo().describe_task(task), _render_task)


@click.command("check", cls=Command)
@click.argument("task", required=False, shell_complete=complete_tasks)
@click.option("--all", "every", is_flag=True, help="Check every task that has the profile; ends with a table of them.")
@click.option("--profile", type=click.Choice(["full", "mini", "strict"]), help="The profile to check (default: the settings').")
@click.option("--record", is_flag=True, help="Measure base and few-shot base where nobody has; write the admission record.")
@pass_invocation
def check_task(invocation: Invocation, task: str | None, every: bool, profile: str | None, record: bool) -> int:
    """Check a task's directory, its data and its grader; exit code 2 where something is wrong.

    Scores empty, echoed, constant, random and right answers, and shows the base model's scores where they are recorded.
    """
    from harness.cli.doctor import report_checks
    from harness.cli.tasks_table import render_all, report_all
    from harness.executor.checks import TaskCheck
    from harness.sandbox.base import Check
    from harness.spec.task import FOREIGN

    if every == (task is not None):
        raise click.UsageError("name one task, or give --all")
    chosen = invocation.config(profile=profile).settings.profile
    output, dojo = invocation.output, invocation.dojo()

    def say(text: str) -> None:
        output.say(one_line(text))

    if task is not None:
        return report_checks(output, dojo.check_task(task, chosen, say, record).checks, exit_code=2, code="check_failed")
    found: list[tuple[str, TaskCheck]] = []
    survey = dojo.survey_tasks()
    for broken in survey.broken:
        if broken.code == FOREIGN:  # nothing is wrong with it
            say(f"left out: {broken.message}")
        else:
            found.append((broken.name, TaskCheck((Check("task.toml", False, broken.message, broken.hint),), None)))
    for each in survey.found:
        if chosen in each.dojo.profiles:
            say(f"checking {each.id}")
            found.append((each.id, dojo.check_task(each.id, chosen, say, record)))
    return report_all(output, found, render_all)


def sizes_of(config: DojoTask) -> dict[str, Any]:
    """Return profile → declared sizes, None where a task declares none."""
    return {name: plain(profile.sizes) for name, profile in sorted(config.profiles.items())}


def _render_list(data: Any, output: Output) -> None:
    rows = [
        (t["id"], t["metric"]["name"], shown_sizes(t["sizes"]), ", ".join(t["profiles"]), t["licence"] or "–")
        for t in data["tasks"]
    ]
    output.table(("task", "metric", "dev/hidden/source rows", "profiles", "licence"), rows)
    note_shadows(output, [(t["id"], t["shadows"]) for t in data["tasks"]])
    note_broken(output, data["broken"])


def note_broken(output: Output, broken: Sequence[Any]) -> None:
    """Say below a list what beside its rows cannot be used, why, and what to do."""
    for each in broken:
        output.line(f"{one_line(each['name'])} cannot be used: {one_line(each['message'])}")
        output.line(f"    → {one_line(each['hint'])}")


def note_shadows(output: Output, rows: Sequence[tuple[str, Any]]) -> None:
    """Say below a list which of its rows stand before another of the same name."""
    for name, shadows in rows:
        if shadows:
            output.line(f"{name} is your own and stands before {shadows}")


def shown_sizes(sizes: Any) -> str:
    """Write the declared sizes of a task's profiles as dev/hidden/source rows."""
    return ", ".join(f"{name} {_counts(each)}" for name, each in sizes.items() if each) or "–"


def _counts(sizes: Any) -> str:
    return f"{sizes['dev']}/{sizes['hidden']}/{sizes['sources']}" if sizes else "–"


def _render_task(data: Any, output: Output) -> None:
    metric = data["metric"]
    output.pairs(
        [
            ("task", data["id"]),
            ("title", data["title"]),
            ("summary", data["summary"]),
            ("metric", f"{metric['name']}: {metric['description']}"),
            ("answer format", data["answer_format"]),
            ("submission", data["submission_policy"].replace("_", " ")),
            ("licence", data["licence"] or "–"),
            ("digest", data["digest"][:12]),
            *([("stands before", data["shadows"])] if data["shadows"] else []),
        ]
    )
    output.table(("sub-set", "metric", "about"), [(s["name"], s["metric"], s["description"]) for s in data["subsets"]])
    rows = []
    for name, profile in sorted(data["profiles"].items()):
        limits, budget = profile["limits"], profile["budget"]
        machine = f"{limits['cpus']:g} CPUs, {limits['memory_mb']} MB" + (f", {limits['gpus']} GPUs" if limits["gpus"] else "")
        rows.append(
            (
                name,
                profile["base_model"],
                _counts(profile["sizes"]),
                time_limits(budget),
                budget["evaluations"],
                machine,
            )
        )
    output.table(("profile", "base model", "dev/hidden/source rows", "time>", "evals>", "machine"), rows)
    output.text(data["instruction"].rstrip())
