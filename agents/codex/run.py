"""Runs Codex, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import sys

from headless import DAY_MS, HOUR_MS, LOG, WORKSPACE, installed, run_headless

# What needs a vendor's service beside the model, or a person.
OFF = ("apps", "plugins", "remote_plugin", "image_generation", "browser_use", "computer_use", "tool_suggest", "goals")


def settings() -> str:
    """Return its config.toml: the gateway, one model, nobody to ask, no sandbox of its own, nothing but model calls."""
    context = os.environ.get("DOJO_LLM_CONTEXT")
    return "\n".join(
        (
            f"model = {json.dumps(os.environ['LLM_MODEL'])}",
            f"model_context_window = {context}" if context else "",
            'model_provider = "dojo"',
            'approval_policy = "never"',
            'sandbox_mode = "danger-full-access"',
            'web_search = "disabled"',
            "check_for_update_on_startup = false",
            f"background_terminal_max_timeout = {DAY_MS}",
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
            "[agents]",
            "enabled = false",  # tools of a kind that only OpenAI's own service knows
            "[shell_environment_policy]",
            'inherit = "all"',
            "ignore_default_excludes = true",
            "[features]",
            *(f"{name} = false" for name in OFF),
            "",
        )
    )


def main() -> int:
    """Run it to its end."""
    home = WORKSPACE / ".codex"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(settings(), encoding="utf-8")
    command = [installed("@openai/codex-linux-*/vendor/*/bin/codex"), "exec", "--json", "--skip-git-repo-check"]
    command += ["--dangerously-bypass-approvals-and-sandbox", "--output-last-message", str(LOG / "last.md"), "-"]
    return run_headless("codex", command, {"CODEX_HOME": str(home)})


if __name__ == "__main__":
    sys.exit(main())
