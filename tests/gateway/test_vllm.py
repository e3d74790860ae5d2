"""The gateway before a real vLLM: the providers' own clients, whose books agree with its, and whole runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from harness.gateway.recording import Recording
from harness.spec.budget import Budget
from harness.spec.event import LlmCalled, LlmRefused, LlmReserved
from harness.store.kept import KeptFiles
from tests.e2e.agents.one_run import submit, swept
from tests.e2e.conftest import HAND_IN_BASE, Commands
from tests.gateway.opened import Open, Opening
from tests.gateway.vllm_server import CONTEXT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WORDS = "Name three colours of the rainbow."
SHORT = 12
# A word is a token at least.
TOO_LONG = "colour " * (CONTEXT + 100)


class Said(NamedTuple):
    """An answer as its client tells it."""

    text: str
    prompt: int
    output: int
    pieces: int = 1


def chat(open: Open, words: str, most: int) -> Said:
    talk = [{"role": "user", "content": words}]
    said = open.openai().chat.completions.create(model="smol", messages=talk, max_tokens=most, temperature=0)
    return Said(said.choices[0].message.content, said.usage.prompt_tokens, said.usage.completion_tokens)


def chat_stream(open: Open, words: str, most: int) -> Said:
    talk = [{"role": "user", "content": words}]
    asked: dict[str, Any] = {"model": "smol", "messages": talk, "max_tokens": most, "temperature": 0}
    chunks = list(open.openai().chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    usage = chunks[-1].usage
    return Said("".join(pieces), usage.prompt_tokens, usage.completion_tokens, len(pieces))


def responses(open: Open, words: str, most: int) -> Said:
    said = open.openai().responses.create(model="smol", input=words, max_output_tokens=most, temperature=0)
    return Said(said.output_text, said.usage.input_tokens, said.usage.output_tokens)


def responses_stream(open: Open, words: str, most: int) -> Said:
    asked: dict[str, Any] = {"model": "smol", "input": words, "max_output_tokens": most, "temperature": 0}
    events = list(open.openai().responses.create(**asked, stream=True))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    usage = events[-1].response.usage
    return Said("".join(pieces), usage.input_tokens, usage.output_tokens, len(pieces))


def messages(open: Open, words: str, most: int) -> Said:
    talk = [{"role": "user", "content": words}]
    said = open.anthropic().messages.create(model="smol", messages=talk, max_tokens=most, extra_body={"temperature": 0})
    return Said("".join(part.text for part in said.content), said.usage.input_tokens, said.usage.output_tokens)


def messages_stream(open: Open, words: str, most: int) -> Said:
    talk = [{"role": "user", "content": words}]
    asked: dict[str, Any] = {"model": "smol", "messages": talk, "max_tokens": most, "extra_body": {"temperature": 0}}
    with open.anthropic().messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        usage = stream.get_final_message().usage
    return Said("".join(pieces), usage.input_tokens, usage.output_tokens, len(pieces))


def google(open: Open, words: str, most: int) -> Said:
    config = {"max_output_tokens": most, "temperature": 0}
    said = open.google().models.generate_content(model="smol", contents=words, config=config)
    return Said(said.text, said.usage_metadata.prompt_token_count, said.usage_metadata.candidates_token_count)


def google_stream(open: Open, words: str, most: int) -> Said:
    config = {"max_output_tokens": most, "temperature": 0}
    chunks = list(open.google().models.generate_content_stream(model="smol", contents=words, config=config))
    pieces = [chunk.text for chunk in chunks if chunk.text]
    usage = chunks[-1].usage_metadata
    return Said("".join(pieces), usage.prompt_token_count, usage.candidates_token_count, len(pieces))


Client = Callable[[Open, str, int], Said]
WHOLE: tuple[Client, ...] = (chat, responses, messages, google)
STREAMED: tuple[Client, ...] = (chat_stream, responses_stream, messages_stream, google_stream)


def directly(vllm: str) -> Said:
    """Ask vLLM itself."""
    talk = [{"role": "user", "content": WORDS}]
    body = {"model": "smol", "messages": talk, "max_tokens": SHORT, "temperature": 0}
    said = httpx.post(f"{vllm}/chat/completions", json=body, timeout=300, trust_env=False).raise_for_status().json()
    usage = said["usage"]
    return Said(said["choices"][0]["message"]["content"], usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.parametrize("client", [*WHOLE, *STREAMED])
def test_a_client_is_told_what_vllm_says_and_the_book_has_its_usage(client: Client, gateway: Opening, vllm: str) -> None:
    expected = directly(vllm)
    open = gateway(Budget(wall=3600, tokens=100_000))
    said = client(open, WORDS, SHORT)
    assert said[:3] == expected[:3] and expected.text and expected.output == SHORT
    assert client not in STREAMED or said.pieces > 2
    format = client.__name__.removesuffix("_stream")
    (called,) = open.told(LlmCalled)
    assert (called.format, called.upstream_format) == (format, "chat" if format == "google" else format)
    assert (called.status, called.served, called.stop, called.streamed) == (200, "smol", "length", client in STREAMED)
    assert (called.input_tokens, called.output_tokens) == expected[1:3]
    ledger = open.server.ledger
    assert (ledger.tokens, ledger.output_tokens, ledger.answered) == (expected.prompt + expected.output, expected.output, 1)
    (reserved,) = open.told(LlmReserved)
    assert reserved.tokens >= called.tokens and reserved.output_tokens == SHORT


@pytest.mark.parametrize("client", WHOLE)
def test_the_budget_caps_an_answer_and_is_then_spent(client: Client, gateway: Opening) -> None:
    open = gateway(Budget(wall=3600, output_tokens=5))
    assert client(open, WORDS, 200).output == 5
    with pytest.raises(Exception, match="budget") as refused:
        client(open, WORDS, 200)
    assert "output tokens are left" in str(refused.value)
    assert len(open.told(LlmCalled)) == 1 and [told.error for told in open.told(LlmRefused)] == ["budget_exceeded"]


@pytest.mark.parametrize("client", [*WHOLE, chat_stream, google_stream])
def test_a_prompt_beyond_the_context_is_the_clients_own_error_and_costs_nothing(client: Client, gateway: Opening) -> None:
    import anthropic
    import openai
    from google.genai import errors

    own = {"messages": anthropic.BadRequestError, "google": errors.ClientError}
    open = gateway(Budget(wall=3600, tokens=100_000))
    with pytest.raises(own.get(client.__name__.removesuffix("_stream"), openai.BadRequestError)) as refused:
        client(open, TOO_LONG, SHORT)
    assert str(CONTEXT) in str(refused.value)
    (called,) = open.told(LlmCalled)
    assert (called.status, called.tries, called.tokens) == (400, 1, 0)
    assert open.server.ledger.answered == 0 and open.server.ledger.spent_tokens == 0


THINKER = (
    HAND_IN_BASE
    + """
