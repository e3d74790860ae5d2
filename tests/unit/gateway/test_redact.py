"""Keys reach nobody, in whatever form an upstream echoes them."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from harness.gateway.redact import MARK, Redactor
from harness.spec.errors import DojoError
from harness.spec.event import LlmRefused
from tests.unit.gateway.conftest import KEY, Opening, chat_reply, chat_stream, failed

FORMS = {
    "as it is": KEY,
    "in JSON": json.dumps(KEY)[1:-1],
    "in an address": quote(KEY, safe=""),
    "in hexadecimal": KEY.encode().hex(),
    **{f"in base64 after {n}": base64.b64encode(b"x" * n + KEY.encode() + b"yy").decode() for n in range(4)},
    "in base64 for addresses": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "in basic authorisation": base64.b64encode(f"user:{KEY}".encode()).decode(),
}


def hidden(text: str) -> bool:
    """No eight characters of the key stand in a text, however it is written."""
    pieces = [text, text.replace("\\/", "/")]
    for form in (KEY, quote(KEY, safe=""), KEY.encode().hex()):
        if any(form[at : at + 12] in piece for piece in pieces for at in range(len(form) - 11)):
            return False
    inner = {base64.b64encode(b"x" * n + KEY.encode()).decode()[4:-8] for n in range(3)}
    return not any(form in text or form.replace("+", "-").replace("/", "_") in text for form in inner)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_key_is_replaced(form: str) -> None:
    clean = Redactor([KEY]).text(f"before {form} after")
    assert hidden(clean) and MARK.decode() in clean and clean.startswith("before ") and clean.endswith(" after")


@given(
    some.lists(some.sampled_from(["x", KEY[:5], KEY, KEY[5:], "sk-", FORMS["in base64 after 1"]]), max_size=8),
    some.integers(1, 9),
)
def test_a_key_in_pieces_is_replaced_and_nothing_else_is_lost(words: list[str], size: int) -> None:
    data = "".join(words).encode()
    stream = Redactor([KEY]).stream()
    out = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size)) + stream.end()
    assert KEY.encode() not in out
    assert out == Redactor([KEY]).clean(data)


def test_only_what_may_become_a_key_is_held_back() -> None:
    stream = Redactor([KEY]).stream()
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"data: " + KEY[:4].encode()) == b"data: "
    assert stream.feed(b"!") == KEY[:4].encode() + b"!"


def test_a_word_is_no_key() -> None:
    assert Redactor(["EMPTY"]).text("EMPTY") == "EMPTY"


def test_errors_and_events_are_clean() -> None:
    redactor = Redactor([KEY])
    assert KEY not in str(redactor.error(DojoError(f"a {KEY}", hint=KEY)))
    assert KEY not in redactor.payload(LlmRefused(message=f"it was {KEY}")).message


def echoes(form: str) -> list[Any]:
    whole = json.dumps(json.loads(chat_reply(f"the key is {form}")), ensure_ascii=False).encode()
    stream = b"".join(chat_stream((f"the key is {form}",)))
    return [
        lambda call: [stream[at : at + 7] for at in range(0, len(stream), 7)] if call.stream else whole,
        lambda call: failed("refused", 400, body=json.dumps({"error": {"message": f"no {form}"}}).encode()),
        lambda call: failed("broken", 500, body=f"<html>{form}".encode(), message=form),
        lambda call: failed("broken", message=form),
        lambda call: ValueError(form),
        lambda call: [chat_stream()[0], failed(message=form)],
    ]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_byte_of_a_key_gets_to_the_agent_the_events_the_record_or_the_errors(gateway: Opening, form: str) -> None:
    open = gateway(backbone={"attempts": 1})
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    seen = ""
    for answer in echoes(form):
        open.upstream.answer = answer
        for stream in (False, True):
            seen += open.post("/v1/chat/completions", body | {"stream": stream}).text
            seen += open.post("/v1/messages", body | {"stream": stream}).text
    open.server.close()
    seen += " ".join(event.model_dump_json() for event in open.book.events)
    seen += " ".join(f"{error.message} {error.hint}" for error in open.errors)
    seen += " ".join(path.read_text() for path in open.recording.rglob("*") if path.is_file())
    from harness.gateway.recording import Recording

    seen += " ".join(str(exchange) for exchange in Recording(open.recording).read())
    assert MARK.decode() in seen and hidden(seen)
