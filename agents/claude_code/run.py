"""Runs Claude Code, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = next(Path("/opt/agent/node_modules/@anthropic-ai").glob("claude-code-linux-*/claude"))
LOG = Path("/workspace/agent-log")
HOUR_MS = 3_600_000


def settings() -> dict[str, str]:
    """Return its variables: one model for every call it makes, nothing but model calls, and tools that may take hours."""
    model = os.environ["LLM_MODEL"]
    roles = ("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")
    tiers = (f"ANTHROPIC_DEFAULT_{tier}_MODEL" for tier in ("FABLE", "OPUS", "SONNET", "HAIKU"))
    sizes = {
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": os.environ.get("DOJO_LLM_CONTEXT"),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": os.environ.get("DOJO_LLM_MAX_OUTPUT"),
    }
    return {
        **dict.fromkeys((*roles, *tiers), model),
        **{name: size for name, size in sizes.items() if size},
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_GROWTHBOOK": "1",
        "BASH_DEFAULT_TIMEOUT_MS": str(HOUR_MS),
        "BASH_MAX_TIMEOUT_MS": str(24 * HOUR_MS),
        "CLAUDE_CODE_PRINT_BG_WAIT_CEILING_MS": str(24 * HOUR_MS),
        "API_TIMEOUT_MS": str(HOUR_MS),
    }


def main() -> int:
    """Give it the task prompt, keep its own log, and end as it ends."""
    LOG.mkdir(parents=True, exist_ok=True)
    prompt = subprocess.run([sys.executable, "/agent/general/prompt.py"], stdout=subprocess.PIPE, check=True).stdout
    command = [str(PROGRAM), "--print", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
    command += ["--strict-mcp-config", "--disallowed-tools", "WebSearch", "WebFetch"]
    log = LOG / "claude_code.jsonl"
    with log.open("wb") as file:
        ended = subprocess.run(command, input=prompt, stdout=file, env={**os.environ, **settings()}, cwd="/workspace")
    last = [json.loads(line) for line in log.read_text(errors="replace").splitlines() if line.startswith('{"type":"result"')]
    print(last[-1].get("result") or last[-1].get("subtype") if last else f"it left no result; see {log}")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
