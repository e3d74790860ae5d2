import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gateway.formats.sse import EventReader, json_bytes, written


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_events_are_cut_at_empty_lines_whichever_way_lines_end(newline):
    text = newline.join(["event: a", "data: 1", "data: 2", "", ": a comment", "", "data:3", "id: 7", "", ""])
    reader = EventReader()
    events = reader.feed(text.encode())
    assert [(event.name, event.data) for event in events] == [("a", "1\n2"), ("", ""), ("", "3")]


@given(st.lists(st.integers(1, 9), max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_cuts_change_nothing_and_no_byte_of_an_event_is_lost(cuts, newline):
    stream = newline.join(["data: ü1".encode(), b"", b": wait", b"", b"event: x", b"data: 2", b"", b""])
    reader, events, left = EventReader(), [], stream
    for cut in cuts:
        events += reader.feed(left[:cut])
        left = left[cut:]
    events += reader.feed(left)
    assert [(event.name, event.data) for event in events if event.data] == [("", "ü1"), ("x", "2")]
    end = reader.end()
    assert b"".join(event.raw for event in events) + (end.raw if end else b"") == stream


def test_an_event_without_its_last_empty_line_comes_at_the_end():
    reader = EventReader()
    assert reader.feed(b"data: [DONE]") == []
    assert reader.end().data == "[DONE]"
    assert EventReader().end() is None


def test_half_a_surrogate_pair_is_escaped():
    assert json_bytes({"text": "\ud83d"}) == b'{"text":"\\ud83d"}'
    assert written({"a": "ü"}, "x") == 'event: x\ndata: {"a":"ü"}\n\n'.encode()
