"""``dojo logs --llm``: an agent's talk with its backbone, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.cli.humanise import duration
from harness.cli.output import Output
from harness.cli.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from harness.export.llm_log import LlmLine, Said

# Characters of one message that people are shown; whole (as recorded) with --json.
_SHOWN = 2_000
_SIGNS = {"system": "‖", "user": ">", "tool": "=", "thinking": "~", "assistant": "<"}


def show_talk(lines: Iterator[LlmLine], output: Output) -> None:
    """Print calls as they come; with --json one object a line."""
    for line in lines:
        if output.as_json:
            output.document(line)
        else:
            _show(line, output)
        if output.closed:
            return


def _show(line: LlmLine, output: Output) -> None:
    clock = line.time.astimezone().strftime("%H:%M:%S")
    number = "refused" if line.call is None else f"call {line.call}"
    output.line(f"{clock} {duration(line.elapsed_s):>7}  {one_line(f'{number}  {_facts(line)}', 300)}")
    if not line.recorded and line.call is not None:
        output.line("    what was said was not recorded")
    for said in (*line.new, *line.answer):
        _say(said, output)


def _facts(line: LlmLine) -> str:
    model = line.served or line.asked
    facts = [line.talk if line.talk != "talk-1" else "", line.format, model]
    if line.error:
        facts.append(f"status {line.status}, {line.error}")
    if line.call is not None:
        facts.append(_tokens(line))
        facts.append(f"${line.dollars:.4f}" if line.dollars else "")
        first = f" (first {line.first_s:.1f} s)" if line.first_s is not None else ""
        facts.append(f"{line.latency_s:.1f} s{first}")
        facts.append(f"{line.tries} tries, waited {line.waited_s:.1f} s" if line.tries > 1 else "")
        facts.append(line.stop if line.stop not in (None, "end", "tools") else "")
    return " · ".join(fact for fact in facts if fact)


def _tokens(line: LlmLine) -> str:
    if line.input_tokens is None or line.output_tokens is None:
        return f"{line.tokens:,} tokens charged (not reported)"
    cached = f" ({line.cached_tokens:,} cached)" if line.cached_tokens else ""
    return f"{line.input_tokens:,}{cached} + {line.output_tokens:,} tokens"


def _say(said: Said, output: Output) -> None:
    sign = _SIGNS.get(said.role, said.role)
    tool = f"[{one_line(said.tool, 80)}] " if said.tool else ""
    text = sanitise(said.text)
    more = f" … {len(text) - _SHOWN:,} characters more (--json)" if len(text) > _SHOWN else ""
    for number, row in enumerate((text[:_SHOWN] + more).rstrip("\n").split("\n")):
        output.line(f"  {sign if number == 0 else ' '} {tool if number == 0 else ''}{row}".rstrip())
