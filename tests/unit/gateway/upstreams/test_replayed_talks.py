"""A recorded talk, played again."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.gateway.dialogue import Reply, Text, TokenUsage
from harness.gateway.recording import Exchange
from harness.gateway.upstreams.asking import ask, small_call, whole
from harness.gateway.upstreams.base import UpstreamFailed
from harness.gateway.upstreams.replay import ReplayUpstream, open_replay
from harness.spec.errors import MissingError


def exchange(request: str, answer: bytes, **more: Any) -> Exchange:
    facts: dict[str, Any] = {"format": "chat", "path": "/v1/chat/completions", "body": {}, "stream": False, "status": 200}
    return Exchange(call=1, request=request, time=datetime.now(UTC), elapsed_s=1, answer=answer, **(facts | more))


def said(open: ReplayUpstream, request: str) -> bytes:
    async def read() -> bytes:
        return await whole(await open.send(replace(small_call("chat", "m"), request=request)))

    return asyncio.run(read())


def test_a_request_gets_what_it_got_and_a_repeated_one_its_answers_in_turn() -> None:
    open = ReplayUpstream([exchange("a", b"1"), exchange("b", b"2"), exchange("a", b"3")], "r1")
    assert [said(open, request) for request in "abaab"] == [b"1", b"2", b"3", b"3", b"2"]


def test_a_request_that_was_never_made_fails_clearly() -> None:
    with pytest.raises(UpstreamFailed, match="run r1 never made this request") as caught:
        said(ReplayUpstream([exchange("a", b"1")], "r1"), "z")
    assert (caught.value.kind, caught.value.status) == ("refused", 404)


def test_what_was_an_error_is_one_and_is_not_tried_again() -> None:
    with pytest.raises(UpstreamFailed) as caught:
        said(ReplayUpstream([exchange("a", b"busy", status=429)], "r1"), "a")
    assert (caught.value.kind, caught.value.status, caught.value.body) == ("refused", 429, b"busy")


def test_another_format_gets_the_same_words_and_an_answer_that_was_cut_is_not_made_up() -> None:
    reply = Reply((Text("Rest."),), usage=TokenUsage(1, 1))
    open = ReplayUpstream([exchange("a", b"1", reply=reply), exchange("b", b"1", cut=True)], "r1")
    assert asyncio.run(ask(open, replace(small_call("messages", "m", stream=True), request="a"))).parts == (Text("Rest."),)
    with pytest.raises(UpstreamFailed, match="too long"):
        said(open, "b")


def test_a_run_without_a_talk_is_missing_one(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no recorded talk"):
        open_replay("r1", tmp_path)
