"""The providers' own Python clients against a server that does nothing but read and write with the formats."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.gateway.dialogue import Failure, Reply, Text, Thinking, TokenUsage, ToolCall, ToolResult
from harness.gateway.formats import FORMATS
from harness.gateway.formats.errors import headers_of
from harness.gateway.formats.pieces import pieces_of

SAID = Reply(
    (
        Thinking("hm, a shell", "c2VhbA=="),
        Text("Let me look: ünïcode 🙂"),
        ToolCall("call_1", "shell", '{"command":"ls"}'),
        ToolCall("call_2", "shell", '{"command":"pwd"}'),
    ),
    "tools",
    TokenUsage(100, 20, 60, None, 5),
)
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
FAILURES = {
    "budget": Failure(429, "budget_exceeded", "the run's budget of 1000 tokens is spent"),
    "model": Failure(404, "model_not_found", "no model named x; this run has: y"),
    "token": Failure(401, "unauthorised", "the token is not this run's"),
    "policy": Failure(403, "not_allowed", "web search is not granted by the task"),
    "busy": Failure(503, "overloaded", "the upstream is overloaded", 7),
    "unforeseen": Failure(500, "internal", "unforeseen"),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def serving(name, reply=SAID, failure=None, breaks=None):
    """Yield the server's address and the calls it read."""
    wire, calls = FORMATS[name], []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self._answer(200, "application/json", json.dumps(wire.models(["a-model"])).encode())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if name == "google":
                path = self.path.split("?")[0]
                body |= {"model": path.split("models/")[1].split(":")[0], "stream": "stream" in path}
            ask = wire.parse(body)
            calls.append(ask)
            if failure:
                status, told = wire.failure(failure)
                self._answer(status, "application/json", json.dumps(told).encode(), headers_of(failure))
            elif not ask.stream:
                self._answer(200, "application/json", json.dumps(wire.render_reply(reply, ask)).encode())
            else:
                encoder = wire.encoder(ask)
                stream = encoder.start() + encoder.keep_alive()
                for piece in pieces_of(reply):
                    stream += encoder.keep_alive() + encoder.feed(piece)
                    if breaks:
                        stream += encoder.failure(breaks)
                        break
                self._answer(200, "text/event-stream", stream)

        def _answer(self, status, kind, data, headers=()):
            self.send_response(status)
            for key, value in dict(headers).items():
                self.send_header(key, value)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", calls
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def openai_client(url, **options):
    return pytest.importorskip("openai").OpenAI(base_url=f"{url}/v1", api_key="a-token", **options)


def anthropic_client(url, **options):
    return pytest.importorskip("anthropic").Anthropic(base_url=url, api_key="a-token", **options)


def google_client(url):
    genai = pytest.importorskip("google.genai")
    return genai.Client(api_key="a-token", http_options=genai.types.HttpOptions(base_url=url))


CHAT = {
    "model": "a-model",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "look"}],
    "tools": [{"type": "function", "function": {"name": "shell", "description": "runs", "parameters": SCHEMA}}],
}


def test_chat_completions_whole():
    with serving("chat") as (url, calls):
        answer = openai_client(url).chat.completions.create(**CHAT)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me look: ünïcode 🙂")
    assert [(call.id, json.loads(call.function.arguments)) for call in choice.message.tool_calls] == [
        ("call_1", {"command": "ls"}),
        ("call_2", {"command": "pwd"}),
    ]
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (100, 20, 60)
    assert usage.completion_tokens_details.reasoning_tokens == 5
    assert calls[0].tools[0].schema == SCHEMA


def test_chat_completions_streamed():
    with (
        serving("chat") as (url, _),
        openai_client(url).chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream,
    ):
        answer = stream.get_final_completion()
    message = answer.choices[0].message
    assert (message.content, answer.usage.prompt_tokens) == ("Let me look: ünïcode 🙂", 100)
    assert [call.function.arguments for call in message.tool_calls] == ['{"command":"ls"}', '{"command":"pwd"}']


