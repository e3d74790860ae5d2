"""``docs/cli.md`` from the code: ``python -m harness.cli.reference`` writes it, ``--check`` says whether it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from harness.cli.base import Invocation, LazyGroup
from harness.cli.main import cli
from harness.project import bundled

PAGE = bundled("docs") / "cli.md"
_WIDTH = 100
_INTRO = """\
# Command line

Made from the code by `python -m harness.cli.reference`; a test keeps it true.

- Task ids are `domain/name`, agents are folder names with `_` or `-` alike. A run or batch id may be any unique prefix;
  `@last` is the newest.
- Settings come from flags, then the environment (`DOJO_*`), then `dojo.toml` (the nearest one from the working directory
  upwards, or what `DOJO_CONFIG` names), then defaults. `dojo config show` prints each value with its origin.
- Results go to standard output; progress, warnings and errors to standard error. Colours and drawn tables only on a terminal
  (`NO_COLOR` turns colours off). Text that came from agents is shown without control and escape sequences.
- `--json` on every command prints exactly one JSON document: `{"schema": "dojo/<command>/v1", "ok": true, "data": …}`, or
  `{"schema": …, "ok": false, "error": {"code", "message", "hint"}}`. A command inside a group is joined by `-`, as
  `dojo/tasks-score/v1`. Where there is a result although something went wrong (some runs failed, a check is not ok, Ctrl-C),
  `data` stands beside `error`. `status --watch` prints such a document a line; `logs` prints an event a line, or
  `{"stream", "text"}` with `--agent`.
- An error is two lines: what is wrong, and what to do. `--debug` adds the traceback.
- A standard error that is closed or on a full disk stops nothing: the work goes on without its display. A result that a closed or
  full standard output does not take is one line on standard error and, where the command went well, exit code 3.

| exit code | meaning |
|---|---|
| 0 | fine |
| 1 | a run or grade failed for a reason that is not the agent's |
| 2 | wrong usage or input |
| 3 | something needed is missing, or this machine does not let dojo write or read a place; the hint says what to do |
| 4 | some of a batch failed, some not |
| 130 | interrupted |

Ctrl-C once: no new run starts, what is running is left resumable, and the command to go on is printed. Twice: out at once;
nothing acknowledged is lost.
"""


def commands(group: LazyGroup, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the words and the help of ``group``'s commands, groups before what is in them."""
    context = _context(group, path.rpartition(" ")[2], parent)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command.get_help(_context(command, name, context))
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{path} {name}", context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command,
        parent,
        name,
        obj=Invocation(),
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        **command.context_settings,
    )


def page() -> str:
    """Return the whole page."""
    parts = [_INTRO]
    for words, text in commands(cli, "dojo"):
        level = "#" * len(words.split())
        parts.append(f"{level} {words}\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or with ``--check`` return 1 where it is not up to date."""
    check = "--check" in (sys.argv[1:] if argv is None else argv)
    if check:
        fine = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        print(f"{PAGE.name} is {'up to date' if fine else 'out of date; run python -m harness.cli.reference'}")
        return 0 if fine else 1
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
