"""Runs in a sandbox: a provider's own client, set up by nothing but the environment, asks through the gateway.

python stranger.py CLIENT plain,stream,…     prints a JSON object: what each of them came to
"""

import json
import os
import sys
from typing import Any

sys.path.insert(0, "/clients")
MODEL = os.environ["LLM_MODEL"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class OpenAIChat:
    def __init__(self) -> None:
        import openai

        self.make, self.client, self.error = openai.OpenAI, openai.OpenAI(max_retries=0, timeout=300), openai.APIStatusError

    def text(self, words: str, model: str = MODEL) -> tuple[str, int, int]:
        said = self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": words}], max_tokens=16)
        return said.choices[0].message.content or "", said.usage.prompt_tokens, said.usage.completion_tokens

    def stream(self, words: str) -> tuple[list[str], int]:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_tokens": 16}
        pieces, output = [], 0
        for chunk in self.client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            output = chunk.usage.completion_tokens if chunk.usage else output
        return pieces, output

    def tools(self, words: str, result: str) -> tuple[str, dict[str, Any], str]:
        tools = [{"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": CITY}}]
        talk: list[Any] = [{"role": "user", "content": words}]
        said = self.client.chat.completions.create(model=MODEL, messages=talk, tools=tools).choices[0].message
        (call,) = said.tool_calls
        talk += [said, {"role": "tool", "tool_call_id": call.id, "content": result}]
        then = self.client.chat.completions.create(model=MODEL, messages=talk, tools=tools).choices[0].message
        return call.function.name, json.loads(call.function.arguments), then.content

    def search(self, words: str) -> None:
        talk = [{"role": "user", "content": words}]
        self.client.chat.completions.create(model=MODEL, messages=talk, web_search_options={"search_context_size": "low"})

    def models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def told(self, error: Any) -> dict[str, Any]:
        return {"class": type(error).__name__, "status": error.status_code, "message": error.message, "code": error.code}


class OpenAIResponses(OpenAIChat):
    def text(self, words: str, model: str = MODEL) -> tuple[str, int, int]:
        said = self.client.responses.create(model=model, input=words, max_output_tokens=16)
        return said.output_text, said.usage.input_tokens, said.usage.output_tokens

    def stream(self, words: str) -> tuple[list[str], int]:
        pieces, output = [], 0
        for event in self.client.responses.create(model=MODEL, input=words, max_output_tokens=16, stream=True):
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
            elif event.type in ("response.completed", "response.incomplete"):
                output = event.response.usage.output_tokens
        return pieces, output

    def tools(self, words: str, result: str) -> tuple[str, dict[str, Any], str]:
        tools: list[Any] = [
            {"type": "function", "name": "weather", "description": "of a city", "parameters": CITY, "strict": False}
        ]
        talk: list[Any] = [{"role": "user", "content": words}]
        said = self.client.responses.create(model=MODEL, input=talk, tools=tools)
        (call,) = [item for item in said.output if item.type == "function_call"]
        talk += [*said.output, {"type": "function_call_output", "call_id": call.call_id, "output": result}]
        then = self.client.responses.create(model=MODEL, input=talk, tools=tools)
        return call.name, json.loads(call.arguments), then.output_text

    def search(self, words: str) -> None:
        self.client.responses.create(model=MODEL, input=words, tools=[{"type": "web_search"}])


