"""Makes the kit importable as it is where it runs."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / "scripts/gpu", ROOT / "agents"):
    if str(place) not in sys.path:
        sys.path.append(str(place))


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A folder as it is packed."""
    folder = tmp_path / "content"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "one-1.0-py3-none-any.whl").write_bytes(bytes(range(256)) * 40)
    (folder / "empty").write_bytes(b"")
    return folder
