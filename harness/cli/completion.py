"""``dojo completion``: the script that teaches a shell dojo's commands, options and names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.spec.errors import UsageError

if TYPE_CHECKING:
    from harness.cli.output import Output

SHELLS = ("bash", "zsh", "fish")
_INSTALL = {
    "bash": 'eval "$(dojo completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(dojo completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "dojo completion fish > ~/.config/fish/completions/dojo.fish",
}


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@pass_invocation
def completion(invocation: Invocation, shell: str | None) -> None:
    r"""Print the completion script for a shell (default: the one in $SHELL).

    \b
    bash: eval "$(dojo completion bash)"   in ~/.bashrc
    zsh:  eval "$(dojo completion zsh)"    in ~/.zshrc, after compinit
    fish: dojo completion fish > ~/.config/fish/completions/dojo.fish
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    if name not in SHELLS:
        raise UsageError(f"no completion for the shell {name!r}", hint=f"name one: dojo completion {'|'.join(SHELLS)}")
    script = source(name)
    invocation.output.result(
        {"shell": name, "script": script, "install": _INSTALL[name]}, lambda data, output: _show(data, output)
    )


def _show(data: dict[str, str], output: Output) -> None:
    output.write(data["script"] + "\n")


def source(shell: str) -> str:
    """Return the script; it asks ``dojo`` itself for what fits, so it never goes stale."""
    from click.shell_completion import get_completion_class

    from harness.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    # The base class's own text: bash's class would run a bash to check its version first.
    made = found(cli, {}, "dojo", "_DOJO_COMPLETE")
    return made.source_template % made.source_vars()
