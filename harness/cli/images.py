"""``dojo images``: the images that container backends make sandboxes of."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import IMAGES
from harness.cli.output import Output
from harness.cli.sanitise import one_line


@click.group(cls=LazyGroup, table=IMAGES, default="list")
def images() -> None:
    """Images for the Docker backend: what agents train in and graders score in."""


@click.command("list", cls=Command)
@pass_invocation
def list_images(invocation: Invocation) -> None:
    """List images, whether they are built, and whether they are up to date."""
    invocation.output.result({"images": invocation.dojo().images()}, _render_list)


@click.command("build", cls=Command)
@click.argument("names", nargs=-1)
@click.option("--variant", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="For which machine.")
@click.option("--offline", "way", flag_value="offline", help="From Debian's packages and wheels; needs no image registry.")
@click.option("--from-registry", "way", flag_value="registry", help="On a registry's Python image, with pip inside the build.")
@pass_invocation
def build_images(invocation: Invocation, names: tuple[str, ...], variant: str, way: str | None) -> None:
    """Build images that are not up to date, with what they stand on (default: task and grader).

    Without --offline or --from-registry the registry is tried first.
    """
    output = invocation.output
    built = invocation.dojo().build_images(names, variant, way, lambda text: output.say(one_line(text)))
    output.result({"images": built}, _render_list)


@click.command("verify", cls=Command)
@click.argument("names", nargs=-1)
@click.option("--variant", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="For which machine.")
@pass_invocation
def verify_images(invocation: Invocation, names: tuple[str, ...], variant: str) -> int:
    """Check images against the lock file and try what they hold; exit code 1 where something is wrong."""
    from harness.cli.doctor import report_checks

    return report_checks(invocation.output, invocation.dojo().verify_images(names, variant), exit_code=1, code="verify_failed")


def _render_list(found: Any, output: Output) -> None:
    rows = [
        (
            row["image"],
            row["holds"],
            "no" if not row["built"] else "yes" if row["up_to_date"] else "older inputs",
            f"{row['size_mb']} MB" if row["built"] else "",
            row["digest"][7:19],
        )
        for row in found["images"]
    ]
    output.table(("image", "holds", "built", "size", "digest"), rows)
