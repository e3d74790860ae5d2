"""The table of all tasks with their yardsticks: on the terminal for `dojo tasks check --all`, and as `docs/tasks.md`.

``python -m harness.cli.tasks_table`` checks all tasks and writes the page anew.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.output import Output, plain
from harness.cli.tasks import shown_sizes, sizes_of
from harness.project import bundled

if TYPE_CHECKING:
    from harness.assets.task_dir import Task
    from harness.executor.checks import TaskCheck
    from harness.grading.admission import Row

PAGE = bundled("docs") / "tasks.md"
_COLUMNS = ("task", "metric", "hidden", "base", "few-shot", "majority", "best without a model", "oracle", "grade", "verdict")


def report_all(output: Output, found: Sequence[tuple[str, TaskCheck]], render: Callable[[Any, Output], None]) -> int:
    """Print all tasks; where one is not fit the answer is an error too, and 2 is returned."""
    data = {
        "tasks": [
            {"task": task, "ok": all(c.ok for c in check.checks), "row": plain(check.row), "checks": plain(check.checks)}
            for task, check in found
        ]
    }
    bad = [(task, c) for task, check in found for c in check.checks if not c.ok]
    if not bad:
        output.result(data, render)
        return 0
    what = ", ".join(f"{task}: {check.name}" for task, check in bad)
    output.problem(data, render, "check_failed", f"not ok: {what}", bad[0][1].hint or bad[0][1].detail)
    return 2


def render_all(data: Any, output: Output) -> None:
    """Print the table, and below it what is not ok."""
    output.table(_COLUMNS, [_cells(row["row"]) for row in data["tasks"] if row["row"]])
    for row in data["tasks"]:
        for check in row["checks"]:
            if not check["ok"] or "KNOWN ISSUE" in check["detail"]:
                output.line(f"{row['task']}: {check['name']}: {check['detail']}")


def _cells(row: dict[str, Any]) -> list[str]:
    def score(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    return [
        row["task"],
        row["metric"],
        str(row["hidden"]),
        score(row["base"]),
        score(row["few_shot_base"]),
        score(row["majority"]),
        row["degenerate"],
        score(row["oracle"]),
        "–" if row["grade_s"] is None else f"{row['grade_s']:.0f} s",
        row["verdict"],
    ]


def page(rows: Sequence[tuple[Task, Row]], today: str) -> str:
    """Return docs/tasks.md."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    lines = [
        "# Tasks",
        "",
        f"Made by `python -m harness.cli.tasks_table` (what `dojo tasks check --all --profile mini` checks), {today}, {machine}.",
        "",
        "Rows as the tasks declare them and `check` compares: mini as it is made, full by the benchmark's published counts and "
        "the split rule, where these are known; source rows before decontamination.",
        "",
        "| task | about | metric | dev/hidden/source rows | profiles | licence |",
        "|---|---|---|---|---|---|",
    ]
    for task, _ in rows:
        licence = task.dojo.licence or "–"
        lines.append(
            f"| [{task.id}](../tasks/{task.id}/README.md) | {task.dojo.title} | `{task.dojo.metric.name}` "
            f"| {shown_sizes(sizes_of(task.dojo))} | {', '.join(sorted(task.dojo.profiles))} | {licence} |"
        )
    lines += [
        "",
        "## Yardsticks of the `mini` profiles",
        "",
        "`base` and `few-shot` are SmolLM2-135M-Instruct without and with worked examples; `majority` is the commonest answer of "
        "each question type, chosen on dev; `best without a model` the best of empty, echoed, constant and random answers; "
        "`oracle` the right answers in the asked format. `grade` is one grading of the hidden split by the model, in seconds of "
        "the machine that measured it. A dash: not measured yet. "
        "What a fixed fine-tuning recipe gains: [mini-runs.md](mini-runs.md).",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(f"| {' | '.join(_cells(row.model_dump()))} |" for _, row in rows),
    ]
    issues = [(task, rule, why) for task, _ in rows for rule, why in task.dojo.known_issues.items()]
    if issues:
        lines += ["", "Known issues, declared by the tasks:", ""]
        lines += [f"- {task.id}, rule `{rule}`: {why}" for task, rule, why in issues]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check all tasks and write the page.

    Raises:
        SystemExit: a task is not fit.
    """
    from harness.service import Dojo

    dojo = Dojo()
    rows: list[tuple[Task, Row]] = []
    for task in dojo.tasks():
        check = dojo.check_task(task.id, "mini")
        if check.row is None or not all(c.ok for c in check.checks):
            raise SystemExit(f"{task.id}: " + "; ".join(f"{c.name}: {c.detail}" for c in check.checks if not c.ok))
        rows.append((task, check.row))
    PAGE.write_text(page(rows, datetime.datetime.now(datetime.UTC).date().isoformat()), encoding="utf-8")
    print(f"{len(rows)} tasks written to {PAGE.name}")


if __name__ == "__main__":
    main()
