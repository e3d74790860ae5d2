"""The account where the run's events have no more room."""

import pytest

from harness.gateway.account import Account, Spent, Wish
from harness.gateway.ledger import Ledger
from harness.spec.budget import Budget
from harness.spec.event import Payload


def test_no_call_goes_unrecorded_where_the_record_is_full() -> None:
    full, events = [False], list[Payload]()
    account = Account(Budget(wall=60), None, Ledger(), events.append, lambda: full[0])
    account.reserve(Wish(prompt=1, output=1))
    full[0] = True
    with pytest.raises(Spent, match="record is full") as refused:
        account.reserve(Wish(prompt=1, output=1))
    assert not refused.value.waiting and len(events) == 1 and account.ledger.last == 1
