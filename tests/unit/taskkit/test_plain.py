"""Texts and values of models, made plain: what comes out can be written by everything here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.verdict import ItemScore
from harness.taskkit.scoring.plain import MAX_DEPTH, plain_text, plain_value
from harness.taskkit.scoring.strict_json import strict_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["\ud800", "\x00"]),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=4), parts, max_size=4),
)


@given(JSON)
def test_whatever_a_model_found_can_be_written_read_strictly_and_kept(value):
    found = plain_value(value)
    text = json.dumps(found, allow_nan=False).encode()
    assert strict_json(text, max_bytes=len(text)) == found
    assert ItemScore(id="i", subset="s", parsed=True, score=0.0, value=found).model_dump_json()
    assert plain_value(found) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, {"a": [1, 2.5, None, True, "é"]}),
        ("a\ud800b\x00", "a\ufffdb\ufffd"),
        ({"\udfff": (1,)}, {"\ufffd": [1]}),
        (10**298, 10**298),
        (10**299, None),
        (float("inf"), None),
        ({1: 2}, {"1": 2}),
        ({(1,): 2}, None),
        (object(), None),
        (b"bytes", None),
    ],
)
def test_what_is_plain_stays_and_what_cannot_be_kept_is_none(value, found):
    assert plain_value(value) == found


def test_levels_are_bounded():
    value = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert plain_value(value) == value and plain_value([value]) is None


def test_only_what_is_no_text_is_replaced():
    assert plain_text("naïve 😀\n\t\u202e") == "naïve 😀\n\t\u202e"
    assert plain_text("\ud83d\ude00") == "\ufffd\ufffd"
