"""How the command line agents are run: one prompt in, their own log kept, nobody to ask."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULES = Path("/opt/agent/node_modules")
WORKSPACE = Path("/workspace")
LOG = WORKSPACE / "agent-log"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_LAST_WORDS = 2000


def installed(pattern: str) -> str:
    """Return the path of the program below ``node_modules`` that fits this machine's processor.

    The install holds the packages of one platform only, so one path fits.
    """
    found = sorted(MODULES.glob(pattern))
    if not found:
        sys.exit(f"{MODULES}/{pattern} is not there: this agent's lock has no package for this machine ({os.uname().machine})")
    return str(found[0])


def run_headless(name: str, command: Sequence[str], settings: Mapping[str, str]) -> int:
    """Give a program the task prompt on stdin and return its exit code.

    Args:
        name: what its log is called.
        command: the program; what it prints on stdout is its log.
        settings: variables it gets beside those of the run.
    """
    LOG.mkdir(exist_ok=True)
    # some programs run commands in login shells, which forget the path, and with it dojo-tool and the right python
    (WORKSPACE / ".profile").write_text(f"export PATH={shlex.quote(os.environ['PATH'])}\n", encoding="utf-8")
    prompt = subprocess.run([sys.executable, "/agent/general/prompt.py"], stdout=subprocess.PIPE, check=True).stdout
    log = LOG / f"{name}.jsonl"
    with log.open("wb") as file:
        ended = subprocess.run(command, input=prompt, stdout=file, env={**os.environ, **settings}, cwd=WORKSPACE)
    if ended.returncode:
        last = log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
        print(f"{name} ended with exit code {ended.returncode}; the end of {log}:\n{last}", file=sys.stderr)
    return ended.returncode
