"""What counts as the time of a command."""

import math

import pytest

from harness.sandbox.client import _seconds
from harness.spec.errors import SandboxError


@pytest.mark.parametrize(
    ("given", "taken"),
    [(None, None), (math.inf, None), (-math.inf, 0.0), (-1, 0.0), (-0.0, 0.0), (0, 0.0), (1e-320, 1e-320), (5, 5)],
)
def test_no_time_is_over_at_once_and_infinite_time_never(given, taken):
    assert _seconds(given) == taken


def test_what_is_no_number_is_refused_by_name():
    with pytest.raises(SandboxError, match="timeout_s") as refused:
        _seconds(math.nan)
    assert refused.value.code == "bad_timeout" and "None" in refused.value.hint
