"""Listing and planning must not wait for heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import harness


def test_importing_all_of_assets_and_taskkit_loads_nothing_heavy() -> None:
    root = Path(harness.__file__).parent
    files = [path.relative_to(root.parent) for part in ("assets", "taskkit") for path in (root / part).rglob("[a-z]*.py")]
    modules = [".".join(file.with_suffix("").parts) for file in files]
    heavy = ("torch", "transformers", "rdkit", "pandas", "huggingface_hub", "datasets", "numpy")
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint([name for name in {heavy!r} if name in sys.modules])"
    assert len(modules) > 10
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_command_that_looks_loads_nothing_of_clusters_servers_or_gpus() -> None:
    kinds = ("harness.cluster", "harness.executor.kubernetes", "harness.executor.slurm", "harness.sandbox.kubernetes")
    kinds += ("harness.sandbox.nvidia", "harness.web", "kubernetes", "fastapi", "docker")
    code = "import sys, harness.service, harness.cli.status, harness.cli.rows\n"
    code += f"print(sorted(name for name in sys.modules if name.startswith({kinds!r})))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
