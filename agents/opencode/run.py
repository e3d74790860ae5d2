"""Runs OpenCode, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from headless import DAY_MS, HOUR_MS, WORKSPACE, installed, run_headless

# Where nobody said how much the model takes, it must assume something: it compacts its history by it.
ASSUMED = {"context": 128_000, "output": 16_000}


def settings() -> dict[str, Any]:
    """Return its configuration: the gateway, one model for every call it makes, nobody to ask, nothing but model calls."""
    model = os.environ["LLM_MODEL"]
    limit = {
        "context": int(os.environ.get("DOJO_LLM_CONTEXT", ASSUMED["context"])),
        "output": int(os.environ.get("DOJO_LLM_MAX_OUTPUT", ASSUMED["output"])),
    }
    options = {"baseURL": os.environ["LLM_BASE_URL"], "apiKey": os.environ["LLM_API_KEY"], "timeout": DAY_MS}
    return {
        "provider": {
            "dojo": {
                "npm": "@ai-sdk/openai-compatible",  # part of the program: nothing is downloaded
                "name": "dojo",
                "options": options,
                "models": {model: {"name": model, "tool_call": True, "limit": limit}},
            }
        },
        "enabled_providers": ["dojo"],
        "model": f"dojo/{model}",
        "small_model": f"dojo/{model}",
        "permission": {"*": "allow", "webfetch": "deny", "websearch": "deny"},
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,  # it would keep every version of the workspace, models included
        "lsp": False,
        "formatter": False,
    }


def keep_from_fetching() -> None:
    """Let it find what it else fetches from npm at every start: the library that plugins are written with; there are none."""
    folder = WORKSPACE / ".config/opencode"
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    needs = {"dependencies": {"@opencode-ai/plugin": "*"}}
    (folder / "package.json").write_text(json.dumps(needs), encoding="utf-8")
    (folder / "package-lock.json").write_text(json.dumps({"packages": {"": needs}}), encoding="utf-8")


def main() -> int:
    """Run it to its end."""
    keep_from_fetching()
    variables = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(settings()),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS": str(HOUR_MS),
    }
    command = [installed("opencode-linux-*/bin/opencode"), "run", "--format", "json", "--auto", "--pure", "--title", "dojo"]
    return run_headless("opencode", command, variables)


if __name__ == "__main__":
    sys.exit(main())
