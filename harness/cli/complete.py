"""Names for shell completion. Whatever goes wrong, the shell gets no names rather than an error in the middle of a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

    from harness.service import Dojo


def _names(ctx: click.Context, incomplete: str, names: Callable[[Dojo], Iterable[str]]) -> list[str]:
    from harness.cli.base import Invocation

    try:
        dojo = (ctx.find_object(Invocation) or Invocation()).dojo()
        return sorted({name for name in names(dojo) if name.startswith(incomplete)})
    except Exception:
        return []


def tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return ids of tasks."""
    return _names(ctx, incomplete, lambda dojo: (task.id for task in dojo.tasks()))


def agents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of agents."""
    return _names(ctx, incomplete, lambda dojo: (agent.name for agent in dojo.agents()))


def backbones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of backbones."""
    return _names(ctx, incomplete, lambda dojo: (backbone.name for backbone in dojo.backbones()))


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return ids of runs."""
    return _names(ctx, incomplete, lambda dojo: ["@last", *(row.id for row in dojo.store.runs())])


def batches(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return ids of batches."""
    return _names(ctx, incomplete, lambda dojo: ["@last", *(row.id for row in dojo.store.batches())])


def either(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return ids of batches and runs."""
    return [*batches(ctx, param, incomplete), *runs(ctx, param, incomplete)]