def test_chat_completions_streamed_tell_usage_only_to_who_asks():
    with serving("chat") as (url, _):
        chunks = list(openai_client(url).chat.completions.create(**CHAT, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


RESPONSES = {
    "model": "a-model",
    "instructions": "be brief",
    "input": "look",
    "tools": [
        {"type": "function", "name": "shell", "description": "runs", "parameters": SCHEMA, "strict": False},
        {"type": "custom", "name": "apply_patch", "description": "patches"},
    ],
}


def assert_responses(answer):
    thought, said, *calls = answer.output
    assert (thought.summary[0].text, thought.encrypted_content) == ("hm, a shell", "c2VhbA==")
    assert (said.content[0].text, answer.output_text) == ("Let me look: ünïcode 🙂", "Let me look: ünïcode 🙂")
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        ("call_1", "shell", '{"command":"ls"}'),
        ("call_2", "shell", '{"command":"pwd"}'),
    ]
    assert (answer.status, answer.usage.input_tokens, answer.usage.output_tokens) == ("completed", 100, 20)
    assert answer.usage.input_tokens_details.cached_tokens == 60


def test_responses_whole():
    with serving("responses") as (url, _):
        assert_responses(openai_client(url).responses.create(**RESPONSES))


def test_responses_streamed():
    with serving("responses") as (url, _), openai_client(url).responses.stream(**RESPONSES) as stream:
        events = list(stream)
        assert_responses(stream.get_final_response())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


def test_responses_with_a_call_of_a_free_text_tool():
    patch = "*** Begin Patch\n*** End Patch"
    for arguments in (patch, json.dumps({"input": patch})):  # bare, or wrapped by a model that knows JSON only
        reply = Reply((ToolCall("call_1", "apply_patch", arguments),), "tools", TokenUsage(1, 1))
        with serving("responses", reply) as (url, _):
            whole = openai_client(url).responses.create(**RESPONSES).output[0]
            with openai_client(url).responses.stream(**RESPONSES) as stream:
                streamed = stream.get_final_response().output[0]
        assert [(call.type, call.input) for call in (whole, streamed)] == [("custom_tool_call", patch)] * 2


MESSAGES = {
    "model": "a-model",
    "max_tokens": 1000,
    "system": "be brief",
    "messages": [{"role": "user", "content": "look"}],
    "tools": [{"name": "shell", "description": "runs", "input_schema": SCHEMA}],
}


def assert_messages(answer):
    thought, said, *calls = answer.content
    assert (thought.thinking, thought.signature, said.text) == ("hm, a shell", "c2VhbA==", "Let me look: ünïcode 🙂")
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("call_1", "shell", {"command": "ls"}),
        ("call_2", "shell", {"command": "pwd"}),
    ]
    assert (answer.stop_reason, answer.role) == ("tool_use", "assistant")
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (40, 60, 20)


def test_messages_whole():
    with serving("messages") as (url, _):
        assert_messages(anthropic_client(url).messages.create(**MESSAGES))


def test_messages_streamed():
    with serving("messages") as (url, _), anthropic_client(url).messages.stream(**MESSAGES) as stream:
        assert_messages(stream.get_final_message())


def assert_google(parts, usage):
    thought, said, *calls = parts
    assert (thought.thought, thought.text, said.text) == (True, "hm, a shell", "Let me look: ünïcode 🙂")
    assert [(part.function_call.name, part.function_call.args) for part in calls] == [
        ("shell", {"command": "ls"}),
        ("shell", {"command": "pwd"}),
    ]
    counts = usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count, usage.cached_content_token_count
    assert counts == (100, 15, 5, 60)


