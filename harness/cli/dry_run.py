"""What ``dojo submit --dry-run`` shows: the runs that would start, and what they could tell about agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.humanise import amount, count, duration
from harness.cli.output import Output
from harness.cli.rows import shown
from harness.cli.sanitise import one_line
from harness.spec.measured import hidden_words, quick_look

_METERED = ("dollars", "tokens", "output_tokens", "requests")

if TYPE_CHECKING:
    from harness.executor.planner import BatchPlan


def planned(plan: BatchPlan) -> dict[str, Any]:
    """Return the document of a dry run, with the columns of a real one."""
    runs = [
        {
            "id": run.id,
            "agent": run.agent.name,
            "variant": run.variant,
            "task": run.task.id,
            "profile": run.task.profile,
            "hidden": hidden_words(run.task.hidden),
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
    budgets = [run.budget.model_dump() for run in plan.runs]
    total = {name: _sum([budget[name] for budget in budgets]) for name in budgets[0]}
    limits = {"max_wall_s": plan.max_wall_s, "max_dollars": plan.max_dollars, "total": total}
    return {"batch": plan.batch, "name": plan.name, "runs": runs, "warnings": plan.warnings, **limits}


def _sum(limits: Sequence[float | None]) -> float | None:
    """Return what all runs together may spend in a dimension; None where one of them has no limit in it."""
    return None if None in limits else sum(limit for limit in limits if limit is not None)


def render(data: Any, output: Output) -> None:
    """Print the matrix, seeds of one kind together, then for each task the smallest difference that its runs could show."""
    first = data["runs"][0]
    thinking = list(dict.fromkeys(run["backbone"] for run in data["runs"] if run["backbone"]))
    backbone = f"backbone {thinking[0]}" if len(thinking) == 1 else ""  # several stand in a column of their own
    words = (
        "would run",
        quick_look(first["limit"]),
        first["hidden"],
        backbone,
        first["sandbox"],
        f"dojo {first['dojo_version']}",
    )
    columns, rows = _table(data["runs"])
    output.table(columns, rows, title=" · ".join(filter(None, words)))
    power = data["power"]
    for row in [*power["rows"], *([power["overall"]] if power["overall"] else [])] if power else []:
        output.line(f"{row['task']}: {could_show(row)} ({one_line(row['basis'])})")
    total = {name: limit for name, limit in data["total"].items() if limit is not None and name in ("cpu", "gpu", "evaluations")}
    more = "".join(f", {_amount(name, limit)}" for name, limit in total.items())
    runs = count(len(data["runs"]), "run")
    output.line(f"{runs}, at most {duration(data['max_wall_s'])} of agent time one after the other{more}; nothing was started")
    if thinking:
        output.line(_cost(data))


def _table(runs: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Return columns and rows, a row for each kind of run; what no run has, or all have alike, takes no column."""
    columns = ["agent", "task", "profile", "seeds", "base model", "backbone", "time>", "cpu>", "evals>"]
    kinds: dict[tuple[object, ...], list[int]] = {}
    for run in runs:
        budget = run["budget"]
        cpu = "" if budget.get("cpu") is None else duration(budget["cpu"])
        what = (shown(run), run["task"], run["profile"], run["base_model"], run["backbone"])
        kinds.setdefault((*what, duration(budget["wall"]), cpu, budget["evaluations"]), []).append(run["seed"])
    rows: list[list[object]] = [[*kind[:3], _seeds(seeds), *kind[3:]] for kind, seeds in kinds.items()]
    needed = {"backbone": len({row[5] for row in rows}) > 1, "cpu>": any(row[7] for row in rows)}
    kept = [place for place, column in enumerate(columns) if needed.get(column, True)]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _seeds(seeds: Sequence[int]) -> str:
    """Return ``0–3`` for seeds in a row, else each: ``0, 2, 7``."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}–{seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


def _cost(data: Any) -> str:
    """Say what the runs may cost at their backbones."""
    each = list(dict.fromkeys(_metered(run["budget"]) for run in data["runs"] if run["backbone"]))
    most = data["max_dollars"]
    cost = "the backbone may cost without limit" if most is None else f"the backbone costs at most {amount('dollars', most)}"
    limit = f"each run at most {' or '.join(filter(None, each))}" if any(each) else "no run has a limit in dollars or tokens"
    limit += ", some without limit" if any(each) and not all(each) else ""
    return f"{cost} ({limit}; a run that the infrastructure or the provider fails is tried again with a budget of its own)"


def _metered(budget: dict[str, Any]) -> str:
    return ", ".join(_amount(name, budget[name]) for name in _METERED if budget[name] is not None)


def _amount(name: str, value: float) -> str:
    return amount(name, value) + ("" if name == "dollars" else f" {name.replace('_', ' ')}")


def could_show(row: dict[str, Any]) -> str:
    """Say what so many runs per agent could show."""
    if row["smallest_difference"] is None:
        return "no difference between agents could be shown"
    observed, true = row["smallest_difference"], row["smallest_difference_80"]
    said = f"a true one of {true:.3f} four times in five" if true is not None else "no true one four times in five"
    return f"{row['runs']} runs per agent show an observed difference of {observed:.3f}, {said}"
