"""Listing and planning must not wait for heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import harness.assets


def test_importing_all_of_assets_loads_nothing_heavy() -> None:
    modules = [f"harness.assets.{path.stem}" for path in Path(harness.assets.__file__).parent.glob("[a-z]*.py")]
    heavy = ("torch", "transformers", "rdkit", "pandas", "huggingface_hub", "datasets", "numpy")
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint([name for name in {heavy!r} if name in sys.modules])"
    assert len(modules) > 10
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
