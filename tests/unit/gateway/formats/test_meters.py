"""Answers as providers stream them, watched on their way: what they used is known when it is told, and never guessed."""

import json

import pytest

from harness.gateway.dialogue import Text, Thinking, TokenUsage, ToolCall
from harness.gateway.formats import FORMATS


def events(*chunks, named=False, end="") -> bytes:
    """Write events as servers do."""
    lines = ((f"event: {chunk['type']}\n" if named else "") + f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return ("".join(lines) + end).encode()


def chunk(delta=None, reason=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-2026", "choices": choices} | more


def call(**fields):
    return {"tool_calls": [{"index": 0, **fields}]}


USAGE = {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59, "prompt_tokens_details": {"cached_tokens": 30}}
CHAT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}, usage=None),
    chunk(call(id="call_1", type="function", function={"name": "shell", "arguments": ""})),
    chunk(call(function={"arguments": '{"a":'})),
    chunk(call(function={"arguments": "1}"})),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
]
MESSAGES = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-2026",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 15, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 5, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def response(status, output=(), usage=None, **more):
    return {"id": "resp_1", "object": "response", "model": "m-2026", "status": status, "output": output, "usage": usage} | more


SPENT = {
    "input_tokens": 50,
    "input_tokens_details": {"cached_tokens": 30},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 59,
}
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "shell", "arguments": '{"a":1}'}
RESPONSES = [
    {"type": "response.created", "response": response("in_progress")},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "c2ln",
        },
    },
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "id": "msg_1", "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hi"},
    {"type": "response.output_item.added", "output_index": 2, "item": ITEM | {"arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a":1}'},
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": '{"a":1}'},
    {"type": "response.output_item.done", "output_index": 2, "item": ITEM},
    {"type": "response.completed", "response": response("completed", [ITEM], SPENT)},
]


def candidate(parts, **more):
    content = {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0} | more.pop("candidate", {})]}
    return content | {"modelVersion": "m-2026", "responseId": "r1"} | more


GOOGLE = [
    candidate(
        [{"text": "hm", "thought": True}], usageMetadata={"promptTokenCount": 50, "totalTokenCount": 54, "thoughtsTokenCount": 4}
    ),
    candidate(
        [{"text": "Hi"}],
        usageMetadata={"promptTokenCount": 50, "candidatesTokenCount": 1, "totalTokenCount": 55, "thoughtsTokenCount": 4},
    ),
    candidate(
        [{"functionCall": {"id": "call_1", "name": "shell", "args": {"a": 1}}, "thoughtSignature": "c2ln"}],
        candidate={"finishReason": "STOP"},
        usageMetadata={
            "promptTokenCount": 50,
            "candidatesTokenCount": 5,
            "totalTokenCount": 59,
            "thoughtsTokenCount": 4,
            "cachedContentTokenCount": 30,
        },
    ),
]
STREAMS = {
    "chat": events(*CHAT, end="data: [DONE]\n\n"),
    "messages": events(*MESSAGES, named=True),
    "responses": events(*RESPONSES, named=True),
    "google": events(*GOOGLE).replace(b"\n", b"\r\n"),
}
CALL = ToolCall("call_1", "shell", '{"a":1}')
EXPECTED = {
    "chat": ((Text("Hi"), CALL), TokenUsage(50, 9, 30), "chatcmpl-1"),
    "messages": (
        (Thinking("hm", "c2ln"), Text("Hi"), ToolCall("toolu_1", "shell", '{"a":1}')),
        TokenUsage(50, 9, 30, 5),
        "msg_1",
    ),
    "responses": ((Thinking("hm", "c2ln"), Text("Hi"), CALL), TokenUsage(50, 9, 30, None, 4), "resp_1"),
    "google": (
        (Thinking("hm"), Text("Hi"), ToolCall("call_1", "shell", '{"a":1}', "c2ln")),
        TokenUsage(50, 9, 30, None, 4),
        "r1",
    ),
}


def metered(name, data, streamed=True, step=11):
    meter = FORMATS[name].meter(streamed)
    for at in range(0, len(data), step):
        meter.feed(data[at : at + step])
    return meter.reply()


@pytest.mark.parametrize("step", [1, 11, 10**6])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_passes_by_is_known(name, step):
    reply = metered(name, STREAMS[name], step=step)
    parts, usage, identity = EXPECTED[name]
    assert (reply.parts, reply.usage, reply.id, reply.model, reply.stop) == (parts, usage, identity, "m-2026", "tools")


@pytest.mark.parametrize("name", STREAMS)
def test_wherever_a_stream_breaks_off_its_output_is_unknown_until_it_is_told(name):
    whole = EXPECTED[name][1].output
    for end in range(0, len(STREAMS[name]), 7):
        usage = metered(name, STREAMS[name][:end], step=10**6).usage
        assert usage.output in (None, whole), end
        assert usage.input in (None, 50), end


