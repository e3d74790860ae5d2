"""Every store keeps the contract: SQLite, PostgreSQL, and a double that was written against the protocol alone."""

import pytest

from harness.store.contract import PROMISES, Promise, Stage
from harness.store.database import SqlStore
from tests.unit.store.double import MemoryStore, Shared


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_sqlite_keeps_its_promise(promise: Promise, tmp_path):
    promise.check(Stage(lambda owner, clock: SqlStore(tmp_path / "home", owner=owner, clock=clock)))


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_postgresql_keeps_its_promise(promise: Promise, tmp_path, postgres):
    url = postgres()
    promise.check(Stage(lambda owner, clock: SqlStore(tmp_path / "home", url, owner=owner, clock=clock)))


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_a_double_keeps_its_promise(promise: Promise, tmp_path):
    shared = Shared()
    promise.check(Stage(lambda owner, clock: MemoryStore(tmp_path, shared, owner, clock)))
