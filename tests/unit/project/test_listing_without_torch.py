"""Help and every listing work where the training libraries are not installed, and do not load them where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "lm_eval",
    "rdkit",
    "optuna",
    "gguf",
    "matplotlib",
    "sklearn",
)

# Refuses the heavy libraries as a machine without them would; prints what dojo printed, then which of them were asked for.
PROGRAM = """
import importlib.abc, sys
heavy, asked = set(sys.argv[1].split(",")), []

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
from harness.cli.main import main
try:
    code = main(sys.argv[2:])
except SystemExit as end:
    code = end.code
print("asked for:", *asked, file=sys.stderr)
sys.exit(code)
"""

COMMANDS = [
    ["--help"],
    ["version", "--json"],
    ["tasks", "list", "--json"],
    ["tasks", "show", "math/aime25", "--json"],
    ["agents", "list", "--json"],
    ["data", "list", "--json"],
    ["status", "--json"],
    ["leaderboard", "--json"],
    ["config", "show", "--json"],
    ["schema", "--json"],
    ["gc", "--dry-run", "--json"],
    ["completion", "bash"],
    ["submit", "--help"],
]


def run_without(heavy: tuple[str, ...], arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(heavy), *arguments],
        cwd=REPO,
        env={**os.environ, "DOJO_HOME": str(home / "results"), "DOJO_CACHE": str(home / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_it_works_without_the_training_libraries_and_asks_for_none(arguments: list[str], tmp_path: Path) -> None:
    result = run_without(HEAVY, arguments, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr.splitlines()[-1] == "asked for:"
    if "--json" in arguments:
        assert json.loads(result.stdout)["ok"] is True


def test_a_heavy_import_would_be_noticed(tmp_path: Path) -> None:
    result = run_without(("click",), ["--help"], tmp_path)
    assert result.returncode != 0
    assert "No module named 'click'" in result.stderr
