import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.spec.event import PAYLOADS, Entered, Event, EventKind, Noted, event_schema
from harness.spec.outcome import RunState

EXAMPLE = Path(__file__).parents[3] / "results" / "example" / "events.jsonl"


def test_every_kind_has_a_payload_of_its_own():
    assert set(PAYLOADS) == set(EventKind) and len(set(PAYLOADS.values())) == len(EventKind)


def _as_said_then(now, then):
    """Leave out what an earlier version did not say, however deep."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: _as_said_then(now.get(key), value) for key, value in then.items()}
    return now


def test_lines_of_an_earlier_version_parse_and_lose_nothing():
    for line in EXAMPLE.read_text().splitlines():
        raw, event = json.loads(line), Event.model_validate_json(line)
        again = json.loads(event.model_dump_json())
        assert type(event.data) is PAYLOADS[event.kind]
        assert _as_said_then(again["data"], raw["data"]) == raw["data"], event.kind


def test_what_a_later_version_adds_is_kept():
    line = json.dumps({"seq": 0, "kind": "note", "data": {"text": "hello", "mood": "fine"}})
    event = Event.model_validate_json(line)
    assert isinstance(event.data, Noted) and json.loads(event.model_dump_json())["data"]["mood"] == "fine"


def test_a_payload_names_its_kind():
    event = Event(seq=3, kind=EventKind.NOTE, data=Entered(state=RunState.RUNNING))
    assert event.kind is EventKind.STATE


@pytest.mark.parametrize(
    "line",
    ['{"seq": 0, "kind": "no_such", "data": {}}', '{"seq": 0, "kind": "submit", "data": {}}', '{"seq": 0}', '{"kind": "state"}'],
)
def test_a_line_that_is_no_event_is_refused(line):
    with pytest.raises(ValidationError):
        Event.model_validate_json(line)


def test_the_schema_tells_the_kinds_apart():
    schema = event_schema()
    assert schema["discriminator"]["propertyName"] == "kind" and set(schema["discriminator"]["mapping"]) == set(EventKind)
