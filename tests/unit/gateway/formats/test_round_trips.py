from dataclasses import replace

import pytest
from dialogues import HELLO, asks, replies
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gateway.dialogue import Failure, Malformed, Message, Reply, Text, TextPiece, Thinking, TokenUsage, ToolResult
from harness.gateway.formats import FORMATS
from harness.gateway.formats.pieces import gathered, pieces_of

EVERY = pytest.mark.parametrize("name", FORMATS)


def nameless(ask):
    """A tool's result names its tool in one format, and elsewhere only the call."""
    return replace(
        ask,
        dropped=(),
        messages=tuple(
            Message(each.role, tuple(replace(part, name="") if isinstance(part, ToolResult) else part for part in each.parts))
            for each in ask.messages
        ),
    )


def thoughtless(ask):
    return replace(
        ask,
        messages=tuple(
            Message(each.role, tuple(part for part in each.parts if not isinstance(part, Thinking))) for each in ask.messages
        ),
    )


def read_again(name, ask):
    body = FORMATS[name].render(ask)
    if name == "google":
        body |= {"model": ask.model, "stream": ask.stream}
    return FORMATS[name].parse(body)


@EVERY
@settings(max_examples=60)
@given(ask=asks())
def test_a_call_is_read_as_it_was_written(name, ask):
    expected = thoughtless(ask) if name == "chat" else ask  # chat completions take no thoughts back
    assert nameless(read_again(name, expected)) == nameless(expected)


@pytest.mark.parametrize("through", FORMATS)
@EVERY
@settings(max_examples=25)
@given(ask=asks(thinking=False))
def test_a_call_means_the_same_after_a_way_through_another_format(name, through, ask):
    assert nameless(read_again(name, read_again(through, ask))) == nameless(ask)


def sayable(name, reply: Reply) -> Reply:
    """What is left of an answer in a format: no seals in chat completions; no writes to the cache in Google's counts."""
    if name == "chat":
        reply = replace(reply, parts=tuple(Thinking(each.text) if isinstance(each, Thinking) else each for each in reply.parts))
    usage = reply.usage
    if name == "responses" and usage.known:
        usage = replace(usage, cache_write=0)
    return replace(reply, usage=usage)


@EVERY
@settings(max_examples=60)
@given(reply=replies())
def test_an_answer_is_read_as_it_was_written(name, reply):
    read = FORMATS[name].parse_reply(FORMATS[name].render_reply(reply, HELLO))
    assert read == sayable(name, reply)


@EVERY
@settings(max_examples=60)
@given(reply=replies(), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_a_stream_is_read_as_it_was_written_however_its_bytes_are_cut(name, reply, cuts):
    encoder, decoder = FORMATS[name].encoder(HELLO), FORMATS[name].decoder()
    stream = encoder.start() + encoder.keep_alive() + b"".join(map(encoder.feed, pieces_of(reply)))
    pieces = []
    for cut in cuts:
        pieces += decoder.feed(stream[:cut])
        stream = stream[cut:]
    pieces += [*decoder.feed(stream), *decoder.end()]
    assert replace(gathered(pieces), id="") == replace(sayable(name, reply), id="")


@EVERY
def test_an_error_within_a_stream_is_told_at_its_end_after_what_was_said(name):
    encoder, decoder = FORMATS[name].encoder(HELLO), FORMATS[name].decoder()
    stream = encoder.start() + encoder.feed(TextPiece("so far")) + encoder.failure(Failure(500, "upstream_broken", "it broke"))
    assert gathered(decoder.feed(stream)).parts == (Text("so far"),)
    with pytest.raises(Malformed, match="it broke"):
        decoder.end()


@EVERY
def test_a_stream_with_an_event_that_is_no_json_is_malformed(name):
    decoder = FORMATS[name].decoder()
    assert decoder.feed(b"data: {oops\n\n") == []
    with pytest.raises(Malformed, match="oops"):
        decoder.end()


@EVERY
def test_a_stream_that_says_nothing_ends_with_unknown_usage(name):
    (finish,) = FORMATS[name].decoder().end()
    assert finish.usage == TokenUsage()


@given(reply=replies())
def test_pieces_make_the_answer_they_were_cut_from(reply):
    assert gathered(pieces_of(reply)) == reply
