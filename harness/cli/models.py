"""``dojo models``: the base models that runs can name."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import MODELS
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line


@click.group(cls=LazyGroup, table=MODELS, default="list")
def models() -> None:
    """Base models that runs can name: dojo's own and those that you add."""


@click.command("list", cls=Command)
@pass_invocation
def list_models(invocation: Invocation) -> None:
    """List base models with origin, revision, licence and digest."""
    invocation.output.result({"models": plain(invocation.dojo().models())}, _render_list)


@click.command("add", cls=Command)
@click.argument("source", metavar="ID_OR_FOLDER")
@click.option("--name", default="", help="What runs call it (default: the last part of ID_OR_FOLDER, in small letters).")
@click.option("--revision", default="", metavar="COMMIT", help="Of a hub id: 40 hexadecimal digits (default: today's, pinned).")
@click.option("--license", "licence", default="", help="Of the weights (default: what the hub or README.md says).")
@pass_invocation
def add_model(invocation: Invocation, source: str, name: str, revision: str, licence: str) -> None:
    """Put a model into the cache, by hub id or from a folder; runs find it by its name.

    Only configuration, tokenizer and safetensors weights are taken. Pickled weights and models that need code of their author's
    are refused. A folder is copied, and its digest pins it.
    """
    output = invocation.output
    made = invocation.dojo().add_model(
        source, name=name, revision=revision, licence=licence, progress=lambda text: output.say(one_line(text))
    )
    output.result(plain(made), _render_one)


@click.command("verify", cls=Command)
@click.argument("name", required=False)
@pass_invocation
def verify_models(invocation: Invocation, name: str | None) -> int:
    """Check base models in the cache against their checksums; exit code 1 where they differ."""
    from harness.cli.doctor import report_checks

    return report_checks(invocation.output, invocation.dojo().verify_models(name), exit_code=1, code="verify_failed")


def _render_list(found: Any, output: Output) -> None:
    rows = [
        (
            model["name"],
            "added" if model["added"] else "dojo's own",
            one_line(model["state"]),
            f"{model['parameters'] / 1e6:,.0f} M" if model["parameters"] else "",
            one_line(model["licence"]),
            one_line(model["origin"]),
            model["revision"][:12],
            model["digest"][:12],
        )
        for model in found["models"]
    ]
    output.table(("name", "whose", "state", "weights>", "licence", "origin", "revision", "digest"), rows)


def _render_one(found: Any, output: Output) -> None:
    output.pairs(list(found.items()))
    output.line(f"a run takes it with --base-model {one_line(found['name'])}")
