import pytest

from harness.spec.outcome import Cause, Outcome


@pytest.mark.parametrize(
    ("cause", "retried", "graded", "counts"),
    [
        ("sandbox", True, False, False),
        ("scheduling", True, False, False),
        ("evicted", True, False, False),
        ("harness", True, False, False),
        ("model_provider", True, True, False),
        ("completed", False, True, True),
        ("agent_budget", False, True, True),
        ("agent_error", False, True, True),
        ("agent_integrity", False, True, True),
        ("grader", True, True, False),
        ("cancelled", False, False, False),
    ],
)
def test_every_cause_is_retried_graded_and_counted_as_the_table_says(cause, retried, graded, counts):
    outcome = Outcome(cause=Cause(cause), phase="agent")
    assert (outcome.retried, outcome.graded, outcome.counts) == (retried, graded, counts)


def test_the_table_covers_every_cause():
    assert len(Cause) == 11
