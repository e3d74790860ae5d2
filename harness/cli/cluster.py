"""``dojo cluster``: dojo's own objects in a Kubernetes cluster."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import CLUSTER
from harness.cli.output import Output, plain


@click.group(cls=LazyGroup, table=CLUSTER, default="check")
def cluster() -> None:
    """Put dojo into the cluster that KUBECONFIG names, check it, and take it away."""


@click.command("install", cls=Command)
@click.option("--overlay", default="single-node", show_default=True, metavar="NAME", help="A folder of k8s/.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting (docs/operate-a-cluster.md).")
@click.option("--database", "where", metavar="URL", help="PostgreSQL as pods reach it; - reads the URL from standard input.")
@click.option("--with-postgres", is_flag=True, help="Bring a PostgreSQL along.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; the cluster checks it and keeps nothing.")
@pass_invocation
def install(
    invocation: Invocation, overlay: str, settings: tuple[str, ...], where: str | None, with_postgres: bool, dry_run: bool
) -> int:
    """Install, or bring an installation up to date, wait until it is ready, and check it.

    Exit code 3 where a check is not ok.
    """
    if where is not None and with_postgres:
        raise click.UsageError("--database and --with-postgres exclude each other")
    if where == "-":
        where = sys.stdin.readline().strip()
    dojo, output = invocation.dojo(), invocation.output
    steps = dojo.install_cluster(overlay, settings, where, with_postgres, dry_run, output.say)
    if dry_run:
        output.result({"objects": steps, "dry_run": True}, _render_steps)
        return 0
    data = {"objects": plain(steps), "checks": plain(dojo.check_cluster())}
    bad = [check for check in data["checks"] if not check["ok"]]
    if not bad:
        output.result(data, _render_installed)
        return 0
    what = ", ".join(check["name"] for check in bad)
    output.problem(data, _render_installed, "missing", f"not ok: {what}", bad[0]["hint"] or bad[0]["detail"])
    return 3


@click.command("check", cls=Command)
@pass_invocation
def check(invocation: Invocation) -> int:
    """Check the installation, from outside and from a pod; exit code 3 where something is missing."""
    from harness.cli.doctor import report_checks

    return report_checks(invocation.output, invocation.dojo().check_cluster(), exit_code=3, code="missing")


@click.command("uninstall", cls=Command)
@click.option("--data", is_flag=True, help="Also namespaces, volumes and Secrets: users and quotas are gone with the database.")
@click.option("--end-runs", is_flag=True, help="Although runs are open.")
@pass_invocation
def uninstall(invocation: Invocation, data: bool, end_runs: bool) -> None:
    """Remove what was installed; refused while runs are open."""
    steps = invocation.dojo().uninstall_cluster(data, end_runs, invocation.output.say)
    invocation.output.result({"objects": steps}, _render_steps)


def _render_steps(data: Any, output: Output) -> None:
    rows = [(step["did"], step["kind"], step["name"], step["namespace"]) for step in data["objects"]]
    output.table(("", "kind", "name", "namespace"), rows)


def _render_installed(data: Any, output: Output) -> None:
    """Show what was done in a line, since every object has been told on the way, and then the checks."""
    from harness.cli.doctor import render_checks

    did = [step["did"] for step in data["objects"]]
    output.line(", ".join(f"{did.count(word)} {word}" for word in dict.fromkeys(did)))
    for step in data["objects"]:
        if step["did"] == "left":
            output.line(f"left from before: {step['kind']} {step['name']}")
    render_checks(data, output)
