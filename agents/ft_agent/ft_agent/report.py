"""What the run leaves for people: a folder an iteration, and a report with a picture at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ft_agent.ablate import REASON
from ft_agent.data import Dataset
from ft_agent.effects import Effect
from ft_agent.figures import ReportFacts, choices_apart, effect_of, figures, verdict
from ft_agent.picture import score_plot
from ft_agent.plan import Iteration, Score
from ft_agent.view import clip, curve_text

# Figures that have a section of their own.
TOLD_APART = ("hypotheses", "thinking", "counterfactual")
# Words of a planner in a table's cell.
CELL = 160


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
            f"loss {curve_text(iteration.losses)}" + (f"\n\n{iteration.speed}" if iteration.speed else "")
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


def write_report(folder: Path, task: Mapping[str, Any], facts: ReportFacts, reason: str) -> None:
    """Write ``report.md``, ``figures.json`` and ``scores.svg``; ``reason`` says why the run ended, or that it goes on."""
    numbers = figures(facts)
    (folder / "report.md").write_text(report_text(task, facts, numbers, reason), encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    (folder / "scores.svg").write_text(score_plot(facts), encoding="utf-8")


def report_text(task: Mapping[str, Any], facts: ReportFacts, numbers: Mapping[str, Any], reason: str) -> str:
    """Tell the run in Markdown: what was tried, what single knobs did, what thinking was worth, what comes next, the figures."""
    best = next((i for i in facts.iterations if i.number == facts.champion), None)
    parts = [
        f"# Report: {task['id']} ({task['profile']})",
        f"Handed in: {f'iteration {facts.champion}' if facts.champion else 'the base model'}"
        + (f", own split {_value(best.own)}, dev {_value(best.dev)}" if best else "")
        + f"; base model on the own split {_value(facts.base)}. {reason}",
        "![scores over time](scores.svg)",
        "## What was tried\n\n" + _tried(facts),
        "## What single knobs did\n\n" + _effects(facts),
        "## What helped\n\n" + _helped(facts),
        *([f"## What the champion owes its score to\n\n{_owed(facts)}"] if _ablated(facts) else []),
        *([f"## What the hypotheses came to\n\n{_hypotheses(numbers)}"] if facts.iterations else []),
        *([f"## Thinking\n\n{_thinking(numbers)}"] if facts.thoughts else []),
        *([f"## What the rules would have done\n\n{_beside(facts)}"] if facts.counterfactuals else []),
        *([f"## How fast it trained\n\n{_speeds(facts)}"] if any(i.speed for i in facts.iterations) else []),
        "## What it would try next\n\n" + next_step(facts),
        "## Figures\n\n" + "\n".join(f"- {k.replace('_', ' ')}: {_told(v)}" for k, v in numbers.items() if k not in TOLD_APART),
    ]
    return "\n\n".join(parts) + "\n"


def next_step(facts: ReportFacts) -> str:
    """Say what the run's outcome asks for next: time or data, weak slices, and the effect most worth a second look."""
    last = next((i for i in reversed(facts.iterations) if i.diagnosis), None)
    signals = last.diagnosis.signals if last and last.diagnosis else {}
    said = []
    if "still_falling" in signals:
        said.append(
            "More training time: the loss was still falling."
            if signals["still_falling"]
            else "Other data: the loss had levelled off."
        )
    weak = signals.get("weak_slices") or {}
    said.append(f"More rows for {', '.join(repr(k) for k in weak)}." if weak else "No slice stands out.")
    maybe = [e for e in facts.effects if e.confirmed is None and e.effect > e.error]
    if maybe:
        first = max(maybe, key=lambda e: e.certainty)
        said.append(f"A repeat of iteration {first.with_}: {first.knob} {_measured(first)} is not beyond the noise yet.")
    return " ".join(said)


def _tried(facts: ReportFacts) -> str:
    rows = []
    for i in facts.iterations:
        effect = effect_of(i.number, facts.effects)
        rows.append(
            (
                i.number,
                i.plan.phase,
                i.plan.author,
                i.plan.knob,
                i.status,
                _value(i.own),
                _value(i.dev),
                f"{i.train_seconds:.0f}",
                verdict(effect) if effect else "–",
                i.decision,
            )
        )
    heading = ("n", "phase", "planner", "knob", "outcome", "own", "dev", "training s", "hypothesis", "decision")
    return _table(heading, rows) if rows else "Nothing."


