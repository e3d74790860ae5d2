"""``dojo show``: the whole result of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.grade import render as render_grade
from harness.cli.headings import wrapped
from harness.cli.humanise import amount, count, duration, interval, score, size, when
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line
from harness.cli.side import figures
from harness.cli.side import render as render_side
from harness.spec.budget import Budget
from harness.spec.measured import budget_words, measured, quick_look
from harness.spec.run import GIVEN_HIDDEN, PUBLIC_HIDDEN, RunSpec


@click.command("show", cls=Command)
@click.argument("run", shell_complete=runs)
@pass_invocation
def show(invocation: Invocation, run: str) -> None:
    """Show a run that has ended: outcome, scores beside the yardsticks, usage, artefacts, integrity report, timeline."""
    dojo = invocation.dojo()
    result = dojo.show(run)
    invocation.output.result(plain(result), partial(_render, dojo.store.run(result.spec.id).excluded))


def _render(excluded: str, data: Any, output: Output) -> None:
    spec, outcome = data["spec"], data["outcome"]
    output.pairs(
        [
            ("run", spec["id"]),
            ("batch", spec["batch"]),
            ("agent", f"{spec['agent']['config']['name']} {spec['agent']['config']['version']} ({spec['agent']['digest'][:12]})"),
            *([("variant", spec["variant"])] if spec["variant"] else []),
            ("task", f"{spec['task']['id']} {spec['task']['profile']} (data {spec['task']['data_digest'][:12]})"),
            ("hidden split", _hidden(spec["task"]["hidden"])),
            ("base model", f"{spec['base_model']['name']} ({spec['base_model']['digest'][:12]})"),
            ("budget", budget_words(Budget.model_validate(spec["budget"]))),
            ("sandbox", f"{spec['sandbox']}, dojo {spec['versions'].get('dojo', 'unknown')}"),
            *_shares(data["sandboxes"]),
            ("seed", spec["seed"]),
            ("started", when(spec["created"])),
            ("outcome", f"{outcome['cause']} in phase {outcome['phase']}: {outcome['message']}"),
        ]
    )
    if excluded:
        output.line(f"excluded from comparisons: {one_line(excluded)}")
    if spec["limit"]:
        output.line(f"{quick_look(spec['limit'])}: never compared or ranked")
    if data["grade"]:
        output.line()
        output.line(wrapped(one_line(measured(RunSpec.model_validate(spec), _metric(data)).heading(spec["task"]["id"]))))
        render_grade(data["grade"], output)
        render_side(figures(data["grade"]), output)
        rows = [
            (r["name"], score(r["scores"]["primary"]["value"]), interval(r["ci_low"], r["ci_high"])) for r in data["references"]
        ]
        if rows:
            output.table(("yardstick", "score>", "95 %"), rows)
    output.line()
    limits, usage = data["budget"], data["usage"]
    spent = [(name, amount(name, usage[name]), amount(name, limit)) for name, limit in limits.items() if usage[name] or limit]
    output.table(("budget", "used>", "limit>"), spent)
    best = f", best dev {score(data['best_dev'])}" if data["best_dev"] is not None else ""
    handed_in = f"{count(data['submissions'], 'submission')}, {count(data['grades'], 'grade')}"
    output.line(f"{count(data['evaluations'], 'evaluation')}{best}, {handed_in}")
    _backbone(data, output)
    _gpus(data["gpus"], output)
    _submission(data, output)
    if data["integrity"]:
        output.line("integrity:")
        output.pairs(sorted(data["integrity"].items()), indent="  ")
    _timeline(data["timeline"], output)
    if data["artefacts"]:
        output.line("artefacts (in the run's folder):")
        output.pairs(sorted(data["artefacts"].items()), indent="  ")
    if "workspace" in data["artefacts"]:
        output.line(f"what the agent left: dojo files {spec['id']}")


def _shares(sandboxes: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what each sandbox had of the task's limits, where the agent had one of its own."""
    if len(sandboxes) < 2:
        return []
    words = {
        role: f"{limits['cpus']:g} CPUs, {limits['memory_mb']} MB memory, {limits['disk_mb']} MB disk, {limits['gpus']} GPUs"
        for role, limits in sandboxes.items()
    }
    return [(f"the {role}'s sandbox", text) for role, text in words.items()]


def _hidden(drawn_with: str) -> str:
    """Say whether anybody can make the hidden split, or which secret it was drawn with."""
    said = {PUBLIC_HIDDEN: "public: anybody can make it", GIVEN_HIDDEN: "part of a published test set"}
    return said.get(drawn_with, f"drawn with the secret {drawn_with}")


def _metric(data: Any) -> str:
    return str(data["grade"]["scores"]["primary"]["name"])


def _backbone(data: Any, output: Output) -> None:
    """Say how the agent used its backbone, and how long its story is."""
    used = data["backbone"]
    if used:
        ref = data["spec"]["backbone"]
        name = ref["name"] if ref["model"] in ("", ref["name"]) else f"{ref['name']} ({ref['model']})"
        facts = [count(used["calls"], "call"), f"{used['answered']} answered", f"{used['refused']} refused"]
        if used["outage_s"]:
            facts.append(f"down for {duration(used['outage_s'])}")
        output.line(f"backbone {one_line(name)}: {', '.join(facts)}; dojo logs --llm shows the talk")
    if data["trajectory_steps"] is not None:
        output.line(f"trajectory: {count(data['trajectory_steps'], 'step')} (ATIF)")


def _gpus(gpus: list[dict[str, Any]], output: Output) -> None:
    """Say how busy, full and warm each GPU was while the agent worked."""
    for gpu in gpus:
        figures = (
            ("in use {:.0f} % of the time", gpu["utilisation_mean"]),
            ("{:.0f} W", gpu["power_mean_w"]),
            ("at most {:.0f} °C", gpu["temperature_max_c"]),
            ("at most {:.0f} MB", gpu["memory_peak_mb"]),
        )
        said = [words.format(figure) for words, figure in figures if figure is not None]
        output.line(
            f"GPU {gpu['index']} {one_line(gpu['name'])}: {', '.join(said) or 'says nothing of itself'}; {gpu['samples']} looks"
        )


def _submission(data: Any, output: Output) -> None:
    report, manifest = data["submission_report"], data["submission"]
    if manifest:
        kind = f"{report['kind']}, " if report else ""
        output.line(f"submission: {kind}{len(manifest['files'])} files, {size(manifest['bytes'])}, {manifest['digest'][:12]}")
    for problem in report["problems"] if report else []:
        output.line(f"  not ok: {one_line(problem['message'])} → {one_line(problem['hint'])}")
    for note in report["notes"] if report else []:
        output.line(f"  note: {one_line(note)}")


def _timeline(timeline: list[dict[str, Any]], output: Output) -> None:
    if timeline:
        steps = [f"{p['state']} {duration(p['seconds'])}" if p["seconds"] is not None else p["state"] for p in timeline]
        output.line("timeline: " + " → ".join(steps))
