"""How long a prompt may be: never less than it is."""

import base64
import json
from typing import Any

import pytest

from harness.gateway.bound import PromptBounds
from harness.spec.backbone import FormatName

IMAGE = base64.b64encode(bytes(30_000)).decode()
DATA = f"data:image/png;base64,{IMAGE}"
IMAGES: list[tuple[FormatName, dict[str, Any]]] = [
    ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}]}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": DATA}]}]}),
    ("messages", {"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}]}]}),
    ("google", {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": IMAGE}}]}]}),
]  # fmt: skip


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in texts], **more}


@pytest.mark.parametrize("text", ["", "a" * 1000, "\u00e9" * 1000, "\U0001f600" * 1000, '\n\t"\\' * 500, "\x00" * 100])
def test_a_prompt_has_at_most_as_many_tokens_as_bytes(text: str) -> None:
    assert PromptBounds().measure("chat", chat(text)).bound >= len(text.encode())


@pytest.mark.parametrize(("format", "body"), IMAGES)
def test_an_image_counts_as_one_and_not_as_its_bytes(format: FormatName, body: dict[str, Any]) -> None:
    measured = PromptBounds().measure(format, body)
    assert measured.images == 1 and measured.text < 1000 and 16_000 < measured.bound < 20_000


@pytest.mark.parametrize("place", ["arguments", "input", "args"])
def test_text_that_is_dressed_as_an_image_in_a_tools_call_is_text(place: str) -> None:
    dressed = {"type": "image", "source": {"type": "base64", "data": "long text " * 10_000}}
    bodies: dict[str, tuple[FormatName, Any]] = {
        "arguments": ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": dressed}}]}]}),
        "input": ("messages", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": dressed}]}]}),
        "args": ("google", {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": dressed}}]}]}),
    }
    assert PromptBounds().measure(*bodies[place]).bound > 100_000


def test_schemas_of_tools_are_bounded_as_templates_write_them() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a": {"b": {"c": "\u0434" * 100}}}}}]
    assert PromptBounds().measure("chat", chat("x", tools=tools)).bound > len(json.dumps(tools, indent=4))


def test_of_a_conversation_that_goes_on_only_what_is_new_is_bounded_by_bytes() -> None:
    bounds = PromptBounds()
    long = "word " * 10_000
    first = bounds.measure("chat", chat(long))
    assert first.bound > 50_000
    bounds.learn(first, 10_020)
    assert bounds.measure("chat", chat(long)).bound < 10_500
    assert bounds.measure("chat", chat(long, "x" * 100)).bound < 10_700
    # another beginning, another tool, another system prompt: nothing is known
    assert bounds.measure("chat", chat("a" + long, "x")).bound > 50_000
    assert bounds.measure("chat", chat(long, tools=[{"type": "function"}])).bound > 50_000


def test_an_image_in_a_known_conversation_is_known_by_its_content() -> None:
    bounds = PromptBounds()
    measured = bounds.measure(*IMAGES[0])
    bounds.learn(measured, 700)
    assert bounds.measure(*IMAGES[0]).bound < 1000
    other = json.loads(json.dumps(IMAGES[0][1]).replace(IMAGE, IMAGE[:-8] + "BBBBBBBB"))
    assert bounds.measure("chat", other).bound > 16_000


def test_what_the_upstream_never_said_is_not_learned() -> None:
    bounds = PromptBounds()
    measured = bounds.measure("chat", chat("x" * 1000))
    bounds.learn(measured, None)
    assert bounds.measure("chat", chat("x" * 1000)).bound > 1000


def test_turns_of_any_kind_are_measured() -> None:
    for turns in (None, "text", 7, [], [None, 3, "x", ["y"]], {"a": 1}):
        assert PromptBounds().measure("responses", {"input": turns}).bound > 0
