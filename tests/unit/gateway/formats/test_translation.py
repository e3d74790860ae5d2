"""One dialogue as all four formats say it: whichever it came in, it goes out as each of them has it."""

from dataclasses import replace

import pytest
from dialogues import HELLO

from harness.gateway.dialogue import Ask, Image, Malformed, Message, Text, Thinking, Tool, ToolCall, ToolResult, Untranslatable
from harness.gateway.formats import FORMATS
from harness.gateway.formats.google.request import UNSEALED

SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
ANSWER = {"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"], "additionalProperties": False}

BODIES = {
    "chat": {
        "model": "a-model",
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                ],
            },
            {
                "role": "assistant",
                "content": "let me look",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "shell", "arguments": '{"command":"ls"}'}},
                    {"id": "call_2", "type": "function", "function": {"name": "shell", "arguments": '{"command":"pwd"}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "a\nb"},
            {"role": "tool", "tool_call_id": "call_2", "content": "/"},
            {"role": "user", "content": "go on"},
        ],
        "tools": [{"type": "function", "function": {"name": "shell", "description": "runs", "parameters": SCHEMA}}],
        "tool_choice": "required",
        "max_completion_tokens": 500,
        "temperature": 0.5,
        "reasoning_effort": "high",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER, "strict": True}},
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "responses": {
        "model": "a-model",
        "instructions": "be brief",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
                ],
            },
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "let me look"}]},
            {"type": "function_call", "call_id": "call_1", "name": "shell", "arguments": '{"command":"ls"}'},
            {"type": "function_call", "call_id": "call_2", "name": "shell", "arguments": '{"command":"pwd"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "a\nb"},
            {"type": "function_call_output", "call_id": "call_2", "output": "/"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
        ],
        "store": False,
        "tools": [{"type": "function", "name": "shell", "description": "runs", "parameters": SCHEMA, "strict": False}],
        "tool_choice": "required",
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER, "strict": True}},
        "max_output_tokens": 500,
        "temperature": 0.5,
        "reasoning": {"effort": "high"},
        "stream": True,
    },
    "messages": {
        "model": "a-model",
        "max_tokens": 500,
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "let me look"},
                    {"type": "tool_use", "id": "call_1", "name": "shell", "input": {"command": "ls"}},
                    {"type": "tool_use", "id": "call_2", "name": "shell", "input": {"command": "pwd"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "a\nb"}]},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "/"}]},
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
        "tools": [{"name": "shell", "description": "runs", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any"},
        "temperature": 0.5,
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": ANSWER}},
        "stream": True,
    },
    "google": {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "what is this?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
            {
                "role": "model",
                "parts": [
                    {"text": "let me look"},
                    {
                        "functionCall": {"id": "call_1", "name": "shell", "args": {"command": "ls"}},
                        "thoughtSignature": UNSEALED,
                    },
                    {"functionCall": {"id": "call_2", "name": "shell", "args": {"command": "pwd"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "shell", "response": {"output": "a\nb"}}},
                    {"functionResponse": {"id": "call_2", "name": "shell", "response": {"output": "/"}}},
                    {"text": "go on"},
                ],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "shell", "description": "runs", "parametersJsonSchema": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "maxOutputTokens": 500,
            "temperature": 0.5,
            "responseMimeType": "application/json",
            "responseJsonSchema": ANSWER,
            "thinkingConfig": {"thinkingLevel": "HIGH"},
        },
    },
}


def read(name, **changed) -> Ask:
    path = {"model": "a-model", "stream": True} if name == "google" else {}
    return FORMATS[name].parse(BODIES[name] | path | changed)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("of", FORMATS)
def test_one_dialogue_goes_from_any_format_into_any(of, to):
    assert FORMATS[to].render(read(of)) == BODIES[to]


REFUSED = [
    ("chat", {"n": 2}, "n=2"),
    ("chat", {"logprobs": True}, "logprobs=true"),
    ("chat", {"seed": 7}, "seed=7"),
    ("chat", {"frequency_penalty": 0.5}, "frequency_penalty=0.5"),
    ("chat", {"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ("chat", {"tools": [{"type": "code_interpreter"}]}, "tools[0].type=code_interpreter"),
    (
        "chat",
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages[0].content[0].type=input_audio",
    ),
    (
        "chat",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]}]},
        "messages[0].content[0].image_url.url=https://x.org/a.png",
    ),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id=resp_1"),
    ("responses", {"conversation": "conv_1"}, "conversation=conv_1"),
    ("responses", {"background": True}, "background=true"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools[0].type=web_search"),
    ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type=item_reference"),
    ("responses", {"include": ["message.output_text.logprobs"]}, "include[0]=message.output_text.logprobs"),
    ("messages", {"mcp_servers": [{"url": "https://x.org"}]}, "mcp_servers"),
    ("messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type=bash_20250124"),
    ("messages", {"thinking": {"type": "between_tools"}}, "thinking.type=between_tools"),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
        "messages[0].content[0].type=document",
    ),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x.org"}}]}]},
        "messages[0].content[0].source.type=url",
    ),
    (
        "messages",
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        "context_management.edits[0].type=clear_tool_uses_20250919",
    ),
    ("google", {"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
    ("google", {"cachedContent": "cachedContents/1"}, "cachedContent=cachedContents/1"),
    ("google", {"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount=2"),
    (
        "google",
        {"contents": [{"parts": [{"fileData": {"fileUri": "gs://a/b"}}]}]},
        "contents[0].parts[0].fileData",
    ),
]


@pytest.mark.parametrize(("name", "changed", "field"), REFUSED, ids=[each[2] for each in REFUSED])
def test_what_no_other_format_can_say_is_refused_by_name(name, changed, field):
    with pytest.raises(Untranslatable) as caught:
        read(name, **changed)
    assert caught.value.field.startswith(field)


UNSAYABLE = [
    ("responses", {"stop": ("END",)}, "stop"),
    ("messages", {"json_schema": {}}, "json_schema"),
    ("messages", {"temperature": 1.5}, "temperature=1.5"),
    ("messages", {"verbosity": "low"}, "verbosity"),
    ("google", {"verbosity": "low"}, "verbosity"),
]


@pytest.mark.parametrize(("name", "said", "field"), UNSAYABLE)
def test_what_a_format_cannot_say_is_refused_when_it_is_written(name, said, field):
    with pytest.raises(Untranslatable) as caught:
        FORMATS[name].render(replace(HELLO, **said))
    assert (caught.value.field.startswith(field), caught.value.to) == (True, name)


MALFORMED = [
    ("chat", {"messages": "hello"}, "messages must be an array, not hello"),
    ("chat", {"model": None}, "model must be a string, not null"),
    ("chat", {"max_tokens": -1}, "max_tokens must be a whole number from 0, not -1"),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, r"messages\[0\].content\[0\].text must"),
    ("responses", {"input": 7}, "input must be an array, not 7"),
    ("messages", {"stream": "yes"}, "stream must be true or false, not yes"),
    ("messages", {"messages": [7]}, r"messages\[0\] must be an object, not 7"),
    ("google", {"contents": None}, "contents must be an array, not null"),
    ("google", {"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature must be a number, not hot"),
]


@pytest.mark.parametrize(("name", "changed", "message"), MALFORMED)
def test_what_breaks_its_format_is_named_with_its_value(name, changed, message):
    with pytest.raises(Malformed, match=message):
        read(name, **changed)


DROPPED = [
    ("chat", {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prediction": {"type": "content"}}),
    ("responses", {"user": "me", "metadata": {"a": "b"}, "service_tier": "auto", "prompt_cache_key": "k", "store": False}),
    ("messages", {"metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}}),
    ("google", {"safetySettings": [{"category": "x"}], "labels": {"a": "b"}}),
]


@pytest.mark.parametrize(("name", "said"), DROPPED)
def test_what_does_not_touch_the_answer_is_left_out_and_listed(name, said):
    assert set(read(name, **said).dropped) >= set(said)


@pytest.mark.parametrize("to", FORMATS)
def test_an_instruction_within_the_dialogue_stays_where_it_stands(to):
    ask = FORMATS["chat"].parse(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "first"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "developer", "content": "hurry up"},
                {"role": "user", "content": "three"},
            ],
        }
    )
    body = str(FORMATS[to].render(ask))
    assert body.index("two") < body.index("hurry up") < body.index("three")


def test_an_instruction_between_calls_and_results_does_not_part_them():
    call, result = ToolCall("call_1", "shell", "{}"), ToolResult("call_1", "", (Text("ok"),))
    ask = Ask("m", (Message("assistant", (call,)), Message("system", (Text("hurry"),)), Message("user", (result,))))
    turns = FORMATS["messages"].render(ask)["messages"]
    assert [[block["type"] for block in turn["content"]] for turn in turns] == [["tool_use"], ["tool_result", "text"]]


PATCH = Tool("apply_patch", "patches", None, grammar={"syntax": "lark", "definition": "start: X"})


@pytest.mark.parametrize("to", ["chat", "messages", "google"])
def test_a_free_text_tool_becomes_a_function_with_one_field(to):
    ask = Ask("m", (Message("user", (Text("hi"),)), Message("assistant", (ToolCall("c", "apply_patch", "*** x"),))), (PATCH,))
    body = FORMATS[to].render(ask)
    assert "start: X" in str(body["tools"])
    assert "'input': {'type': 'string'}" in str(body["tools"])
    (call,) = [part for part in FORMATS[to].parse(body | {"model": "m"}).messages[1].parts if isinstance(part, ToolCall)]
    assert call.arguments == '{"input":"*** x"}'


def test_a_free_text_tool_stays_one_where_the_format_knows_it():
    result = Message("user", (ToolResult("c", "", (Text("done"),)),))
    ask = Ask("m", (Message("assistant", (ToolCall("c", "apply_patch", "*** x"),)), result), (PATCH,), tool_choice="apply_patch")
    body = FORMATS["responses"].render(ask)
    assert [item["type"] for item in body["input"]] == ["custom_tool_call", "custom_tool_call_output"]
    assert body["tools"][0]["format"] == {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    assert FORMATS["responses"].parse(body).tools == (PATCH,)
    custom = {"name": "apply_patch", "description": "patches"}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}
    chat = {"model": "m", "messages": [], "tools": [{"type": "custom", "custom": custom | {"format": grammar}}]}
    assert FORMATS["chat"].parse(chat).tools == (PATCH,)


def test_thoughts_go_back_sealed_or_not_at_all():
    sealed, bare, hidden = Thinking("hm", "seal"), Thinking("hm"), Thinking("", "data", hidden=True)
    ask = Ask("m", (Message("assistant", (sealed, bare, hidden, Text("x"))),))
    blocks = FORMATS["messages"].render(ask)["messages"][0]["content"]
    assert blocks == [
        {"type": "thinking", "thinking": "hm", "signature": "seal"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "x"},
    ]
    assert FORMATS["messages"].parse({"model": "m", "messages": [{"role": "assistant", "content": blocks}]}).messages[
        0
    ].parts == (
        sealed,
        hidden,
        Text("x"),
    )
    assert [item["type"] for item in FORMATS["responses"].render(ask)["input"]] == ["reasoning", "message"]
    assert FORMATS["chat"].render(ask)["messages"] == [{"role": "assistant", "content": "x"}]


def test_an_image_that_a_tool_gave_reaches_every_format():
    result = ToolResult("c", "look", (Text("see"), Image("image/png", "aGk=")))
    ask = Ask("m", (Message("assistant", (ToolCall("c", "look", "{}"),)), Message("user", (result,))))
    for name, wire in FORMATS.items():
        assert "aGk=" in str(wire.render(ask)), name


def test_identities_of_other_servers_are_made_fit_for_anthropic():
    ask = Ask(
        "m",
        (
            Message("assistant", (ToolCall("functions.bash:0", "bash", "{}"),)),
            Message("user", (ToolResult("functions.bash:0", "", ()),)),
        ),
    )
    call, result = (turn["content"][0] for turn in FORMATS["messages"].render(ask)["messages"])
    assert call["id"] == result["tool_use_id"] == "functions_bash_0"


def test_arguments_that_are_no_json_are_kept_as_text():
    ask = Ask("m", (Message("assistant", (ToolCall("c", "bash", "{oops"),)),))
    assert FORMATS["messages"].render(ask)["messages"][0]["content"][0]["input"] == {"arguments": "{oops"}


def test_google_calls_without_identities_are_numbered_and_their_results_found():
    call = {"functionCall": {"name": "shell", "args": {}}}
    result = {"functionResponse": {"name": "shell", "response": {"error": "no"}}}
    contents = [{"role": "model", "parts": [call, call]}, {"role": "user", "parts": [result, result]}] * 2
    ask = FORMATS["google"].parse({"model": "m", "contents": contents})
    calls = [part.id for message in ask.messages for part in message.parts if isinstance(part, ToolCall)]
    results = [part for message in ask.messages for part in message.parts if isinstance(part, ToolResult)]
    assert calls == [part.id for part in results] == ["call_1", "call_2", "call_3", "call_4"]
    assert all(part.is_error and part.parts == (Text("no"),) for part in results)


def test_googles_dialect_of_schemas_is_read():
    old = {
        "type": "OBJECT",
        "properties": {
            "names": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1", "nullable": True},
            "type": {"type": "STRING", "enum": ["A"], "example": "A"},
        },
        "propertyOrdering": ["names"],
    }
    declared = {"functionDeclarations": [{"name": "f", "parameters": old}]}
    assert read("google", tools=[declared]).tools[0].schema == {
        "type": "object",
        "properties": {
            "names": {"type": ["array", "null"], "items": {"type": "string"}, "minItems": 1},
            "type": {"type": "string", "enum": ["A"], "examples": ["A"]},
        },
    }


def test_google_reads_names_with_underscores_too():
    body = {
        "model": "m",
        "contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": "aGk="}}]}],
        "system_instruction": {"parts": [{"text": "be brief"}]},
        "tools": [
            {
                "function_declarations": [
                    {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a_b": {"type": "STRING"}}}}
                ]
            }
        ],
        "generation_config": {"max_output_tokens": 7},
    }
    ask = FORMATS["google"].parse(body)
    assert (ask.max_output, ask.messages[0].role, ask.tools[0].schema["properties"]) == (7, "system", {"a_b": {"type": "string"}})
    assert FORMATS["google"].asked_output(body) == 7
    assert FORMATS["google"].capped(body, "m", 5)["generation_config"] == {"max_output_tokens": 5}


@pytest.mark.parametrize(
    ("budget", "cap", "written"),
    [
        (5000, 9000, {"type": "enabled", "budget_tokens": 5000}),
        (500, 9000, {"type": "enabled", "budget_tokens": 1024}),
        (9000, 2000, {"type": "enabled", "budget_tokens": 1999}),
        (5000, 1000, {"type": "disabled"}),
        (0, 9000, {"type": "disabled"}),
    ],
)
def test_a_budget_to_think_fits_the_cap_of_the_answer(budget, cap, written):
    assert FORMATS["messages"].render(replace(HELLO, thinking_budget=budget, max_output=cap))["thinking"] == written


@pytest.mark.parametrize("name", ["chat", "responses"])
def test_an_open_schema_is_asked_for_without_holding_the_model_to_it(name):
    assert "'strict': False" in str(FORMATS[name].render(replace(HELLO, json_schema={"type": "object"})))
