"""What becomes of an answer whose client leaves."""

import asyncio

import pytest

from harness.gateway.line import Line
from harness.gateway.redact import Redactor


@pytest.mark.parametrize(
    ("format", "last", "told"),
    [
        ("chat", b"data: [DONE]\n\n", (200, None)),
        ("chat", b"data: {}\n\n", (499, "hung_up")),
        ("messages", b"data: [DONE]\n\n", (499, "hung_up")),
    ],
)
def test_who_leaves_at_the_last_event_of_a_chat_stream_has_its_answer(format, last, told):
    async def send(_):
        pass

    line = Line(send, format, True, Redactor(()))
    asyncio.run(line.put(b"data: {}\n\n" + last))
    line.hung_up()
    assert (line.status, line.error) == told
    assert line.kept.bytes() == b"data: {}\n\n" + last
