"""For every test: how long an example may take is no assertion, on machines where neighbours decide it; and an end in time."""

import os
import time

import pytest
from hypothesis import settings

settings.register_profile("dojo")
settings.load_profile("dojo")

UNTIL = "DOJO_TEST_UNTIL"
"""Seconds since 1970 from which on no further test of a model or whole run begins: a suite that is ended tells nothing."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything that the test needs is made."""
    if time.time() > float(os.environ.get(UNTIL) or "inf") and any(map(item.get_closest_marker, ("slow", "e2e"))):
        pytest.skip(f"this machine is slow, and the time that {UNTIL} gives was up: run it with `make test`")