def google_config():
    types = pytest.importorskip("google.genai").types
    shell = types.FunctionDeclaration(
        name="shell",
        description="runs",
        parameters=types.Schema(type=types.Type.OBJECT, properties={"command": types.Schema(type=types.Type.STRING)}),
    )
    return types.GenerateContentConfig(
        system_instruction="be brief",
        tools=[types.Tool(function_declarations=[shell])],
        temperature=0,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=-1),
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def test_generate_content_whole():
    config = google_config()
    with serving("google") as (url, calls), google_client(url) as client:
        answer = client.models.generate_content(model="a-model", contents="look", config=config)
    assert_google(answer.candidates[0].content.parts, answer.usage_metadata)
    assert calls[0].tools[0].schema == {"type": "object", "properties": {"command": {"type": "string"}}}
    assert (calls[0].model, calls[0].messages[0].parts) == ("a-model", (Text("be brief"),))


def test_generate_content_streamed():
    config = google_config()
    with serving("google") as (url, _), google_client(url) as client:
        chunks = list(client.models.generate_content_stream(model="a-model", contents="look", config=config))
    parts = [part for chunk in chunks if chunk.candidates for part in chunk.candidates[0].content.parts or ()]
    assert_google(parts, chunks[-1].usage_metadata)
    assert chunks[-1].candidates[0].finish_reason.value == "STOP"


