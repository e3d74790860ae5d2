"""What the run leaves for people: a folder an iteration, and a report with a picture at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ft_agent.data import Dataset
from ft_agent.plan import Iteration, Score
from ft_agent.view import curve_text


def write_iteration(folder: Path, iteration: Iteration, dataset: Dataset | None, feedback: Mapping[str, Any] | None) -> None:
    """Write one iteration: everything as JSON, the story as Markdown, the loss curve as CSV, the training set as JSONL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "iteration.json").write_text(json.dumps(iteration.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "README.md").write_text(iteration_text(iteration), encoding="utf-8")
    if iteration.losses:
        lines = ["step,loss", *(f"{step},{loss:.6g}" for step, loss in iteration.losses)]
        (folder / "loss.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if dataset is not None:
        with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
            for e in dataset.examples:
                row = {"id": e.id, "slice": e.slice, "prompt": e.prompt, "answer": e.answer}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    if feedback is not None:
        (folder / "dev.json").write_text(json.dumps(feedback, indent=1, ensure_ascii=False), encoding="utf-8")


def iteration_text(iteration: Iteration) -> str:
    """Tell one iteration in Markdown."""
    plan = iteration.plan
    parts = [
        f"# Iteration {iteration.number}: {plan.phase}, {iteration.status}",
        f"**Hypothesis.** {plan.hypothesis} (knob: {plan.knob}; continues {plan.parent or 'nothing'}).",
        f"**Reason.** {plan.reason}",
        f"**Configuration.** trainer `{json.dumps(plan.trainer)}`, adapter `{json.dumps(plan.lora)}`, {plan.seconds:.0f} s asked",
    ]
    if iteration.data_log:
        rows = [
            f"| {d['operation']} | `{json.dumps(d['args'])}` | {d['rows_in']} | {d['rows_out']} |" for d in iteration.data_log
        ]
        parts.append("## Data recipe\n\n| operation | arguments | rows in | rows out |\n|---|---|---|---|\n" + "\n".join(rows))
    caught = [f"- {c['rung']} after {c['seconds']:.1f} s: {c['problem']}" for c in iteration.caught]
    parts.append("## What validation caught\n\n" + ("\n".join(caught) or "Nothing."))
    if iteration.losses:
        parts.append(
            f"## Training\n\n{iteration.steps} steps, {iteration.examples} examples, {iteration.train_seconds:.0f} s; "
            f"loss {curve_text(iteration.losses)}"
        )
    for score, name in ((iteration.own, "Own validation split"), (iteration.dev, "Dev split (metered)")):
        if score:
            parts.append(f"## {name}\n\n{score_table(score)}")
    if iteration.diagnosis:
        parts.append("## Diagnosis\n\n" + "\n".join(f"- {f}" for f in iteration.diagnosis.findings))
    parts.append(f"## Decision\n\n{iteration.decision}" + "".join(f"\n- {n}" for n in iteration.notes))
    return "\n\n".join(parts) + "\n"


def score_table(score: Score) -> str:
    """Write a score with its slices."""
    lines = [f"| {name} | {value:.3f} |" for name, value in sorted(score.slices.items(), key=lambda kv: kv[1])]
    extra = f", parse rate {score.parse_rate:.2f}" if score.parse_rate is not None else ""
    extra += f", loss {score.loss:.3f}" if score.loss is not None else ""
    return f"{score.value:.3f} over {len(score.items)} items{extra}\n\n| slice | score |\n|---|---|\n" + "\n".join(lines)


def figures(iterations: Sequence[Iteration], events: Mapping[str, float]) -> dict[str, Any]:
    """Work out the figures the agent reports about itself.

    ``events`` holds seconds since the start: ``first_submission``, ``end`` and, for each iteration n, ``iteration n``.
    """
    effective = [i for i in iterations if i.status == "trained" and (i.own or i.dev)]
    best, improving, best_at = -1.0, 0, None
    for i in effective:
        value = i.own.value if i.own else (i.dev.value if i.dev else 0.0)
        if value > best:
            best, best_at = value, events.get(f"iteration {i.number}")
            improving += 1
    lost = sum(i.train_seconds for i in iterations if i.status == "failed")
    return {
        "iterations": len(iterations),
        "effective": len(effective),
        "improving_share": round(improving / len(effective), 3) if effective else 0.0,
        "caught_by_rung": _count([str(c["rung"]) for i in iterations for c in i.caught]),
        "seconds_lost_to_what_no_rung_caught": round(lost, 1),
        "seconds_to_first_submission": events.get("first_submission"),
        "seconds_to_best": best_at,
        "seconds": events.get("end"),
        "tokens_spent_on_thinking": 0,
    }


def write_report(
    folder: Path,
    task: Mapping[str, Any],
    iterations: Sequence[Iteration],
    champion: int,
    base: Score | None,
    events: Mapping[str, float],
    next_step: str,
) -> None:
    """Write ``report.md`` and ``scores.svg``."""
    numbers = figures(iterations, events)
    rows = [
        f"| {i.number} | {i.plan.phase} | {i.plan.knob} | {i.status} | {_value(i.own)} | {_value(i.dev)} "
        f"| {i.train_seconds:.0f} | {i.decision} |"
        for i in iterations
    ]
    helped = [i for i in iterations if i.number and "replaces" in i.decision]
    best = next((i for i in iterations if i.number == champion), None)
    parts = [
        f"# Report: {task['id']} ({task['profile']})",
        f"Handed in: {f'iteration {champion}' if champion else 'the base model'}"
        + (f", own split {_value(best.own)}, dev {_value(best.dev)}" if best else "")
        + f"; base model on the own split {_value(base)}.",
        "![scores over time](scores.svg)",
        "## What was tried\n\n| n | phase | knob | outcome | own | dev | training s | decision |\n"
        + "|---|---|---|---|---|---|---|---|\n"
        + "\n".join(rows),
        "## What helped\n\n"
        + ("\n".join(f"- {i.plan.knob}: {i.decision}" for i in helped) or "Nothing beat the base model beyond the margin."),
        "## What it would try next\n\n" + next_step,
        "## Figures\n\n" + "\n".join(f"- {k.replace('_', ' ')}: {v}" for k, v in numbers.items()),
    ]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    (folder / "scores.svg").write_text(score_plot(iterations, events), encoding="utf-8")


def score_plot(iterations: Sequence[Iteration], events: Mapping[str, float]) -> str:
    """Draw own (hollow) and dev (filled) scores over time as an SVG."""
    width, height, left, bottom = 640, 300, 50, 40
    end = max([events.get("end", 1.0), 1.0, *events.values()])
    points = []
    for i in iterations:
        at = events.get(f"iteration {i.number}")
        for score, fill in ((i.own, "none"), (i.dev, "#1b6ca8")):
            if at is not None and score:
                x = left + at / end * (width - left - 20)
                y = height - bottom - score.value * (height - bottom - 20)
                title = f"iteration {i.number}, {score.split} {score.value:.3f}"
                points.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="#1b6ca8"><title>{title}</title></circle>'
                )
                points.append(f'<text x="{x + 7:.1f}" y="{y - 5:.1f}" font-size="10">{i.number}</text>')
    grid = []
    for tick in range(0, 11, 2):
        y = height - bottom - tick / 10 * (height - bottom - 20)
        grid.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 20}" y2="{y:.1f}" stroke="#ddd"/>')
        grid.append(f'<text x="{left - 30}" y="{y + 4:.1f}" font-size="11">{tick / 10:.1f}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        f"{''.join(grid)}{''.join(points)}"
        f'<text x="{width / 2 - 90}" y="{height - 8}" font-size="11">'
        f"seconds (0 to {end:.0f}); filled: dev, hollow: own split</text></svg>\n"
    )


def _count(names: Sequence[str]) -> dict[str, int]:
    return {n: names.count(n) for n in sorted(set(names))}


def _value(score: Score | None) -> str:
    return f"{score.value:.3f}" if score else "–"
