"""The options that choose runs, and the ages in them: shared by runs and batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.complete import agents, batches, tasks
from harness.spec.budget import parse_duration
from harness.spec.outcome import RunState

if TYPE_CHECKING:
    from harness.store.base import RunFilter

    MomentType = click.ParamType[datetime]
else:  # no generic class in older releases of click
    MomentType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

LIMIT = 30


class Age(MomentType):
    """``7d``, ``12h`` (so long ago) or a date or time as ``2026-11-01``, ``2026-11-01T12:00`` (local, unless it names a zone)."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(str(value), datetime.now(UTC))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def moment(text: str, now: datetime) -> datetime:
    """Turn an age or a date into a moment.

    Raises:
        ValueError: it is neither; the message names it.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return now - timedelta(seconds=float(parse_duration(text)))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither an age as 7d or 12h nor a date as 2026-11-01") from None


def filters(command: F) -> F:
    """Give a command the options that `where` reads."""
    states = [state.value for state in RunState]
    options = [
        click.option("--batch", shell_complete=batches, metavar="B", help="Only this batch (id, unique prefix, name or @last)."),
        click.option("--task", shell_complete=tasks, metavar="GLOB", help="Only runs on these tasks, as math/*."),
        click.option("--agent", shell_complete=agents, metavar="GLOB", help="Only runs of these agents."),
        click.option("--profile", type=click.Choice(["full", "mini", "strict"]), help="Only runs with this profile."),
        click.option("--state", "states", type=click.Choice(states), multiple=True, help="Only runs in this state; repeatable."),
        click.option("--name", metavar="GLOB", help="Only batches of such names."),
        click.option("--tag", metavar="TAG", help="Only what has this tag (a run's own or its batch's)."),
        click.option("--since", type=Age(), metavar="AGE", help="Only what is younger: 7d, 12h, or a date as 2026-11-01."),
        click.option("--older-than", type=Age(), metavar="AGE", help="Only what is older."),
        click.option("--excluded", is_flag=True, help="Only runs left out of comparisons."),
        click.option("--sizes", is_flag=True, help="Say what each takes on disk."),
        click.option("--limit", type=click.IntRange(min=0), default=LIMIT, metavar="N", help="The newest N; 0 for all.")
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def where(resolve: Callable[[str, Any], str], given: dict[str, Any]) -> RunFilter:
    """Build the filter from the options' values; ``resolve`` is the store's."""
    from harness.store.base import RunFilter

    return RunFilter(
        batch=resolve(given["batch"], "batch") if given["batch"] else None,
        task=given["task"],
        agent=given["agent"],
        profile=given["profile"],
        states=frozenset(RunState(state) for state in given["states"]),
        name=given["name"],
        tag=given["tag"],
        since=given["since"],
        until=given["older_than"],
        excluded=True if given["excluded"] else None,
    )
