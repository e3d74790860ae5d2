"""``dojo backbones``: the language models that agents think with, and whether they answer."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import BACKBONES
from harness.cli.complete import backbones as complete_backbones
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line
from harness.cli.tasks import note_broken


@click.group(cls=LazyGroup, table=BACKBONES, default="list")
def backbones() -> None:
    """Backbones: the language models that agents think with, by name."""


@click.command("list", cls=Command)
@pass_invocation
def list_backbones(invocation: Invocation) -> None:
    """List the backbones of dojo.toml and the built-in ones.

    Further names need no setting: `scripted:PATH`, `replay:RUN`, `vllm:MODEL`, and any model of a provider's as `openai:MODEL`,
    `anthropic:MODEL` or `google:MODEL`. Prices are dollars per million tokens, in and out.
    """
    dojo = invocation.dojo()
    invocation.output.result({"backbones": dojo.backbones(), "broken": dojo.broken_backbones()}, _render_list)


@click.command("check", cls=Command)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_backbones)
@pass_invocation
def check_backbones(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Make one small call (some 50 tokens) to each NAME, or to each backbone of dojo.toml.

    Exit code 3 where a key or file is missing, else 1 where one does not answer.
    """
    output = invocation.output
    checked = []
    for found in invocation.dojo().check_backbones(names):
        output.say(f"{found.name}: {found.state}")
        checked.append(found)
    data = {"backbones": plain(checked)}
    bad = sorted((each for each in checked if each.state != "ok"), key=lambda each: each.state != "missing")
    if not bad:
        output.result(data, _render_checks)
        return 0
    worst = bad[0]
    code = "missing" if worst.state == "missing" else "backbone_failed"
    output.problem(data, _render_checks, code, f"{worst.name}: {worst.message}", worst.hint)
    return 3 if worst.state == "missing" else 1


def _render_list(data: Any, output: Output) -> None:
    rows = [
        (
            each["name"],
            each["model"],
            each["upstream"],
            ", ".join(each["formats"]),
            _key(each),
            _prices(each["prices"]),
            _tokens(each["context"]),
            each["origin"],
        )
        for each in data["backbones"]
    ]
    output.table(("backbone", "model", "upstream", "formats", "key", "$ in/out", "context", "from"), rows)
    days = sorted({each["prices_as_of"] for each in data["backbones"] if each["prices_as_of"]})
    if days:
        output.line(f"built-in prices were read on {days[0]}: set `prices` in dojo.toml where they have changed")
    note_broken(output, data["broken"])


def _render_checks(data: Any, output: Output) -> None:
    rows = [
        (
            each["name"],
            each["state"],
            one_line(each["served"] or each["model"]),
            "" if each["input_tokens"] is None else f"{each['input_tokens']} + {each['output_tokens']}",
            "" if each["latency_s"] is None else f"{each['latency_s']:.2f} s",
            one_line(each["message"]),
        )
        for each in data["backbones"]
    ]
    output.table(("backbone", "state", "model", "tokens", "took", "about"), rows)


def _key(each: Any) -> str:
    if not each["key"]:
        return "none needed"
    return f"{each['key']} {'is set' if each['key_set'] else 'is not set'}"


def _prices(prices: Any) -> str:
    return "unknown" if prices is None else f"{prices['input']:g}/{prices['output']:g}"


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count // 1000}k" if count >= 10_000 else str(count)
