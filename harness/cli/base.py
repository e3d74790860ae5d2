"""What every command shares: the common options, the invocation they fill, and groups whose commands load on demand."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness.cli.commands import HERE, OVER_SERVER
from harness.cli.output import Output

if TYPE_CHECKING:
    from harness.config import Config
    from harness.service import Dojo


class Invocation:
    """One call of ``dojo``: where it prints and how it reaches the façade.

    Attributes:
        command: the words of the command, as ``dojo tasks score``.
        output: the two streams.
        debug: show tracebacks.
        flags: settings given as flags.
    """

    def __init__(self, argv: Sequence[str] = ()) -> None:
        # Read by hand, because the envelope must also come when the arguments do not parse.
        given = list(argv[: argv.index("--")] if "--" in argv else argv)
        self.output = Output("dojo/error/v1", as_json="--json" in given)
        self.debug = "--debug" in given
        self.command = "dojo"
        self.flags: dict[str, Any] = {}
        self._dojo: Dojo | None = None

    def config(self, **flags: Any) -> Config:
        """Return the settings: flags over environment over ``dojo.toml``."""
        from harness.config import load

        return load({**self.flags, **flags})

    def places(self) -> dict[str, Path]:
        """Return the variables that name where this command writes, each with the folder, as far as they can be told."""
        import tempfile

        try:
            settings = self.config().settings
            found = {"DOJO_HOME": settings.home, "DOJO_CACHE": settings.cache}
        except Exception:  # asked for after an error, which may be this one
            found = {}
        try:
            return {**found, "TMPDIR": Path(tempfile.gettempdir())}
        except OSError:
            return found

    def dojo(self) -> Dojo:
        """Open the façade on the settings' home and cache."""
        if self._dojo is None:
            config = self.config()
            settings = config.settings
            if settings.server and self._asks_service("server" in self.flags):
                from harness.remote.dojo import RemoteDojo

                self._dojo = cast("Dojo", RemoteDojo(settings.server, agents=settings.agents))
                return self._dojo
            from harness.service import Dojo

            self._dojo = Dojo(
                home=settings.home,
                cache=settings.cache,
                tasks=settings.tasks,
                agents=settings.agents,
                database=settings.database,
                artefacts=settings.artefacts,
                sandbox=settings.sandbox,
                backbones={**settings.backbones, **config.broken},
            )
        return self._dojo

    def _asks_service(self, told: bool) -> bool:
        """Whether this command asks the service that is set; it may be about this machine.

        Raises:
            UsageError: neither: it is about results that lie at the service, or the flag was ``told`` to no use.
        """
        from harness.spec.errors import UsageError

        words = self.command.split()[1:]
        if " ".join(words) in OVER_SERVER:
            return True
        if told or "".join(words[:1]) not in HERE:
            raise UsageError(
                f"`{self.command}` does not go over a service (--server, DOJO_SERVER)",
                hint=f"these do: {', '.join(OVER_SERVER)}; for results of this machine unset DOJO_SERVER",
            )
        return False


pass_invocation = click.make_pass_decorator(Invocation)


class Command(click.Command):
    """A command with the options that every command has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell the output which command this is before anything can go wrong."""
        _name_schema(ctx)
        return super().parse_args(ctx, args)


class LazyGroup(click.Group):
    """A group that knows its commands' names and short helps and imports a command's module when it is called.

    Args:
        table: name → (``module:attribute``, short help).
        default: the command that runs where none is named.
    """

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], default: str = "", **kwargs: Any) -> None:
        kwargs |= {"no_args_is_help": False, "invoke_without_command": True}
        super().__init__(*args, **kwargs)
        self.table, self.default = table, default
        self.params.extend(_common_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or return None for an unknown name."""
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and short helps without importing any of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self.table.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell the output which group this is before anything can go wrong."""
        if ctx.parent is not None:
            _name_schema(ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named, or the default one, or print the help."""
        if ctx.args or getattr(ctx, "_protected_args", None):
            return super().invoke(ctx)
        command = self.get_command(ctx, self.default)
        if command is None:
            click.echo(ctx.get_help())
            return 0
        with command.make_context(self.default, [], parent=ctx) as inner:
            return command.invoke(inner)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is an error with "did you mean"."""
        name = str(args[0])
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing and not name.startswith("-"):
            raise UnknownCommand(name, list(self.table), ctx)
        if command is None:
            return super().resolve_command(ctx, args)
        return name, command, args[1:]


class UnknownCommand(click.UsageError):
    """A command name that the group does not have; ``hint`` says what may have been meant."""

    def __init__(self, name: str, known: list[str], ctx: click.Context) -> None:
        import difflib

        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        self.hint = f"did you mean {' or '.join(close)}?" if close else f"commands: {', '.join(known)}"
        super().__init__(f"no command {name!r} in `{ctx.command_path}`", ctx=ctx)


def _name_schema(ctx: click.Context) -> None:
    invocation = ctx.find_object(Invocation)
    if invocation is not None:
        words = ctx.command_path.split()[1:]
        invocation.command = " ".join(["dojo", *words])
        invocation.output.schema = f"dojo/{'-'.join(words)}/v1"


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    invocation = ctx.find_object(Invocation)
    if value is not None and invocation is not None and param.name:
        invocation.flags[param.name] = value


def _common_options() -> list[click.Parameter]:
    folder = click.Path(file_okay=False)
    return [
        click.Option(["--home"], type=folder, expose_value=False, callback=_remember, help="Where runs are kept (DOJO_HOME)."),
        click.Option(["--cache"], type=folder, expose_value=False, callback=_remember, help="Models and data (DOJO_CACHE)."),
        click.Option(["--server"], metavar="URL", expose_value=False, callback=_remember, help="Ask this service (DOJO_SERVER)."),
        click.Option(["--json"], is_flag=True, expose_value=False, help="Print one JSON document instead of text."),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show a traceback with an error."),
    ]
