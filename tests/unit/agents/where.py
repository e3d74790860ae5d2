"""Where the agents lie."""

from pathlib import Path

AGENTS = Path(__file__).resolve().parents[3] / "agents"
