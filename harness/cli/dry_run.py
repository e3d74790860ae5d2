"""What ``dojo submit --dry-run`` shows: the runs that would start, and what they could tell about agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cli.humanise import amount, count, duration, time_limits
from harness.cli.output import Output
from harness.cli.sanitise import one_line
from harness.spec.measured import quick_look

_METERED = ("dollars", "tokens", "output_tokens", "requests")

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
            "backbone": run.backbone.words if run.backbone else "",
            "dojo_version": run.versions.get("dojo", ""),
            "limit": run.limit,
            "limits": run.limits,
        }
        for run in plan.runs
    ]
    limits = {"max_wall_s": plan.max_wall_s, "max_dollars": plan.max_dollars}
    return {"batch": plan.batch, "runs": runs, "warnings": plan.warnings, **limits}


def render(data: Any, output: Output) -> None:
    """Print the runs, then for each task the smallest difference they could show."""
    rows = []
    for run in data["runs"]:
        budget = run["budget"]
        what = [run["agent"], run["task"], run["profile"], run["seed"], run["base_model"]]
        rows.append([*what, time_limits(budget), budget["evaluations"]])
    first = data["runs"][0]
    mark = quick_look(first["limit"])
    thinking = ", ".join(dict.fromkeys(f"backbone {run['backbone']}" for run in data["runs"] if run["backbone"]))
    title = " · ".join(filter(None, ("would run", mark, thinking, first["sandbox"], f"dojo {first['dojo_version']}")))
    output.table(("agent", "task", "profile", "seed>", "base model", "time>", "evals>"), rows, title=title)
    power = data["power"]
    for row in [*power["rows"], *([power["overall"]] if power["overall"] else [])]:
        output.line(f"{row['task']}: {could_show(row)} ({one_line(row['basis'])})")
    total = duration(data["max_wall_s"])
    output.line(f"{count(len(rows), 'run')}, at most {total} of agent time one after the other; nothing was started")
    if thinking:
        output.line(_cost(data))


def _cost(data: Any) -> str:
    """Say what the runs may cost at their backbones."""
    budget = data["runs"][0]["budget"]
    limits = [(name, budget[name]) for name in _METERED if budget[name] is not None]
    each = ", ".join(amount(name, value) + ("" if name == "dollars" else f" {name.replace('_', ' ')}") for name, value in limits)
    most = data["max_dollars"]
    cost = "the backbone may cost without limit" if most is None else f"the backbone costs at most {amount('dollars', most)}"
    limit = f"each run at most {each}" if each else "no run has a limit in dollars or tokens"
    return f"{cost} ({limit}; a run that the infrastructure or the provider fails is tried again with a budget of its own)"


def could_show(row: dict[str, Any]) -> str:
    """Say what so many runs per agent could show."""
    if row["smallest_difference"] is None:
        return "no difference between agents could be shown"
    observed, true = row["smallest_difference"], row["smallest_difference_80"]
    return (
        f"{row['runs']} runs per agent show an observed difference of {observed:.3f}, a true one of {true:.3f} four times in five"
    )