import urllib.request
def ask(path, body, stream):
    body = {"model": os.environ["LLM_MODEL"], "temperature": 0, "stream": stream, **body}
    request = urllib.request.Request(
        os.environ["LLM_BASE_URL"] + path, json.dumps(body).encode(),
        {"Authorization": "Bearer " + os.environ["LLM_API_KEY"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return response.read().decode()
talk, answers = [], []
for words, stream in (("Name a colour.", False), ("And another one?", False), ("Why these?", True)):
    talk.append({"role": "user", "content": words})
    answers.append(ask("/chat/completions", {"messages": talk, "max_tokens": 8}, stream))
    if not stream:
        talk.append(json.loads(answers[-1])["choices"][0]["message"])
        talk[-1] = {"role": "assistant", "content": talk[-1]["content"]}
answers.append(ask("/responses", {"input": "Name a town.", "max_output_tokens": 8}, False))
answers.append(ask("/messages", {"messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 8}, True))
open("answers.json", "w").write(json.dumps(answers))
api.submit("/workspace/out")
"""
)


def asked_so_far(vllm: str) -> float:
    """How many requests vLLM has ended, as it counts itself."""
    counted = httpx.get(f"{vllm.removesuffix('/v1')}/metrics", timeout=30, trust_env=False).raise_for_status().text
    lines = [line for line in counted.splitlines() if line.startswith("vllm:request_success_total")]
    assert lines, counted[-3000:]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_run_that_thought_on_vllm_is_played_again_byte_for_byte_without_it(dojo: Commands, vllm: str, tmp_path: Path) -> None:
    file = tmp_path / "dojo.toml"
    formats = '["chat", "responses", "messages"]'
    terms = f'upstream = "openai"\nmodel = "smol"\nformats = {formats}\nbase_url = "{vllm}"\ncontext = {CONTEXT}\n'
    file.write_text(f"[backbones.small]\n{terms}")
    dojo.environ["DOJO_CONFIG"] = str(file)
    agent = dojo.agent("thinker", THINKER, backbone="required")
    before = asked_so_far(vllm)
    first = dojo(*dojo.submit(agent, "--backbone", "small", "--budget", "tokens=20000"))
    assert first.code == 0 and first.data["runs"][0]["state"] == "done", first
    recorded = dojo.run_folder()
    talk = list(Recording(recorded / "private/llm").read())
    assert [exchange.status for exchange in talk] == [200] * 5
    usages = [exchange.reply.usage for exchange in talk if exchange.reply]
    used = sum((usage.input or 0) + (usage.output or 0) for usage in usages)
    assert first.data["runs"][0]["budget"]["tokens"]["used"] == used > 5 * 8
    after = asked_so_far(vllm)
    assert after == before + 5

    file.unlink()  # nobody can know any more where vLLM is
    del dojo.environ["DOJO_CONFIG"]
    second = dojo(*dojo.submit(agent, "--backbone", f"replay:{recorded.name}"))
    assert second.code == 0 and second.data["runs"][0]["state"] == "done", second
    assert asked_so_far(vllm) == after
    played = next(folder for folder in dojo.home.glob("batches/*/runs/*") if folder != recorded)
    again = list(Recording(played / "private/llm").read())
    assert [asked(exchange) for exchange in again] == [asked(exchange) for exchange in talk]
    told = [KeptFiles(folder / "workspace.zip").read("answers.json") for folder in (played, recorded)]
    assert told[0] == told[1] and len(told[1]) > 100


def asked(exchange: Any) -> tuple[Any, ...]:
    return exchange.request, exchange.path, json.dumps(exchange.body, sort_keys=True), exchange.answer


def test_ft_agent_before_a_model_that_answers_nonsense_trains_by_its_rules_and_counts_what_came_of_thinking(
    vllm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dojo.toml"
    file.write_text(f'[backbones.small]\nupstream = "openai"\nmodel = "smol"\nbase_url = "{vllm}"\ncontext = {CONTEXT}\n')
    monkeypatch.setenv("DOJO_CONFIG", str(file))
    with swept(tmp_path):
        folder = submit(tmp_path / "home", "ft_agent", "math/aime25", "--backbone", "small", "--budget", "wall=20m,cpu=90")
    result = json.loads((folder / "result.json").read_text())
    assert result["outcome"]["cause"] == "completed"
    assert result["backbone"]["calls"] >= 1, "it asked"
    figures = json.loads(KeptFiles(folder / "workspace.zip").read("figures.json"))
    print(result["grade"]["scores"]["primary"]["value"], figures)
    assert figures["effective"] >= 1, "the rules train whatever it says"
    asked = figures["thinking"]["calls"].values()
    assert sum(call["fell_back"] + call["repaired"] for call in asked) >= 1, "a model of this size answers in no form"
