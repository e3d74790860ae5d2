"""A suite that would be ended skips what is long, with the reason, and nothing else."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.project import project_root

TESTS = """
import pytest
@pytest.fixture
def dear():
    assert False, "made for nothing"
@pytest.mark.slow
def test_long(dear): pass
@pytest.mark.e2e
class TestWhole:
    def test_run(self, dear): pass
def test_quick(): pass
"""


@pytest.mark.parametrize(
    ("until", "said"), [(-60, "1 passed, 2 skipped"), (600, "1 passed, 2 errors"), (None, "1 passed, 2 errors")]
)
def test_when_the_time_is_up_what_is_long_is_skipped_with_that_reason(tmp_path: Path, until: int | None, said: str) -> None:
    (tmp_path / "conftest.py").write_text((project_root() / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(TESTS)
    environ = {} if until is None else {"DOJO_TEST_UNTIL": str(int(time.time()) + until)}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-o", "markers=slow\ne2e", "-c", "/dev/null"]
    run = subprocess.run([*command, "--rootdir", str(tmp_path), str(tmp_path)], env=environ, capture_output=True, text=True)
    assert said in run.stdout, run.stdout
    assert ("this machine is slow" in run.stdout) == (until == -60)
