"""Bodies of hostile clients."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from harness.serving import body as bodies
from harness.serving.body import BadBody, decode, read_body


def request(parts, **headers):
    async def stream():
        for part in parts:
            if part is None:
                await asyncio.Event().wait()
            yield part

    return SimpleNamespace(headers=headers, stream=stream)


def read(parts, cap=100, **headers):
    return asyncio.run(read_body(request(parts, **{k.replace("_", "-"): v for k, v in headers.items()}), cap))


def test_a_body_is_read_whole_in_chunks_or_by_its_length():
    assert read([b"ab", b"c"]) == b"abc"
    assert read([b"ab", b"c"], content_length="3") == b"abc"


@pytest.mark.parametrize(
    ("parts", "length", "status"),
    [
        ([b"x" * 60, b"x" * 60], None, 413),
        ([], "101", 413),
        ([b"abc"], "4", 400),
        ([b"abc"], "-3", 400),
        ([b"abc"], "3, 3", 400),
        ([b"abc"], "0x3", 400),
        ([b"abc"], "٣", 400),
    ],
)
def test_a_body_that_is_too_large_or_not_as_long_as_it_says_is_refused(parts, length, status):
    with pytest.raises(BadBody) as refused:
        read(parts, **({"content_length": length} if length else {}))
    assert refused.value.status == status


def test_a_body_that_stands_still_is_given_up(monkeypatch):
    monkeypatch.setattr(bodies, "_STALLED_S", 0.01)
    with pytest.raises(BadBody) as refused:
        read([b"abc", None])
    assert refused.value.status == 408


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a": "\xff\xfe"}', {"a": "��"}),
        (b'{"a": "\\ud800", "\\udfff": 1}', {"a": "�", "�": 1}),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
        (b'{"a": "[[[[{{{{,,,,"}', {"a": "[[[[{{{{,,,,"}),
        (b'"\\""', '"'),
        (b"null", None),
    ],
)
def test_text_that_is_no_text_is_made_so(data, found):
    assert decode(data) == found
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[[[[",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[" * 900 + b"]" * 900,
        b"{'a': 1}",
        b"[1] [2]",
        b"\x00",
        b"\xff",
    ],
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(BadBody) as refused:
        decode(data)
    assert refused.value.status == 400


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,", b'"",'])
def test_a_small_text_of_many_values_is_refused_before_anything_is_built(piece):
    with pytest.raises(BadBody) as refused:
        decode(b"[" + piece * 300_000 + b"1]")
    assert refused.value.status == 413


@pytest.mark.parametrize("data", [b'{"a": ' + b"1" * 5000 + b"}", b"[1e400]"])
def test_numbers_beyond_all_measure_break_nothing(data):
    try:
        decode(data)
    except BadBody as refused:
        assert refused.status == 400


def test_a_large_text_that_is_not_ascii_says_the_same_as_a_small_one() -> None:
    found = {"a": "ä😀\u2028" + "x" * 300_000, "b": ["\\u00e4", '"', "\n"]}
    data = json.dumps(found, ensure_ascii=False).encode()
    assert bodies.decode(data) == found
    assert bodies.decode(data.replace(b"xxx", b"\xff", 1))["a"].startswith("ä😀\u2028�x")


def test_values_and_wide_texts_are_measured_before_anything_is_built() -> None:
    measured = bodies.measure('{"a": [1, 2, "ä"], "plain": "a,b[{"}'.encode())
    assert measured.values >= 5 and measured.wide == len('"ä"'.encode())