def test_a_count_on_the_way_is_not_the_count():
    running = [chunk({"content": "Hi"}, usage=USAGE | {"completion_tokens": at}) for at in (1, 2)]
    assert metered("chat", events(*running)).usage == TokenUsage(50, None, 30)
    ended = chunk({}, "stop", usage=USAGE)
    assert metered("chat", events(*running, ended)).usage == TokenUsage(50, 9, 30)


def test_a_server_that_knows_its_input_only_at_the_end_does_not_say_0():
    start = {"type": "message_start", "message": {"id": "1", "model": "m", "usage": {"input_tokens": 0, "output_tokens": 0}}}
    assert metered("messages", events(start)).usage.input is None
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 7, "output_tokens": 2}}
    assert metered("messages", events(start, end)).usage == TokenUsage(7, 2)


def test_later_counts_of_input_are_without_the_cached_ones_as_the_first_are():
    start = {
        "type": "message_start",
        "message": {"id": "1", "model": "m", "usage": {"input_tokens": 5, "cache_read_input_tokens": 30, "output_tokens": 1}},
    }
    for later in ({"input_tokens": 6}, {"input_tokens": 6, "cache_read_input_tokens": 30}, {"cache_read_input_tokens": 30}):
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": later | {"output_tokens": 2}}
        fresh = later.get("input_tokens", 5)
        assert metered("messages", events(start, end)).usage == TokenUsage(fresh + 30, 2, 30)


WHOLE = {
    "chat": {
        "id": "1",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    },
    "messages": {
        "id": "1",
        "type": "message",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
    },
    "responses": response(
        "completed", [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}]
    ),
    "google": candidate([{"text": "Hi"}], candidate={"finishReason": "STOP"}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_without_counts_has_unknown_usage(name):
    reply = metered(name, json.dumps(WHOLE[name]).encode(), streamed=False)
    assert (reply.parts, reply.stop, reply.usage) == ((Text("Hi"),), "end", TokenUsage())


@pytest.mark.parametrize("data", [b"", b'{"id": "1", "choi', b"<html>", b"[]", b'{"choices": 7}', b'"text"'])
@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_answer_that_is_none_says_nothing(name, data):
    assert metered(name, data, streamed=False).usage == TokenUsage()


def test_a_chunk_of_usage_that_only_the_gateway_asked_for_is_hidden():
    wire = FORMATS["chat"]
    assert wire.filter({"stream": True, "stream_options": {"include_usage": True}}) is None
    assert wire.filter({"stream": False}) is None
    assert all(FORMATS[name].filter({"stream": True}) is None for name in ("messages", "responses", "google"))
    stream = b": waiting\n\n" + STREAMS["chat"]
    hidden = events(CHAT[-1])
    for step in (1, 13, 10**6):
        seen = wire.filter({"stream": True})
        left = b"".join(seen.feed(stream[at : at + step]) for at in range(0, len(stream), step)) + seen.end()
        assert left == stream.replace(hidden, b"")


def test_a_stream_cut_within_an_event_is_passed_on_as_far_as_it_came():
    seen = FORMATS["chat"].filter({"stream": True})
    assert seen.feed(b"data: {}\n\ndata: {oo") + seen.end() == b"data: {}\n\ndata: {oo"


def test_parallel_calls_that_share_an_index_are_told_apart_by_identity():
    two = [chunk(call(id=f"call_{at}", function={"name": "shell", "arguments": "{}"})) for at in (1, 2)]
    assert metered("chat", events(*two, chunk({}, "stop"))).parts == (
        ToolCall("call_1", "shell", "{}"),
        ToolCall("call_2", "shell", "{}"),
    )


def test_only_the_first_of_several_choices_is_read():
    other = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}
    assert metered("chat", events(chunk({"content": "Hi"}), other)).parts == (Text("Hi"),)


def test_arguments_that_come_with_the_start_or_not_at_all():
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    }
    stop = {"type": "content_block_stop", "index": 0}
    assert metered("messages", events(start, stop)).parts == (ToolCall("t", "f", '{"a":1}'),)
    bare = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}
    assert metered("messages", events(bare, stop)).parts == (ToolCall("t", "f", "{}"),)


def test_a_response_that_comes_only_whole_is_read():
    done = response("incomplete", [ITEM], SPENT, incomplete_details={"reason": "max_output_tokens"})
    reply = metered("responses", events({"type": "response.incomplete", "response": done}))
    assert (reply.parts, reply.stop, reply.usage.output) == ((CALL,), "length", 9)


def test_a_refused_prompt_is_a_refusal():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}
    for reply in (metered("google", events(blocked)), metered("google", json.dumps(blocked).encode(), streamed=False)):
        assert (reply.stop, reply.usage) == ("refusal", TokenUsage(5, 0))