def _effects(facts: ReportFacts) -> str:
    if not facts.effects:
        return "Nothing: no two measured iterations differ in one knob alone."
    rows = [
        (
            e.name,
            e.knob,
            f"{e.before} → {e.after}",
            _measured(e),
            e.items,
            {True: "helps", False: "harms", None: "within noise"}[e.confirmed],
            ", ".join(f"{name!r} {value:+.3f} ± {error:.3f}" for name, (value, error) in e.slices.items()) or "–",
        )
        for e in facts.effects
    ]
    noise = next((e.noise for e in facts.effects if e.noise is not None), None)
    error = (
        f"± holds items and trainings: a repeated training varies by {noise:.3f}."
        if noise is not None
        else "± holds items only: no plan was repeated, so how much a training varies by itself is not in it."
    )
    return (
        "Paired on the own split, in probability of the whole answer; 3v1 is iteration 3 against iteration 1, 0 the base model. "
        + error
        + "\n\n"
        + _table(("", "knob", "change", "effect", "items", "verdict", "by slice"), rows)
    )


def _helped(facts: ReportFacts) -> str:
    lines = [f"- {_cell(i.plan.knob)}: {_cell(i.decision)}" for i in facts.iterations if i.replaces]
    lines += [
        f"- {_cell(e.knob)} {_cell(e.before)} → {_cell(e.after)}: {_measured(e)}"
        for e in facts.effects
        if e.confirmed and e.against
    ]
    return "\n".join(lines) or "Nothing beat the base model beyond the margin."


def _ablated(facts: ReportFacts) -> list[Effect]:
    """The effects of ablations: each the champion's settings with one part put back or taken out."""
    numbers = {i.number for i in facts.iterations if i.plan.author == REASON}
    return [e for e in facts.effects if e.with_ in numbers and e.against in numbers]


def _owed(facts: ReportFacts) -> str:
    said = {True: "better without it", False: "needed", None: "not told from noise"}
    rows = [(e.knob, f"{e.before} → {e.after}", _measured(e), said[e.confirmed]) for e in _ablated(facts)]
    return _table(("part", "put back or out", "effect of that", "verdict"), rows)


def _hypotheses(numbers: Mapping[str, Any]) -> str:
    rows = [(name, *line.values()) for name, line in numbers["hypotheses"].items()]
    heading = ("planner", "planned", "with evidence", "trained", "confirmed", "refuted", "open", "confirmed share")
    return (
        "Confirmed, refuted and open are by measured effect, of those that changed one knob; evidence is an effect that had been "
        "measured by then, anything else a guess.\n\n" + _table(heading, rows)
    )


def _thinking(numbers: Mapping[str, Any]) -> str:
    spent = numbers["thinking"]
    rows = [(name, *line.values()) for name, line in spent["calls"].items()]
    heading = ("call", "calls", "repaired", "fell back", "tokens in", "tokens out", "seconds")
    dollars = "" if spent["dollars"] is None else f", {spent['dollars']:.4f} dollars ({spent['dollars_per_iteration']:.4f})"
    total = spent["input_tokens"] + spent["output_tokens"]
    return f"{total} tokens, {spent['tokens_per_iteration']} an iteration{dollars}.\n\n{_table(heading, rows)}"


def _beside(facts: ReportFacts) -> str:
    rows = []
    for i in facts.iterations:
        other = facts.counterfactuals.get(i.number)
        if other is not None:
            apart = choices_apart(i.plan, other)
            rows.append(
                (i.number, i.plan.knob, i.decision, other.knob, ", ".join(apart) if apart else "nothing: the same choice")
            )
    return _table(("n", "chosen", "what came of it", "the rules' choice", "differs in"), rows)


def _speeds(facts: ReportFacts) -> str:
    return _table(("n", "training"), [(i.number, i.speed) for i in facts.iterations if i.speed])


def _measured(effect: Effect) -> str:
    return f"{effect.effect:+.3f} ± {effect.error:.3f}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(c) for c in row) + " |" for row in rows)])


def _cell(value: object) -> str:
    """A planner's words must not break out of their cell, nor out of text."""
    return clip(re.sub(r"\s+", " ", "–" if value is None else str(value)).replace("|", "¦").replace("<", "‹"), CELL) or "–"


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    return "none" if value is None else str(value)


def _value(score: Score | None) -> str:
    return f"{score.value:.3f}" if score else "–"
