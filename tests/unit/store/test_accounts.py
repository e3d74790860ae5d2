"""Tokens, quotas and the audit log, in both databases."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.spec.accounts import Charge, Quota, Role, user_name
from harness.spec.errors import NotFoundError, QuotaExceeded, StoreError, UsageError
from harness.store.database import SqlStore


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SqlStore:
    url = request.getfixturevalue("postgres")() if request.param == "postgres" else None
    return SqlStore(tmp_path / "home", url)


def test_a_token_is_its_users_until_it_is_revoked_and_the_database_never_holds_its_secret(store: SqlStore):
    accounts = store.accounts
    made = accounts.create_token("ann", Role.VIEWER, "a note")
    secret = made.token.split("_", 2)[2]
    found = accounts.authenticate(made.token)
    assert found is not None and (found.user, found.role, found.id) == ("ann", Role.VIEWER, made.id)
    whole = made.token
    for wrong in ("", "dojo", whole[:-1], whole + "x", f"dojo_{'0' * 12}_{secret}", f"xojo_{made.id}_{secret}", "dojo_%_x"):
        assert accounts.authenticate(wrong) is None
    rows = store._ask(lambda c: [str(row) for row in c.execute(text("SELECT * FROM tokens"))])
    assert secret not in str(rows) and secret not in repr(made)
    accounts.revoke_token(made.id[:6])
    assert accounts.authenticate(made.token) is None
    with pytest.raises(NotFoundError):
        accounts.revoke_token("")


def test_of_many_who_ask_at_once_for_the_last_of_a_quota_one_gets_it(store: SqlStore):
    store.accounts.create_token("ann", Role.SUBMITTER)
    store.accounts.set_quota("ann", Quota(runs_in_total=1))
    got: list[str] = []
    start = threading.Barrier(4)

    def ask(number: int) -> None:
        start.wait()
        try:
            store.accounts.reserve("ann", [Charge(run=f"r{number}", gpu_hours=0, dollars=0)])
            got.append("taken")
        except QuotaExceeded as exc:
            got.append(exc.code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["quota_runs_in_total"] * 3 + ["taken"]


@pytest.mark.parametrize(
    ("quota", "charge", "code"),
    [
        ({"runs_at_once": 0}, (0, 0), "quota_runs_at_once"),
        ({"runs_in_total": 0}, (0, 0), "quota_runs_in_total"),
        ({"gpu_hours": 1}, (1.5, 0), "quota_gpu_hours"),
        ({"dollars": 1}, (0, 1.5), "quota_dollars"),
        ({"dollars": 1}, (0, None), "quota_dollars"),
    ],
)
def test_each_quota_is_named_where_it_refuses_and_nothing_is_set_aside(tmp_path: Path, quota: dict, charge: tuple, code: str):
    accounts = SqlStore(tmp_path).accounts
    accounts.set_quota("ann", Quota(**quota))
    with pytest.raises(QuotaExceeded) as caught:
        accounts.reserve("ann", [Charge(run="r", gpu_hours=charge[0], dollars=charge[1])])
    assert caught.value.code == code and caught.value.hint
    assert accounts.accounts()[0].spent.runs_in_total == 0


def test_nobody_changes_or_deletes_a_line_of_the_audit_log(store: SqlStore):
    store.accounts.record("ann", "t", "submit", "b1", "ok", "r1")
    for statement in ("DELETE FROM audit", "UPDATE audit SET \"user\" = 'bob'"):
        with pytest.raises(StoreError, match="append-only"):
            store._write(lambda connection, statement=statement: connection.execute(text(statement)))
    assert [(entry.user, entry.action, entry.request) for entry in store.accounts.audit()] == [("ann", "submit", "r1")]


def test_tokens_outlast_a_reindex(store: SqlStore):
    store.home.mkdir(exist_ok=True)
    made = store.accounts.create_token("ann", Role.VIEWER)
    store.reindex()
    assert store.accounts.authenticate(made.token) is not None


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a..b", "-a", "a b", "a" * 41, "ä"])
def test_a_name_that_could_be_more_than_a_folder_is_no_users(name: str):
    with pytest.raises(UsageError):
        user_name(name)
