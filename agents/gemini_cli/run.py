"""Runs Gemini CLI, unmodified and headless, with the gateway as its only provider."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from headless import DAY_MS, WORKSPACE, installed, run_headless


def settings() -> dict[str, Any]:
    """Return its settings.json: one model for every call it makes, nothing but model calls, commands silent for hours."""
    model = os.environ["LLM_MODEL"]
    return {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "ui": {"showHomeDirectoryWarning": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "model": {"name": model},
        # it takes some names for other models, and its summaries, checks and corrections to small models of its choice
        "experimental": {"dynamicModelConfiguration": True},
        "modelConfigs": {
            "modelIdResolutions": {model: {"default": model, "contexts": []}},
            "customOverrides": [
                {"match": {"overrideScope": "core"}, "modelConfig": {"model": model}},
                {"match": {"model": "base"}, "modelConfig": {"model": model}},
            ],
        },
        # the gateway has no web for it, and there is no network to fetch pages by
        "tools": {"exclude": ["google_web_search", "web_fetch"], "shell": {"inactivityTimeout": DAY_MS // 1000}},
    }


def main() -> int:
    """Run it to its end."""
    home = WORKSPACE / ".gemini"
    home.mkdir(exist_ok=True)
    (home / "settings.json").write_text(json.dumps(settings(), indent=2), encoding="utf-8")
    command = [installed("node-linux-*/bin/node"), installed("@google/gemini-cli/bundle/gemini.js"), "--yolo", "--skip-trust"]
    command += ["--model", os.environ["LLM_MODEL"], "--output-format", "stream-json"]
    return run_headless("gemini_cli", command, {"TERM": "xterm-256color"})


if __name__ == "__main__":
    sys.exit(main())
