"""What ``dojo submit --dry-run`` shows: the runs that would start, and what they could tell about agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cli.humanise import count, duration
from harness.cli.output import Output
from harness.cli.sanitise import one_line
from harness.spec.measured import quick_look

if TYPE_CHECKING:
    from harness.executor.planner import BatchPlan


def planned(plan: BatchPlan) -> dict[str, Any]:
    """Return the document of a dry run, with the columns of a real one."""
    runs = [
        {
            "id": run.id,
            "agent": run.agent.name,
            "task": run.task.id,
            "profile": run.task.profile,
            "seed": run.seed,
            "state": "planned",
            "outcome": None,
            "score": None,
            "base_model": run.base_model.name,
            "budget": run.budget,
            "sandbox": run.sandbox,
            "dojo_version": run.versions.get("dojo", ""),
            "limit": run.limit,
            "limits": run.limits,
        }
        for run in plan.runs
    ]
    return {"batch": plan.batch, "runs": runs, "warnings": plan.warnings, "max_wall_s": plan.max_wall_s}


def render(data: Any, output: Output) -> None:
    """Print the runs, then for each task the smallest difference they could show."""
    rows = []
    for run in data["runs"]:
        budget = run["budget"]
        what = [run["agent"], run["task"], run["profile"], run["seed"], run["base_model"]]
        rows.append([*what, duration(budget["wall"]), budget["evaluations"]])
    first = data["runs"][0]
    mark = quick_look(first["limit"])
    title = " · ".join(filter(None, ("would run", mark, first["sandbox"], f"dojo {first['dojo_version']}")))
    output.table(("agent", "task", "profile", "seed>", "base model", "time>", "evals>"), rows, title=title)
    power = data["power"]
    for row in [*power["rows"], *([power["overall"]] if power["overall"] else [])]:
        output.line(f"{row['task']}: {could_show(row)} ({one_line(row['basis'])})")
    total = duration(data["max_wall_s"])
    output.line(f"{count(len(rows), 'run')}, at most {total} of agent time one after the other; nothing was started")


def could_show(row: dict[str, Any]) -> str:
    """Say what so many runs per agent could show."""
    if row["smallest_difference"] is None:
        return "no difference between agents could be shown"
    observed, true = row["smallest_difference"], row["smallest_difference_80"]
    return (
        f"{row['runs']} runs per agent show an observed difference of {observed:.3f}, a true one of {true:.3f} four times in five"
    )
