"""Calls and answers that hypothesis makes up, in the order that all formats keep: thoughts, text, calls; results, then text."""

import json

from hypothesis import strategies as st

from harness.gateway.dialogue import Ask, Image, Message, Reply, Text, Thinking, TokenUsage, Tool, ToolCall, ToolResult

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
ARGUMENTS = st.dictionaries(NAMES, st.one_of(TEXT, st.integers(-9, 9), st.booleans()), max_size=2).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)
TEXTS = st.lists(TEXT.map(Text), min_size=1, max_size=2)
IMAGES = st.just(Image("image/png", "aGk="))
SEALED = st.builds(Thinking, TEXT, NAMES)


@st.composite
def dialogues(draw, *, images: bool = True, thinking: bool = True):
    messages, calls = [], 0
    if draw(st.booleans()):
        messages.append(Message("system", (Text(draw(TEXT)),)))
    called: list[ToolCall] = []
    for _ in range(draw(st.integers(1, 3))):
        results = tuple(ToolResult(call.id, call.name, (Text(draw(TEXT)),), False) for call in called)
        said = tuple(draw(TEXTS))
        seen = (draw(IMAGES),) if images and draw(st.booleans()) else ()
        messages.append(Message("user", (*results, *said, *seen)))
        names = draw(st.lists(NAMES, max_size=2))
        called = []
        for name in names:
            calls += 1
            called.append(ToolCall(f"call_{calls}", name, draw(ARGUMENTS)))
        thought = (draw(SEALED),) if thinking and draw(st.booleans()) else ()
        messages.append(Message("assistant", (*thought, Text(draw(TEXT)), *called)))
    if called:
        messages.append(Message("user", tuple(ToolResult(call.id, call.name, (Text(draw(TEXT)),)) for call in called)))
    return tuple(messages)


TOOLS = st.lists(
    st.builds(Tool, NAMES, TEXT, st.just({"type": "object", "properties": {"command": {"type": "string"}}})),
    max_size=2,
    unique_by=lambda tool: tool.name,
).map(tuple)
USAGES = st.builds(
    lambda fresh, cached, answer, thoughts: TokenUsage(fresh + cached, answer + thoughts, cached, None, thoughts),
    *[st.integers(1, 999)] * 4,
)


@st.composite
def asks(draw, **limits):
    tools = draw(TOOLS)
    choice = draw(st.sampled_from(["auto", "none", "required", *(tool.name for tool in tools)])) if tools else "auto"
    return Ask(
        "a-model",
        draw(dialogues(**limits)),
        tools,
        choice,
        max_output=draw(st.integers(2000, 9000)),
        temperature=draw(st.none() | st.sampled_from([0.0, 0.5, 1.0])),
        top_p=draw(st.none() | st.just(0.9)),
        stream=draw(st.booleans()),
        json_schema=draw(st.none() | st.just({"type": "object", "properties": {"answer": {"type": "string"}}})),
        effort=draw(st.none() | st.sampled_from(["low", "medium", "high"])),
    )


@st.composite
def replies(draw, *, signatures: bool = True):
    parts: list[Text | Thinking | ToolCall] = []
    if draw(st.booleans()):
        parts.append(draw(SEALED if signatures else TEXT.map(Thinking)))
    if draw(st.booleans()):
        parts.append(Text(draw(TEXT)))
    calls = [ToolCall(f"call_{at}", draw(NAMES), draw(ARGUMENTS)) for at in range(draw(st.integers(0, 2)))]
    stop = "tools" if calls else draw(st.sampled_from(["end", "length", "refusal"]))
    return Reply((*parts, *calls), stop, draw(USAGES | st.just(TokenUsage())), "a-model", "an_id")


HELLO = Ask("a-model", (Message("user", (Text("hello"),)),), max_output=100, stream=True)
