"""What agents may ask of a provider, as a table for all wire formats."""

from typing import Any

import pytest

from harness.gateway.policy import headers_kept, refusal, scrubbed
from harness.spec.backbone import FormatName
from harness.spec.event import LlmRefused
from tests.unit.gateway.conftest import Opening


def said(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def put(part: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


def content(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [part]}]}


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [fields]}


REFUSED: list[tuple[FormatName, dict[str, Any], str, str]] = [
    ("chat", {"web_search_options": {"a": 1}}, "web_search_options", "web search"),
    ("chat", {"store": True}, "store", "stored talks"),
    ("chat", {"service_tier": "priority"}, "service_tier=priority", "dearer tiers"),
    ("chat", {"n": 9}, "n=9", "more than 8 answers to one call"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities", "audio output"),
    ("chat", {"audio": {"voice": "x"}}, "audio", "audio"),
    ("chat", {"best_of": 20}, "best_of", "unmetered answers"),
    ("chat", {"use_beam_search": True}, "use_beam_search", "unmetered answers"),
    ("chat", {"kv_transfer_params": {"remote_host": "x"}}, "kv_transfer_params", "another server"),
    ("chat", tool(type="web_search"), "tools[0].type=web_search", "web search"),
    ("chat", tool(type="mcp", server_url="x"), "tools[0].type=mcp", "MCP servers"),
    ("chat", said({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), "image_url.url", "remote addresses"),
    ("chat", said({"type": "image_url", "image_url": "file:///etc/passwd"}), "image_url.url", "remote addresses"),
    ("chat", said({"type": "file", "file": {"file_id": "file-1"}}), "content[0].type=file", "files"),
    ("chat", said({"type": "video_url", "video_url": {"url": "http://169.254.169.254/"}}), "type=video_url", "files"),
    ("chat", said({"type": "input_audio", "input_audio": {}}), "type=input_audio", "files"),
    ("responses", {"background": True}, "background", "background work"),
    ("responses", {"store": True}, "store", "stored talks"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id", "stored talks"),
    ("responses", {"conversation": "conv_1"}, "conversation", "stored talks"),
    ("responses", {"prompt": {"id": "pmpt_1"}}, "prompt", "stored prompts"),
    ("responses", {"service_tier": "priority"}, "service_tier=priority", "dearer tiers"),
    ("responses", tool(type="web_search_preview"), "tools[0].type=web_search_preview", "web search"),
    ("responses", tool(type="web_search"), "tools[0].type=web_search", "web search"),
    ("responses", tool(type="file_search", vector_store_ids=["v"]), "tools[0].type=file_search", "file search"),
    ("responses", tool(type="code_interpreter", container={"type": "auto"}), "type=code_interpreter", "code execution"),
    ("responses", tool(type="image_generation"), "tools[0].type=image_generation", "image output"),
    ("responses", tool(type="mcp", connector_id="c"), "tools[0].type=mcp", "MCP servers"),
    ("responses", tool(type="shell", environment={"type": "container_auto"}), "tools[0].environment", "containers"),
    ("responses", tool(type="namespace", tools=[{"type": "mcp"}]), "tools[0].tools[0].type=mcp", "MCP servers"),
    ("responses", tool(type="something_new"), "tools[0].type=something_new", "the tool something_new"),
    ("responses", put({"type": "input_image", "image_url": "http://x"}), "content[0].image_url", "remote addresses"),
    ("responses", put({"type": "input_image", "file_id": "file-1"}), "content[0].file_id", "files"),
    ("responses", put({"type": "input_file", "file_url": "http://x"}), "type=input_file", "files"),
    ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, "type=item_reference", "stored talks"),
    ("responses", {"input": [{"id": "rs_1"}]}, "type=item_reference", "stored talks"),
    (
        "responses",
        {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
        "input[0].tools[0].type=web_search",
        "web search",
    ),
    ("messages", {"container": "c"}, "container", "containers"),
    ("messages", {"mcp_servers": [{"url": "x"}]}, "mcp_servers", "MCP servers"),
    ("messages", {"speed": "fast"}, "speed", "dearer tiers"),
    ("messages", {"inference_geo": "us"}, "inference_geo", "dearer tiers"),
    ("messages", {"service_tier": "priority"}, "service_tier=priority", "dearer tiers"),
    ("messages", tool(type="web_search_20250305", name="w"), "tools[0].type=web_search_20250305", "web search"),
    ("messages", tool(type="web_fetch_20250910", name="w"), "tools[0].type=web_fetch_20250910", "remote addresses"),
    ("messages", tool(type="code_execution_20250825", name="c"), "type=code_execution_20250825", "code execution"),
    ("messages", tool(type="mcp_toolset", mcp_server_name="x"), "tools[0].type=mcp_toolset", "MCP servers"),
    ("messages", said({"type": "image", "source": {"type": "url", "url": "http://x"}}), "source.type=url", "remote addresses"),
    ("messages", said({"type": "image", "source": {"type": "file", "file_id": "f"}}), "source.type=file", "files"),
    ("messages", said({"type": "document", "source": {"type": "base64", "data": ""}}), "type=document", "files"),
    ("messages", said({"type": "container_upload", "file_id": "f"}), "type=container_upload", "files"),
    ("messages", said({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url"}}]}),
     "content[0].content[0].source.type=url", "remote addresses"),
    ("google", tool(googleSearch={}), "tools[0].googleSearch", "web search"),
    ("google", tool(google_search={}), "tools[0].google_search", "web search"),
    ("google", tool(googleSearchRetrieval={}), "tools[0].googleSearchRetrieval", "web search"),
    ("google", tool(urlContext={}), "tools[0].urlContext", "remote addresses"),
    ("google", tool(codeExecution={}), "tools[0].codeExecution", "code execution"),
    ("google", tool(code_execution={}), "tools[0].code_execution", "code execution"),
    ("google", tool(fileSearch={}), "tools[0].fileSearch", "file search"),
    ("google", tool(functionDeclarations=[], googleMaps={}), "tools[0].googleMaps", "the tool googlemaps"),
    ("google", {"cachedContent": "cachedContents/1"}, "cachedContent", "stored contents"),
    ("google", {"cached_content": "cachedContents/1"}, "cached_content", "stored contents"),
    ("google", content({"fileData": {"fileUri": "x"}}), "parts[0].fileData", "files"),
    ("google", content({"file_data": {"file_uri": "x"}}), "parts[0].file_data", "files"),
    ("google", content({"inlineData": {"mimeType": "application/pdf"}}), "parts[0].inlineData", "files"),
    ("google", {"generationConfig": {"candidateCount": 9}}, "candidateCount=9", "more than 8 answers to one call"),
    ("google", {"generation_config": {"candidate_count": 9}}, "candidate_count=9", "more than 8 answers to one call"),
    ("google", {"generationConfig": {"responseModalities": ["IMAGE"]}}, "responseModalities", "image output"),
    ("google", {"serviceTier": "priority"}, "serviceTier", "dearer tiers"),
]  # fmt: skip

ALLOWED: list[tuple[FormatName, dict[str, Any]]] = [
    ("chat", tool(type="function", function={"name": "f", "parameters": {"type": "web_search"}})),
    ("chat", tool(type="custom", custom={"name": "f"})),
    ("chat", said({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})),
    ("chat", {"store": False, "service_tier": "auto", "n": 8, "web_search_options": None}),
    ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"type": "file"}'}}]}]}),
    ("responses", tool(type="local_shell")),
    ("responses", tool(type="shell", environment={"type": "local"})),
    ("responses", tool(type="function", name="f", parameters={"type": "file_search"})),
    ("responses", tool(type="custom", name="apply_patch")),
    ("responses", {"background": False, "include": ["reasoning.encrypted_content"]}),
    ("messages", tool(name="f", input_schema={})),
    ("messages", tool(type="bash_20250124", name="bash")),
    ("messages", tool(type="text_editor_20250728", name="e")),
    ("messages", {"messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "f", "input": {"source": {"type": "url", "url": "http://x"}}}]}]}),
    ("messages", {"service_tier": "auto", "speed": "standard"}),
    ("google", tool(functionDeclarations=[{"name": "f", "parameters": {"fileData": {}}}])),
    ("google", content({"functionCall": {"name": "f", "args": {"fileData": "x"}}})),
    ("google", content({"inlineData": {"mimeType": "image/png", "data": "AA=="}})),
]  # fmt: skip


@pytest.mark.parametrize(("format", "body", "place", "power"), REFUSED, ids=lambda value: str(value)[:50])
def test_a_power_at_the_provider_is_refused_by_name(format: FormatName, body: dict[str, Any], place: str, power: str) -> None:
    found = refusal(format, body)
    assert found is not None and found.field.endswith(place) and found.power == power
    assert refusal(format, body, [power]) is None or refusal(format, body, [power]) != found


@pytest.mark.parametrize(("format", "body"), ALLOWED, ids=str)
def test_what_the_agent_runs_itself_is_allowed(format: FormatName, body: dict[str, Any]) -> None:
    assert refusal(format, body) is None


def test_bodies_of_nonsense_break_nothing() -> None:
    for format in ("chat", "responses", "messages", "google"):
        for value in (None, 1, "x", [], [1, "x", None], {}, {"type": 7}, [[[]]], [{"type": {}, "content": 3}]):
            body = {name: value for name in ("tools", "messages", "input", "contents", "system", "n", "modalities", "metadata")}
            refusal(format, body)
            scrubbed(format, body)


def test_what_says_who_asks_is_scrubbed_and_nothing_is_stored() -> None:
    who = {"metadata": {"user_id": "x"}, "user": "x", "safety_identifier": "x"}
    assert scrubbed("chat", {"model": "m", **who}) == {"model": "m"}
    assert scrubbed("responses", {"model": "m", **who}) == {"model": "m", "store": False}
    assert scrubbed("messages", {"model": "m", "metadata": {"user_id": "x"}}) == {"model": "m"}
    assert scrubbed("google", {"contents": [], "labels": {"a": "b"}}) == {"contents": []}


def test_only_harmless_betas_go_upstream() -> None:
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "interleaved-thinking-2025-05-14, files-api-2025-04-14,mcp-client-2025-04-04,context-1m-2025-08-07",
        "x-api-key": "t",
        "cookie": "c",
    }
    assert headers_kept(headers) == {
        "anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14",
    }  # fmt: skip
    assert headers_kept({"anthropic-beta": "files-api-2025-04-14"}) == {}


def test_a_refused_power_is_told_in_the_shape_of_the_provider_and_in_an_event(gateway: Opening) -> None:
    open = gateway()
    answer = open.chat(web_search_options={"search_context_size": "low"})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "not_allowed"
    assert "web_search_options asks for web search" in answer.json()["error"]["message"]
    assert open.book.wait(LlmRefused)[0].error == "not_allowed" and not open.upstream.calls


def test_a_granted_power_passes(gateway: Opening) -> None:
    open = gateway(grants=frozenset({"web search"}))
    assert open.chat(web_search_options={"search_context_size": "low"}).status_code == 200
    assert "web_search_options" in open.upstream.calls[0].body


def test_what_cannot_be_translated_is_refused_with_the_fields_name(gateway: Opening) -> None:
    open = gateway(backbone={"upstream": "anthropic"})
    answer = open.chat(logprobs=True, top_logprobs=3)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "untranslatable"
    assert "logprobs" in answer.json()["error"]["message"]