def test_a_whole_conversation_goes_back_and_forth_in_every_format():
    with serving("messages") as (url, calls):
        client = anthropic_client(url)
        answer = client.messages.create(**MESSAGES)
        results = [{"type": "tool_result", "tool_use_id": each.id, "content": "ok"} for each in answer.content[2:]]
        turns = [*MESSAGES["messages"], {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        client.messages.create(**MESSAGES | {"messages": turns})
    assert calls[1].messages[2].parts == SAID.parts
    with serving("chat") as (url, calls):
        client = openai_client(url)
        message = client.chat.completions.create(**CHAT).choices[0].message
        results = [{"role": "tool", "tool_call_id": each.id, "content": "ok"} for each in message.tool_calls]
        client.chat.completions.create(**CHAT | {"messages": [*CHAT["messages"], message, *results]})
    assert calls[1].messages[2].parts[-2:] == SAID.parts[-2:]
    assert calls[1].messages[3].parts == (ToolResult("call_1", "", (Text("ok"),)), ToolResult("call_2", "", (Text("ok"),)))
    with serving("responses") as (url, calls):
        client = openai_client(url)
        answer = client.responses.create(**RESPONSES)
        results = [{"type": "function_call_output", "call_id": each.call_id, "output": "ok"} for each in answer.output[2:]]
        client.responses.create(**RESPONSES | {"input": [{"role": "user", "content": "look"}, *answer.output, *results]})
    assert calls[1].messages[2].parts == SAID.parts
    config = google_config()
    with serving("google") as (url, calls), google_client(url) as client:
        chat = client.chats.create(model="a-model", config=config)
        types = pytest.importorskip("google.genai").types
        answer = chat.send_message("look")
        chat.send_message([types.Part.from_function_response(name="shell", response={"output": "ok"}) for _ in range(2)])
    assert calls[1].messages[2].parts == SAID.parts
    assert [part.id for part in calls[1].messages[3].parts] == ["call_1", "call_2"]


OPENAI_ERRORS = {
    "budget": ("RateLimitError", 429, "budget_exceeded"),
    "model": ("NotFoundError", 404, "model_not_found"),
    "token": ("AuthenticationError", 401, "unauthorised"),
    "policy": ("PermissionDeniedError", 403, "not_allowed"),
    "busy": ("InternalServerError", 503, "overloaded"),
    "unforeseen": ("InternalServerError", 500, "internal"),
}


@pytest.mark.parametrize("which", FAILURES)
@pytest.mark.parametrize("name", ["chat", "responses"])
def test_openai_raises_its_own_errors(name, which):
    openai = pytest.importorskip("openai")
    kind, status, code = OPENAI_ERRORS[which]
    with serving(name, failure=FAILURES[which]) as (url, calls), pytest.raises(getattr(openai, kind)) as caught:
        client = openai_client(url, max_retries=2 if which == "budget" else 0)
        _ = client.chat.completions.create(**CHAT) if name == "chat" else client.responses.create(**RESPONSES)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert FAILURES[which].message in str(caught.value)
    assert len(calls) == 1  # a spent budget is not tried again


ANTHROPIC_ERRORS = {
    "budget": ("BadRequestError", 400, "billing_error"),
    "model": ("NotFoundError", 404, "not_found_error"),
    "token": ("AuthenticationError", 401, "authentication_error"),
    "policy": ("PermissionDeniedError", 403, "permission_error"),
    "busy": ("OverloadedError", 529, "overloaded_error"),
    "unforeseen": ("InternalServerError", 500, "api_error"),
}


@pytest.mark.parametrize("which", FAILURES)
def test_anthropic_raises_its_own_errors(which):
    exceptions = pytest.importorskip("anthropic._exceptions")
    kind, status, word = ANTHROPIC_ERRORS[which]
    with serving("messages", failure=FAILURES[which]) as (url, calls), pytest.raises(getattr(exceptions, kind)) as caught:
        anthropic_client(url, max_retries=2 if which == "budget" else 0).messages.create(**MESSAGES)
    error = caught.value
    assert (error.status_code, error.type, error.error_code) == (status, word, FAILURES[which].code)
    assert error.api_message == FAILURES[which].message
    assert len(calls) == 1


GOOGLE_ERRORS = {
    "budget": ("ClientError", 429, "RESOURCE_EXHAUSTED"),
    "model": ("ClientError", 404, "NOT_FOUND"),
    "token": ("ClientError", 401, "UNAUTHENTICATED"),
    "policy": ("ClientError", 403, "PERMISSION_DENIED"),
    "busy": ("ServerError", 503, "UNAVAILABLE"),
    "unforeseen": ("ServerError", 500, "INTERNAL"),
}


@pytest.mark.parametrize("which", FAILURES)
def test_google_raises_its_own_errors(which):
    errors = pytest.importorskip("google.genai.errors")
    kind, status, word = GOOGLE_ERRORS[which]
    with (
        serving("google", failure=FAILURES[which]) as (url, _),
        google_client(url) as client,
        pytest.raises(getattr(errors, kind)) as caught,
    ):
        client.models.generate_content(model="a-model", contents="look")
    assert (caught.value.code, caught.value.status) == (status, word)
    assert caught.value.message.startswith(FAILURES[which].message)
    assert caught.value.details["error"]["details"][0]["reason"] == FAILURES[which].code


BROKEN = Failure(502, "upstream_broken", "the upstream broke off")


@pytest.mark.parametrize("name", ["chat", "responses"])
def test_openai_raises_an_error_within_a_stream(name):
    openai = pytest.importorskip("openai")
    with serving(name, breaks=BROKEN) as (url, _), pytest.raises(openai.APIError, match="broke off"):
        client = openai_client(url)
        list(
            client.chat.completions.create(**CHAT, stream=True)
            if name == "chat"
            else client.responses.create(**RESPONSES, stream=True)
        )


def test_anthropic_raises_an_error_within_a_stream():
    anthropic = pytest.importorskip("anthropic")
    with serving("messages", breaks=BROKEN) as (url, _), pytest.raises(anthropic.APIError, match="broke off"):
        list(anthropic_client(url).messages.create(**MESSAGES, stream=True))


def test_google_raises_an_error_within_a_stream():
    errors = pytest.importorskip("google.genai.errors")
    with (
        serving("google", breaks=BROKEN) as (url, _),
        google_client(url) as client,
        pytest.raises(errors.APIError, match="broke off"),
    ):
        list(client.models.generate_content_stream(model="a-model", contents="look"))


def test_models_are_listed_as_each_client_reads_them():
    with serving("chat") as (url, _):
        assert [model.id for model in openai_client(url).models.list()] == ["a-model"]
    with serving("messages") as (url, _):
        assert [model.id for model in anthropic_client(url).models.list()] == ["a-model"]
    with serving("google") as (url, _), google_client(url) as client:
        assert [model.name for model in client.models.list()] == ["models/a-model"]
