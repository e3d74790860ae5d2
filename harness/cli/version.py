"""``dojo version``: dojo and what results depend on."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import click

import harness
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.output import Output

_PACKAGES = (
    "click", "pydantic", "rich", "SQLAlchemy", "numpy", "scipy", "torch", "transformers", "peft", "trl", "datasets",
    "accelerate", "tokenizers", "safetensors", "lm-eval", "rdkit", "optuna",
)  # fmt: skip


@click.command("version", cls=Command)
@pass_invocation
def version(invocation: Invocation) -> None:
    """Print the versions of dojo, Python and the packages that agents train and graders score with.

    Read from the installed packages' metadata; nothing of them is imported.
    """
    invocation.output.result(
        {
            "dojo": harness.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": packages(),
        },
        _render,
    )


def packages() -> dict[str, str | None]:
    """Return name → installed version, None where the package is absent."""
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _render(data: Any, output: Output) -> None:
    output.pairs([(name, data[name]) for name in ("dojo", "python", "platform")])
    output.pairs([(name, value or "not installed") for name, value in data["packages"].items()], indent="  ")
