"""Runs OpenCode, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = next(Path("/opt/agent/node_modules").glob("opencode-linux-*/bin/opencode"))
LOG = Path("/workspace/agent-log")
HOUR_MS = 3_600_000


def settings() -> dict[str, Any]:
    """Return its configuration: the gateway, one model for every call it makes, nobody to ask, nothing but model calls."""
    model = os.environ["LLM_MODEL"]
    limit = {
        "context": int(os.environ.get("DOJO_LLM_CONTEXT", 128_000)),
        "output": int(os.environ.get("DOJO_LLM_MAX_OUTPUT", 16_000)),
    }
    options = {"baseURL": os.environ["LLM_BASE_URL"], "apiKey": os.environ["LLM_API_KEY"], "timeout": False}
    return {
        "provider": {
            "dojo": {
                "npm": "@ai-sdk/openai-compatible",
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
        "snapshot": False,
        "lsp": False,
        "formatter": False,
    }


def main() -> int:
    """Give it the task prompt, keep its own log, and end as it ends."""
    LOG.mkdir(exist_ok=True)
    prompt = subprocess.run([sys.executable, "/agent/general/prompt.py"], stdout=subprocess.PIPE, check=True).stdout
    environment = {
        **os.environ,
        "OPENCODE_CONFIG_CONTENT": json.dumps(settings()),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS": str(HOUR_MS),
    }
    command = [str(PROGRAM), "run", "--format", "json", "--auto", "--title", "dojo"]
    with (LOG / "opencode.jsonl").open("wb") as file:
        ended = subprocess.run(command, input=prompt, stdout=file, env=environment, cwd="/workspace")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
