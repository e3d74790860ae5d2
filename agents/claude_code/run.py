"""Runs Claude Code, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import os
import sys

from headless import DAY_MS, HOUR_MS, installed, run_headless


def settings() -> dict[str, str]:
    """Return its variables: one model for every call it makes, nothing but model calls, and tools that may take hours."""
    tiers = (f"ANTHROPIC_DEFAULT_{tier}_MODEL" for tier in ("FABLE", "OPUS", "SONNET", "HAIKU"))
    roles = ("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")
    sizes = {
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": os.environ.get("DOJO_LLM_CONTEXT"),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": os.environ.get("DOJO_LLM_MAX_OUTPUT"),
    }
    return {
        **dict.fromkeys((*roles, *tiers), os.environ["LLM_MODEL"]),
        **{name: size for name, size in sizes.items() if size},
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_GROWTHBOOK": "1",
        # only what other providers understand, too; no line in the prompt that changes with every version
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "BASH_DEFAULT_TIMEOUT_MS": str(HOUR_MS),
        "BASH_MAX_TIMEOUT_MS": str(DAY_MS),
        "API_TIMEOUT_MS": str(HOUR_MS),
        # what it left running in the background is waited for, however long
        "CLAUDE_CODE_PRINT_BG_WAIT_CEILING_MS": str(DAY_MS),
    }


def main() -> int:
    """Run it to its end."""
    command = [installed("@anthropic-ai/claude-code-linux-*/claude"), "--print", "--verbose", "--output-format", "stream-json"]
    # the gateway has no web for it, and there is no network to fetch pages by
    command += ["--dangerously-skip-permissions", "--strict-mcp-config", "--disallowed-tools", "WebSearch", "WebFetch"]
    return run_headless("claude_code", command, settings())


if __name__ == "__main__":
    sys.exit(main())
