"""Runs Gemini CLI, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODULES = Path("/opt/agent/node_modules")
NODE = next(MODULES.glob("node-linux-*/bin/node"))
PROGRAM = MODULES / "@google/gemini-cli/bundle/gemini.js"
HOME = Path("/workspace/.gemini")
LOG = Path("/workspace/agent-log")


def settings() -> dict[str, Any]:
    """Return its settings.json: the gateway's key, nothing but model calls, commands that may be silent for hours."""
    return {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "model": {"name": os.environ["LLM_MODEL"]},
        "tools": {"exclude": ["google_web_search", "web_fetch"], "shell": {"inactivityTimeout": 86400}},
    }


def main() -> int:
    """Give it the task prompt, keep its own log, and end as it ends."""
    HOME.mkdir(exist_ok=True)
    LOG.mkdir(exist_ok=True)
    (HOME / "settings.json").write_text(json.dumps(settings(), indent=2))
    prompt = subprocess.run([sys.executable, "/agent/general/prompt.py"], stdout=subprocess.PIPE, check=True).stdout
    command = [
        str(NODE),
        str(PROGRAM),
        "--model",
        os.environ["LLM_MODEL"],
        "--yolo",
        "--skip-trust",
        "--output-format",
        "stream-json",
    ]
    with (LOG / "gemini_cli.jsonl").open("wb") as file:
        ended = subprocess.run(command, input=prompt, stdout=file, cwd="/workspace")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
