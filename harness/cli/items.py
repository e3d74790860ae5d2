"""``dojo items``: what a run's model answered to the hidden items, and where two runs differ."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.grade import broken
from harness.cli.headings import heading
from harness.cli.humanise import score
from harness.cli.output import Output
from harness.cli.sanitise import one_line

# Cut so that a row fits a terminal of 100 columns.
_ID, _PROMPT, _GOLD, _RESPONSE = 14, 30, 14, 30


@click.command("items", cls=Command)
@click.argument("runs", metavar="RUN | A B", nargs=-1, required=True, shell_complete=runs)
@click.option("--diff", is_flag=True, help="Compare two runs A and B: the items on which they differ.")
@click.option("--wrong", is_flag=True, help="Only items without full marks.")
@click.option("--unparsed", is_flag=True, help="Only answers that are not in the asked form.")
@click.option("--subset", metavar="GLOB", help="Only this sub-set or slice (the name of one of an item's own metrics).")
@click.option("--limit", type=click.IntRange(min=0), default=50, metavar="N", help="At most N items; 0 for all.")
@pass_invocation
def items(
    invocation: Invocation, /, runs: tuple[str, ...], diff: bool, wrong: bool, unparsed: bool, subset: str | None, limit: int
) -> None:
    """Show the hidden items with gold, response and score of a run's newest grade, cut to the width; whole with --json.

    With --diff A B: the items on which run A scores more, then those on which it scores less, and the counts. Two runs are two
    models; `dojo compare` says what may be said about agents. Hidden items are for the grader's side: keep them from agents.
    """
    from harness.service.answers import AnswerFilter

    dojo, where = invocation.dojo(), AnswerFilter(wrong=wrong, unparsed=unparsed, subset=subset)
    if diff and len(runs) != 2:
        raise click.UsageError("--diff needs two runs: dojo items --diff A B")
    if not diff and len(runs) != 1:
        raise click.UsageError("one run at a time; --diff A B compares two")
    if diff:
        invocation.output.result(dojo.items_difference(runs[0], runs[1], where, limit or None), _render_difference)
    else:
        invocation.output.result(dojo.items(runs[0], where, limit or None), _render)


def _render(data: Any, output: Output) -> None:
    title = heading(data, data["task"]) + f"\n  {data['run']}, {one_line(data['agent'])}, grade {data['grade']}"
    rows = [
        [
            _cut(item["id"], _ID),
            score(item["score"]) + (" broke" if item["failure"] else "" if item["parsed"] else " unparsed"),
            _cut(item["prompt"], _PROMPT),
            _cut(item["gold"], _GOLD),
            _tail(item["response"], _RESPONSE),
        ]
        for item in data["items"]
    ]
    output.table(("item", "score", "prompt", "gold", "response (its end)"), rows, title=title)
    output.line(f"{len(rows)} of {data['matching']} that match, {data['total']} in all")
    broken(output, {item["id"]: item["failure"] for item in data["items"] if item["failure"]})


def _render_difference(data: Any, output: Output) -> None:
    both = [f"{data[side]} ({one_line(data[f'agent_{side}'])})" for side in ("a", "b")]
    title = heading(data, data["task"]) + f"\n  {' against '.join(both)}"
    counts = [[name, found["win"], found["tie"], found["loss"]] for name, found in data["by_subset"].items()]
    if len(counts) != 1:
        counts.append(["all", data["win"], data["tie"], data["loss"]])
    output.table(("sub-set", "win>", "tie>", "loss>"), counts, title=title)
    output.line()
    rows = [
        [
            "win" if item["score_a"] > item["score_b"] else "loss",
            _cut(item["id"], _ID),
            f"{score(item['score_a'])} {score(item['score_b'])}",
            _cut(item["gold"], _GOLD),
            _tail(item["response_a"], _RESPONSE - 6),
            _tail(item["response_b"], _RESPONSE - 6),
        ]
        for item in data["items"]
    ]
    if rows:
        output.table(("", "item", "scores", "gold", "first (its end)", "second (its end)"), rows)
    output.line(f"{len(rows)} of {data['win'] + data['loss']} items on which they differ are shown")


def _cut(value: object, width: int) -> str:
    return one_line(value if isinstance(value, str) else str(value), width)


def _tail(text: str, width: int) -> str:
    """Return the end of a response: answers stand there."""
    line = one_line(text)
    return line if len(line) <= width else "…" + line[len(line) - width + 1 :]
