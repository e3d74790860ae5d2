"""What an agent causes goes into the events up to a cap, and repeated errors as a count."""

from pathlib import Path

import pytest

from harness.session.journal import Journal
from harness.session.told import Told
from harness.spec.errors import SandboxError
from harness.spec.event import EventKind, FileMoved
from harness.store.run_dir import RunDir


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(RunDir(tmp_path), lambda state: None)


def errors(journal: Journal) -> list[str]:
    return [event.data.model_dump()["message"] for event in journal.run.events() if event.kind is EventKind.ERROR]


def test_an_error_is_told_when_it_is_new_and_each_time_it_has_come_twice_as_often(journal: Journal) -> None:
    told = Told(journal)
    for number in range(1000):
        told.fault("agent API", SandboxError(f"the {number}th disk is full", code="file"))
    assert [message.partition("such errors so far: ")[2].rstrip(")") for message in errors(journal)] == [
        "", "2", "4", "8", "16", "32", "64", "128", "256", "512",
    ]  # fmt: skip
    told.fault("LLM gateway", SandboxError("another", code="file"))
    assert errors(journal)[-1] == "another"
    assert len(journal.record.failures) == 11


def test_kinds_of_errors_have_a_number_and_texts_a_length(journal: Journal) -> None:
    told = Told(journal)
    for number in range(5000):
        told.fault("agent API", SandboxError("x" * 100_000, hint="y" * 100_000, code=f"made-up-{number}" + "z" * 100_000))
    assert len(errors(journal)) < 70
    assert journal.run.events_path.stat().st_size < 300_000


def test_what_need_not_be_recorded_is_not_beyond_the_cap_and_that_is_said_once(journal: Journal) -> None:
    told = Told(journal, most=2_000)
    call = FileMoved(op="read", path="/workspace/x", bytes=1)
    taken = sum(told.tell(call) for _ in range(100))
    assert 5 < taken < 30
    assert len([message for message in errors(journal) if "not recorded any more" in message]) == 1
    assert told.full() and not told.full_of_calls()


def test_calls_that_must_be_recorded_have_room_of_their_own(journal: Journal) -> None:
    told = Told(journal, most=1_000)
    while not told.full_of_calls():
        journal.emit(FileMoved(op="read", path="/workspace/x", bytes=1))
    assert 2_000 < journal.run.events_path.stat().st_size < 3_000
