"""Who is to blame when a backbone was down."""

import pytest

from harness.gateway.ledger import Ledger
from harness.session.agent_phase import blamed
from harness.spec.event import LlmCalled, LlmOutage, LlmReserved
from harness.spec.outcome import Cause, Outcome


@pytest.mark.parametrize(
    ("cause", "down_s", "charged_s", "blames"),
    [
        (Cause.COMPLETED, 0, 100, False),
        (Cause.COMPLETED, 10, 90, False),
        (Cause.COMPLETED, 11, 89, True),
        (Cause.AGENT_ERROR, 60, 60, True),
        (Cause.AGENT_BUDGET, 60, 60, True),
        (Cause.CANCELLED, 60, 60, False),
        (Cause.COMPLETED, 0, 0, False),
    ],
)
def test_the_provider_is_blamed_where_it_was_down_for_more_than_a_tenth_of_the_time(cause, down_s, charged_s, blames):
    outcome = blamed(Outcome(cause=cause, phase="agent", message="as it ended"), down_s, charged_s)
    assert outcome.cause is (Cause.MODEL_PROVIDER if blames else cause)
    assert "as it ended" in outcome.message
    assert outcome.counts is (outcome.cause in (Cause.COMPLETED, Cause.AGENT_ERROR, Cause.AGENT_BUDGET))


def test_outages_add_up():
    ledger = Ledger()
    for at, seconds in ((10.0, 5.0), (10.0, 10.0), (12.0, 1.0)):  # the budget clock stands still in an outage
        ledger = ledger.after(LlmOutage(at_s=at, seconds=seconds))
    assert ledger.stalled_s == pytest.approx(16.0)


def test_a_call_that_a_crash_left_open_stays_charged_at_its_reservation():
    ledger = Ledger().after(LlmReserved(call=1, tokens=100, output_tokens=40, dollars=0.5))
    ledger = ledger.after(LlmReserved(call=2, tokens=10))
    ledger = ledger.after(LlmCalled(call=2, tokens=7, charged_output=3, dollars=0.1, status=200))
    assert (ledger.spent_tokens, ledger.spent_output_tokens, ledger.requests, ledger.answered) == (107, 43, 2, 1)
    assert ledger.spent_dollars == pytest.approx(0.6) and ledger.last == 2
