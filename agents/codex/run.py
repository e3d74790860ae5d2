"""Runs Codex, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = next(Path("/opt/agent/node_modules/@openai").glob("codex-linux-*/vendor/*/bin/codex"))
HOME = Path("/workspace/.codex")
LOG = Path("/workspace/agent-log")
HOUR_MS = 3_600_000
# What asks a vendor's service for more than model calls.
OFF = ("apps", "plugins", "remote_plugin", "image_generation", "browser_use", "computer_use", "tool_suggest", "multi_agent", "goals")


def settings() -> str:
    """Return its config.toml: the gateway, one model, nobody to ask, no sandbox of its own, nothing but model calls."""
    sizes = {"model_context_window": os.environ.get("DOJO_LLM_CONTEXT")}
    return "\n".join(
        (
            f"model = {json.dumps(os.environ['LLM_MODEL'])}",
            'model_provider = "dojo"',
            *(f"{name} = {size}" for name, size in sizes.items() if size),
            'approval_policy = "never"',
            'sandbox_mode = "danger-full-access"',
            'web_search = "disabled"',
            "check_for_update_on_startup = false",
            f"background_terminal_max_timeout = {24 * HOUR_MS}",
            "[model_providers.dojo]",
            'name = "dojo"',
            f"base_url = {json.dumps(os.environ['OPENAI_BASE_URL'])}",
            'env_key = "OPENAI_API_KEY"',
            'wire_api = "responses"',
            "supports_websockets = false",
            f"stream_idle_timeout_ms = {HOUR_MS}",
            "[analytics]",
            "enabled = false",
            "[feedback]",
            "enabled = false",
            "[shell_environment_policy]",
            'inherit = "all"',
            "ignore_default_excludes = true",
            "[features]",
            *(f"{name} = false" for name in OFF),
            "",
        )
    )


def main() -> int:
    """Give it the task prompt, keep its own log, and end as it ends."""
    HOME.mkdir(exist_ok=True)
    LOG.mkdir(exist_ok=True)
    (HOME / "config.toml").write_text(settings())
    prompt = subprocess.run([sys.executable, "/agent/general/prompt.py"], stdout=subprocess.PIPE, check=True).stdout
    command = [str(PROGRAM), "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    command += ["--output-last-message", str(LOG / "last.md"), "-"]
    with (LOG / "codex.jsonl").open("wb") as file:
        ended = subprocess.run(command, input=prompt, stdout=file, cwd="/workspace")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
