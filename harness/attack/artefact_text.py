"""Attacks with text that people will look at: names, messages, logs, reports (row 28)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.analysis.report import markdown_report
from harness.attack.base import Attack, Where, stopped
from harness.attack.ground import Ground

# clears the screen, retitles, links, colours, moves up, asks the terminal to answer, sets the clipboard, reorders text
ESCAPES = (
    "\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\x1b]8;;http://example.com\x07click\x1b]8;;\x07", "\x1b[31m", "\x1b[A\x1b[K", "\x1b[6n",
    "\x1b]52;c;cm0gLXJmIC8=\x07", "\x9b31m", "\x1bP$q\"p\x1b\\", "\u202egnp.exe", "\x07", "\x08\x08", "\r", "\u2066",
    "\x1b[?1049h", "\x1bc", "\U000e0041",
)  # fmt: skip
_HARMFUL = {chr(n) for n in range(32)} - {"\n", "\t"} | {chr(n) for n in range(0x7F, 0xA0)} | set("\u202e\u2066\U000e0041")
MARKUP = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [click](javascript:alert(1)) ![x](http://example.com/x.png) | cell |"
)
_ALIVE = re.compile(r"<script|<img|(?<!\\)\]\((?:javascript|http)")


def harmful(text: str) -> list[str]:
    """Return what in a text would do something to a terminal."""
    return sorted({repr(c) for c in text if c in _HARMFUL})


def alive(text: str) -> list[str]:
    """Return what of `MARKUP` a browser or a Markdown reader would take as markup."""
    return _ALIVE.findall(text)


def shown_by(command: Sequence[str], home: Path) -> str:
    """Return everything that ``dojo`` with these arguments prints, on both streams."""
    argv = [sys.executable, "-m", "harness.cli.main", *command]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "DOJO_HOME": str(home)}, timeout=300, check=False)
    return (done.stdout + done.stderr).decode(errors="surrogateescape")


def require_harmless(command: Sequence[str], home: Path) -> str:
    """Run ``dojo`` and stop where what it prints would do something to a terminal; return what it printed."""
    text = shown_by(command, home)
    stopped(not harmful(text), f"`dojo {command[0]}` printed {harmful(text)}")
    return text


def _escapes_in_names(ground: Ground) -> str:
    name = "x".join(ESCAPES)
    folder = ground.folder() / "agent"
    folder.mkdir()
    (folder / "agent.toml").write_text(
        f'name = "evil"\ncommand = ["true"]\ndescription = {json.dumps(name)}\n{json.dumps(name)} = 1\n'
    )
    printed = 0
    for command in (
        ["show", name],
        ["logs", name],
        ["agents", "check", str(folder)],
        ["submit", "--agent", name, "--task", name],
    ):
        printed += len(require_harmless(command, ground.folder()))
        printed += len(require_harmless([*command, "--json"], ground.folder()))
    return f"{len(ESCAPES)} sequences in names, files and arguments: none was among {printed} characters that were printed"


def _escapes_echoed(ground: Ground) -> str:
    program = "import sys; print(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, "x".join(ESCAPES)], capture_output=True, timeout=60, check=True)
    stopped(not harmful(done.stdout.decode()), f"a plain print shows {harmful(done.stdout.decode())}")
    return "nothing"


def _markup_in_reports(ground: Ground) -> str:
    page = markdown_report(f"batch {MARKUP}", [], unfinished=[f"r1 (agent {MARKUP}): waits"])
    stopped(not alive(page), f"alive in the report: {alive(page)}")
    return "tags, links and pictures are text in the report"


def _markup_pasted(ground: Ground) -> str:
    page = f"# batch {MARKUP}\n"
    stopped(not alive(page), f"pasted as it is, a page holds {alive(page)}")
    return "nothing"


ATTACKS = (
    Attack(
        28, "writes-escapes-into-names", Where.ARTEFACT,
        "clear the screen, retitle, link, set the clipboard, ask the terminal, reorder text through names, files and arguments",
        "everything printed goes through one filter, with and without --json",
        _escapes_in_names, _escapes_echoed,
    ),
    Attack(
        28, "writes-markup-into-reports", Where.ARTEFACT,
        "put scripts, pictures and links into names and messages that a report shows",
        "the report escapes them",
        _markup_in_reports, _markup_pasted,
    ),
)  # fmt: skip
