import pytest

from harness.gateway.dialogue import Malformed
from harness.gateway.formats import FORMATS

CASES = [
    ("chat", {}, 50, {"max_completion_tokens": 50}),
    ("chat", {"max_tokens": 20}, 50, {"max_tokens": 20}),
    ("chat", {"max_tokens": 80}, 50, {"max_tokens": 50}),
    ("chat", {"max_completion_tokens": 80, "max_tokens": 30}, 50, {"max_completion_tokens": 50, "max_tokens": 30}),
    ("chat", {"n": 2, "max_tokens": 80}, 50, {"n": 2, "max_tokens": 25}),
    ("chat", {"max_tokens": 80}, None, {"max_tokens": 80}),
    ("chat", {"stream": True}, None, {"stream": True, "stream_options": {"include_usage": True}}),
    (
        "chat",
        {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}},
        None,
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ),
    ("responses", {}, 50, {"max_output_tokens": 50}),
    ("responses", {"max_output_tokens": 20}, 50, {"max_output_tokens": 20}),
    ("responses", {"max_output_tokens": 80, "stream": True}, 50, {"max_output_tokens": 50, "stream": True}),
    ("messages", {"max_tokens": 80}, 50, {"max_tokens": 50}),
    ("messages", {"max_tokens": 20}, 50, {"max_tokens": 20}),
    (
        "messages",
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8000}},
        5000,
        {"max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 4999}},
    ),
    (
        "messages",
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8000}},
        500,
        {"max_tokens": 500, "thinking": {"type": "disabled"}},
    ),
    ("google", {}, 50, {"generationConfig": {"maxOutputTokens": 50}}),
    (
        "google",
        {"generationConfig": {"maxOutputTokens": 20, "topK": 1}},
        50,
        {"generationConfig": {"maxOutputTokens": 20, "topK": 1}},
    ),
    (
        "google",
        {"generationConfig": {"candidateCount": 2, "maxOutputTokens": 80}},
        50,
        {"generationConfig": {"candidateCount": 2, "maxOutputTokens": 25}},
    ),
]


@pytest.mark.parametrize(("name", "body", "cap", "expected"), CASES)
def test_only_name_cap_and_usage_are_changed_in_what_passes_through(name, body, cap, expected):
    whole = {"model": "asked", "unknown": {"kept": 1}} | body
    before = repr(whole)
    model = {} if name == "google" else {"model": "served"}
    assert FORMATS[name].capped(whole, "served", cap) == {"unknown": {"kept": 1}} | model | expected
    assert repr(whole) == before


@pytest.mark.parametrize(
    ("name", "body", "asked"),
    [
        ("chat", {}, None),
        ("chat", {"max_tokens": 20}, 20),
        ("chat", {"max_tokens": 20, "max_completion_tokens": 10, "n": 3}, 30),
        ("responses", {"max_output_tokens": 20}, 20),
        ("messages", {"max_tokens": 20}, 20),
        ("google", {"generationConfig": {"maxOutputTokens": 20, "candidateCount": 2}}, 40),
        ("google", {}, None),
    ],
)
def test_what_a_body_asks_for_counts_every_choice(name, body, asked):
    assert FORMATS[name].asked_output(body) == asked


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("chat", {"max_tokens": "many"}),
        ("chat", {"n": 0, "max_tokens": 5}),
        ("chat", {"max_tokens": -5}),
        ("messages", {"max_tokens": True}),
        ("responses", {"max_output_tokens": 1.5}),
        ("google", {"generationConfig": {"maxOutputTokens": "1"}}),
        ("google", {"generationConfig": {"maxOutputTokens": 5, "candidateCount": -2}}),
    ],
)
def test_caps_that_are_none_are_malformed(name, body):
    with pytest.raises(Malformed):
        FORMATS[name].asked_output(body)