class Anthropic:
    def __init__(self) -> None:
        import anthropic

        self.make, self.error = anthropic.Anthropic, anthropic.APIStatusError
        self.client = anthropic.Anthropic(max_retries=0, timeout=300)

    def text(self, words: str, model: str = MODEL) -> tuple[str, int, int]:
        said = self.client.messages.create(model=model, messages=[{"role": "user", "content": words}], max_tokens=16)
        return "".join(part.text for part in said.content), said.usage.input_tokens, said.usage.output_tokens

    def stream(self, words: str) -> tuple[list[str], int]:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_tokens": 16}
        with self.client.messages.stream(**asked) as stream:
            return list(stream.text_stream), stream.get_final_message().usage.output_tokens

    def tools(self, words: str, result: str) -> tuple[str, dict[str, Any], str]:
        tools: list[Any] = [{"name": "weather", "description": "of a city", "input_schema": CITY}]
        talk: list[Any] = [{"role": "user", "content": words}]
        said = self.client.messages.create(model=MODEL, messages=talk, tools=tools, max_tokens=100)
        (call,) = [part for part in said.content if part.type == "tool_use"]
        talk += [
            {"role": "assistant", "content": said.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": result}]},
        ]
        then = self.client.messages.create(model=MODEL, messages=talk, tools=tools, max_tokens=100)
        return call.name, call.input, then.content[0].text

    def search(self, words: str) -> None:
        talk = [{"role": "user", "content": words}]
        tools: list[Any] = [{"type": "web_search_20250305", "name": "web_search"}]
        self.client.messages.create(model=MODEL, messages=talk, tools=tools, max_tokens=100)

    def count(self, words: str) -> int:
        return self.client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": words}]).input_tokens

    def models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def told(self, error: Any) -> dict[str, Any]:
        return {"class": type(error).__name__, "status": error.status_code, "message": str(error.body["error"]["message"])}


class Google:
    def __init__(self) -> None:
        from google import genai
        from google.genai import errors, types

        self.make, self.error, self.types, self.client = genai.Client, errors.APIError, types, genai.Client()

    def _config(self, **more: Any) -> Any:
        return self.types.GenerateContentConfig(max_output_tokens=16, **more)

    def text(self, words: str, model: str = MODEL) -> tuple[str, int, int]:
        said = self.client.models.generate_content(model=model, contents=words, config=self._config())
        return said.text or "", said.usage_metadata.prompt_token_count, said.usage_metadata.candidates_token_count

    def stream(self, words: str) -> tuple[list[str], int]:
        pieces, output = [], 0
        for chunk in self.client.models.generate_content_stream(model=MODEL, contents=words, config=self._config()):
            pieces += [chunk.text] if chunk.text else []
            if chunk.usage_metadata:
                output = chunk.usage_metadata.candidates_token_count or output
        return pieces, output

    def tools(self, words: str, result: str) -> tuple[str, dict[str, Any], str]:
        types = self.types
        weather = types.FunctionDeclaration(name="weather", description="of a city", parameters_json_schema=CITY)
        config = self._config(tools=[types.Tool(function_declarations=[weather])])
        talk: list[Any] = [types.UserContent(words)]
        said = self.client.models.generate_content(model=MODEL, contents=talk, config=config)
        (call,) = said.function_calls
        answer = types.Part.from_function_response(name=call.name, response={"result": result})
        talk += [said.candidates[0].content, types.UserContent([answer])]
        then = self.client.models.generate_content(model=MODEL, contents=talk, config=config)
        return call.name, dict(call.args), then.text

    def search(self, words: str) -> None:
        config = self._config(tools=[self.types.Tool(google_search=self.types.GoogleSearch())])
        self.client.models.generate_content(model=MODEL, contents=words, config=config)

    def count(self, words: str) -> int:
        return self.client.models.count_tokens(model=MODEL, contents=words).total_tokens

    def models(self) -> list[str]:
        return [model.name.removeprefix("models/") for model in self.client.models.list(config={"query_base": True})]

    def told(self, error: Any) -> dict[str, Any]:
        return {"class": type(error).__name__, "status": error.code, "message": error.message, "code": error.status}


CLIENTS = {"chat": OpenAIChat, "responses": OpenAIResponses, "messages": Anthropic, "google": Google}


def do(client: Any, deed: str) -> Any:
    match deed:
        case "plain":
            return client.text("hello")
        case "stream":
            return client.stream("say it in pieces")
        case "tools":
            return client.tools("what is the weather in Paris?", "18 degrees")
        case "models":
            return client.models()
        case "search":
            return client.search("hello")
        case "count":
            return client.count("hello there, how are you?")
        case "patient":
            client.client = client.make()  # with the retries that a client has by itself
            return client.text("hello")
        case "again":
            return client.text("the first try fails")
        case "refused":
            return client.text("too much")
        case "model":
            return client.text("hello", model="some-other-model")
        case "stranger":
            client.client = client.make(
                api_key="none-of-ours", **({"max_retries": 0} if "google" not in str(client.make) else {})
            )
            return client.text("hello")
    raise SystemExit(f"no deed {deed!r}")


def main() -> None:
    asked: set[str] = set()

    def watch(event: str, arguments: Any) -> None:
        if event in ("socket.getaddrinfo", "socket.connect"):
            asked.add(str(arguments[1][0] if event == "socket.connect" else arguments[0]))

    sys.addaudithook(watch)
    client, told = CLIENTS[sys.argv[1]](), {}
    for deed in sys.argv[2].split(","):
        try:
            told[deed] = do(client, deed)
        except client.error as exc:
            told[deed] = client.told(exc)
    print(json.dumps({**told, "addresses": sorted(asked)}))


if __name__ == "__main__":
    main()
