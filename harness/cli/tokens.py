"""``dojo tokens``: who may use this installation over a service, and how much of it."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import TOKENS
from harness.cli.humanise import when
from harness.cli.output import Output, plain

_QUOTAS = {"runs_at_once": int, "runs_in_total": int, "gpu_hours": float, "dollars": float}


@click.group(cls=LazyGroup, table=TOKENS, default="list")
def tokens() -> None:
    """Tokens of users, with roles; quotas; the audit log. They stand in the database of the results directory."""


@click.command("create", cls=Command)
@click.option("--user", required=True, help="Whose: 1 to 40 of a-z, 0-9, '.', '_' and '-'.")
@click.option(
    "--role",
    type=click.Choice(["viewer", "submitter", "operator"]),
    default="submitter",
    show_default=True,
    help="What it may do.",
)
@click.option("--note", default="", help="What it is for.")
@pass_invocation
def create(invocation: Invocation, user: str, role: str, note: str) -> None:
    """Make a token and print it, this once: the database keeps its digest alone."""
    from harness.spec.accounts import Role

    invocation.output.result(invocation.dojo().create_token(user, Role(role), note), lambda data, out: out.line(data["token"]))


@click.command("list", cls=Command)
@pass_invocation
def list_tokens(invocation: Invocation) -> None:
    """List tokens and users, with what they may use and have used."""
    dojo = invocation.dojo()
    invocation.output.result({"tokens": dojo.tokens(), "users": dojo.users()}, _render_list)


@click.command("revoke", cls=Command)
@click.argument("token", metavar="ID")
@pass_invocation
def revoke(invocation: Invocation, token: str) -> None:
    """Let nobody in with a token any more, from the next request on; ID may be a unique prefix."""
    invocation.output.result(invocation.dojo().revoke_token(token), lambda data, out: out.line(f"revoked {data['id']}"))


@click.command("quota", cls=Command)
@click.argument("user")
@click.option("--runs-at-once", metavar="N", help="Runs that have not ended.")
@click.option("--runs-in-total", metavar="N", help="Runs that were ever submitted.")
@click.option("--gpu-hours", metavar="H", help="GPUs times hours of agents' time.")
@click.option("--dollars", metavar="D", help="Spent at backbones.")
@pass_invocation
def quota(invocation: Invocation, /, user: str, **given: str | None) -> None:
    """Say what a user may use; `none` lifts a limit. Without options: show it."""
    changes: dict[str, Any] = {}
    for name, text in given.items():
        if text is not None:
            try:
                changes[name] = None if text == "none" else _QUOTAS[name](text)
            except ValueError:
                changes[name] = -1
            if changes[name] is not None and not 0 <= changes[name] < 1e12:
                raise click.UsageError(f"--{name.replace('_', '-')} {text!r} is neither a number from 0 on nor `none`")
    dojo = invocation.dojo()
    account = dojo.set_quota(user, changes) if changes else dojo.account(user)
    invocation.output.result(account, lambda data, out: _users([data], out))


@click.command("audit", cls=Command)
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True, help="The newest N.")
@pass_invocation
def audit(invocation: Invocation, limit: int) -> None:
    """Show who did what, the newest first."""
    invocation.output.result({"entries": invocation.dojo().audit(limit)}, _render_audit)


def _render_list(data: Any, output: Output) -> None:
    rows = [
        (t["id"], t["user"], t["role"], when(t["created"]), when(t["revoked"]) if t["revoked"] else "", t["note"])
        for t in data["tokens"]
    ]
    output.table(("token", "user", "role", "made", "revoked", "note"), rows)
    output.line()
    _users(data["users"], output)


def _users(users: list[dict[str, Any]], output: Output) -> None:
    cells = [
        [
            user["user"],
            *(f"{user['spent'][name]:g} of {'∞' if user['quota'][name] is None else user['quota'][name]}" for name in _QUOTAS),
        ]
        for user in plain(users)
    ]
    output.table(("user", "runs at once", "runs in total", "GPU-hours", "dollars"), cells)


def _render_audit(data: Any, output: Output) -> None:
    rows = [(e["number"], when(e["time"]), e["user"], e["action"], e["subject"], e["outcome"]) for e in data["entries"]]
    output.table(("number>", "time", "user", "action", "subject", "outcome"), rows)
