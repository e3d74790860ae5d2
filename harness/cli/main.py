"""``dojo``: parse, call the façade, print; every way out has an exit code and, with ``--json``, an envelope.

Exit codes: 0 fine · 1 failed for a reason that is not the agent's · 2 wrong usage or input · 3 something needed is missing, or a
place cannot be written or read here · 4 some of a batch failed, some not · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

import harness
from harness.cli.base import Invocation, LazyGroup
from harness.cli.commands import ROOT
from harness.cli.inherited import settle
from harness.cli.output import Output
from harness.cli.streams import Watched, usable

# Standard output, which the result was to go to, is missing or full.
_UNSHOWN = 3


@click.group(cls=LazyGroup, table=ROOT, name="dojo", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(harness.__version__, prog_name="dojo", message="%(prog)s %(version)s")
def cli() -> None:
    """Run agents that fine-tune language models, grade what they hand in, and say which one is better.

    A run is one agent on one task with one seed. Run and batch ids may be given as any unique prefix; @last is the newest.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``dojo`` with ``argv`` (default: the process's) and return the exit code."""
    if argv is None:
        settle()
    argv = list(sys.argv[1:] if argv is None else argv)
    invocation = Invocation(argv)
    with usable() as stdout:
        code = _carry_out(argv, invocation, stdout)
        return _say_what_was_lost(code, invocation.output)


def _carry_out(argv: list[str], invocation: Invocation, stdout: Watched) -> int:
    try:
        code = cli.main(args=argv, prog_name="dojo", obj=invocation, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as exc:  # click's own ways out: completion has answered, or the reader of a help went away (| head)
        return 0 if sys.stdout is not stdout else int(exc.code or 0)
    except (KeyboardInterrupt, click.Abort):
        invocation.output.error("interrupted", "interrupted", "`dojo status` shows what is there; `dojo resume` goes on")
        return 130
    except click.ClickException as exc:
        return _usage_error(exc, invocation)
    except Exception as exc:
        if isinstance(exc, OSError) and stdout.raised(exc):  # of what click prints itself: a help, a version
            invocation.output.give_up(exc)
            return 0
        return _error(exc, invocation)


def _say_what_was_lost(code: int, output: Output) -> int:
    """Return the exit code: not 0 where there is a result that standard output did not take."""
    if output.lost is None:
        return code
    why = output.lost.strerror or str(output.lost)
    output.say(f"error: standard output takes nothing ({why}): what was done is done and kept, what it says is lost; ask again")
    return code or _UNSHOWN


def _usage_error(exc: click.ClickException, invocation: Invocation) -> int:
    """Show an error of click's: unknown option, bad value, missing argument."""
    _traceback(invocation)
    hint = getattr(exc, "hint", "")
    possible = getattr(exc, "possibilities", None)
    if possible:
        hint = f"did you mean {' or '.join(sorted(possible))}?"
    if not hint and (close := _close_choices(exc)):
        hint = f"did you mean {' or '.join(close)}?"
    if not hint:
        hint = f"`{invocation.command} --help` shows the usage"
    # format_message repeats the possibilities; what is wrong is the plain message plus the parameter's name
    message = exc.message if possible else exc.format_message()
    invocation.output.error("usage", message.rstrip("."), hint)
    return 2


def _close_choices(exc: click.ClickException) -> list[str]:
    """Return the choices that a value may have meant, which click's message quotes first."""
    import difflib

    param = getattr(exc, "param", None)
    if not isinstance(exc, click.BadParameter) or param is None or not isinstance(param.type, click.Choice):
        return []
    given = exc.message.partition("'")[2].partition("'")[0]
    return difflib.get_close_matches(given, [str(choice) for choice in param.type.choices], n=3, cutoff=0.5)


def _error(exc: Exception, invocation: Invocation) -> int:
    """Show a `DojoError` as it says, and anything else as what it is: a fault of ours."""
    from harness.spec.environment import environment_error, exit_code
    from harness.spec.errors import DojoError

    _traceback(invocation)
    if not isinstance(exc, DojoError):
        exc = environment_error(exc, invocation.places()) or exc
    if isinstance(exc, DojoError):
        invocation.output.error(exc.code, exc.message, exc.hint or "run again with --debug for the details")
        return exit_code(exc)
    if isinstance(exc, ModuleNotFoundError) and exc.name and not exc.name.startswith("harness"):
        from harness.extras import missing

        found = missing(exc.name)
        invocation.output.error(found.code, found.message, found.hint)
        return found.exit_code
    message = f"dojo itself failed: {type(exc).__name__}: {exc}"
    invocation.output.error("internal", message, "run again with --debug and report the traceback")
    return 1


def _traceback(invocation: Invocation) -> None:
    if invocation.debug:
        import traceback

        invocation.output.say(traceback.format_exc().rstrip())


if __name__ == "__main__":
    sys.exit(main())
