"""The client against real HTTP: every way in which an answer comes or does not."""

from __future__ import annotations

import socket
import threading

import pytest
from backbone_server import Reply, refused, serving
from reading.backbone import MOST_BYTES, Answer, Backbone, NoAnswer

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"title": "Survey", "type": "object"}


def backbone(url: str) -> Backbone:
    return Backbone(url, "the-key", "m", again_after_s=(0.0, 0.0))


def ask(url: str, **changes: object) -> Answer:
    settings = {"max_output": 50, "schema": None, "timeout_s": 10.0, **changes}
    return backbone(url).ask(HELLO, **settings)  # type: ignore[arg-type]


def test_an_answer_comes_with_its_tokens_and_the_request_names_model_key_and_cap() -> None:
    with serving("hi") as server:
        answer = ask(server.url)
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.stop) == ("hi", 100, 20, "stop")
    assert server.keys == ["Bearer the-key"]
    (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["model"], asked["messages"], asked["max_completion_tokens"]) == ("m", HELLO, 50)


def test_an_answer_without_usage_counts_nothing_and_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": None}]}
    with serving(Reply("hi", usage=None), Reply(body=body)) as server:
        assert ask(server.url).input_tokens == 0
        assert ask(server.url).text == "ab"


def test_a_schema_is_sent_and_where_the_upstream_refuses_it_asked_once_without_and_remembered() -> None:
    with serving(refused(400, "untranslatable", "response_format has no meaning"), Reply("{}"), Reply("[]")) as server:
        asking = backbone(server.url)
        assert asking.ask(HELLO, max_output=5, schema=SCHEMA, timeout_s=10).text == "{}"
        assert asking.ask(HELLO, max_output=5, schema=SCHEMA, timeout_s=10).text == "[]"
    sent = [asked.get("response_format") for asked in server.asked]
    assert sent == [{"type": "json_schema", "json_schema": {"name": "Survey", "schema": SCHEMA}}, None, None]


def test_a_request_that_is_refused_with_and_without_schema_blames_no_schema() -> None:
    with serving(refused(400, "usage")) as server:
        asking = backbone(server.url)
        with pytest.raises(NoAnswer, match="refused"):
            asking.ask(HELLO, max_output=5, schema=SCHEMA, timeout_s=10)
    assert asking.takes_schemas


def test_a_prompt_that_is_too_long_teaches_the_context_of_the_model() -> None:
    said = "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"
    with serving(refused(400, "BadRequestError", said)) as server:
        asking = backbone(server.url)
        with pytest.raises(NoAnswer) as caught:
            asking.ask(HELLO, max_output=5, schema=SCHEMA, timeout_s=10)
    assert (caught.value.kind, caught.value.final, asking.context, len(server.asked)) == ("refused", False, 2048, 1)


@pytest.mark.parametrize(
    ("reply", "kind", "final"),
    [
        (refused(429, "budget_exceeded"), "spent", True),
        (refused(429, "insufficient_quota"), "spent", True),
        (refused(429, "upstream_busy"), "broken", False),
        (refused(503, "upstream_broken"), "broken", False),
        (refused(502, "upstream_unauthorised"), "refused", True),
        (refused(404, "model_not_found"), "refused", True),
        (refused(401, "unauthorised"), "refused", True),
        (refused(413, "too_large"), "refused", False),
        (Reply(status=500, raw=b"<html>oh</html>"), "broken", False),
        (Reply(status=500, raw=b"[1]"), "broken", False),
        (Reply(status=500, body={"error": "plain"}), "broken", False),
        (Reply(raw=b""), "broken", False),
        (Reply(raw=b"no json"), "broken", False),
        (Reply(body={"choices": []}), "broken", False),
        (Reply(body={"choices": [{"message": "x"}]}), "broken", False),
        (Reply(body=[]), "broken", False),
        (Reply(raw=b"[" * 100_000), "broken", False),
        (Reply("x" * (MOST_BYTES + 1)), "broken", False),
        (Reply(hang_up=True), "unreachable", False),
    ],
)
def test_what_is_no_answer_has_a_kind(reply: Reply, kind: str, final: bool) -> None:
    with serving(reply) as server, pytest.raises(NoAnswer) as caught:
        ask(server.url)
    assert (caught.value.kind, caught.value.final) == (kind, final)


@pytest.mark.parametrize("said", [None, 3, {"a": 1}])
def test_content_that_is_no_text_is_an_empty_answer(said: object) -> None:
    with serving(Reply(body={"choices": [{"message": {"content": said}}]})) as server:
        assert ask(server.url).text == ""


def test_an_answer_that_does_not_come_or_never_ends_is_late() -> None:
    held = threading.Event()
    with serving(Reply(hold=held), Reply(drip=True)) as server:
        for _ in range(2):
            with pytest.raises(NoAnswer, match="late"):
                ask(server.url, timeout_s=0.3)
        held.set()


def test_nobody_at_the_address_is_unreachable_after_a_few_tries_and_a_restart_is_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(NoAnswer, match="unreachable"):
        ask(url)
    with serving(Reply(hang_up=True), Reply("back")) as server:
        assert ask(server.url).text == "back"


def test_the_environment_of_a_run_names_the_backbone() -> None:
    told = {"LLM_BASE_URL": "http://127.0.0.1:7789/v1", "LLM_API_KEY": "k", "LLM_MODEL": "m", "DOJO_LLM_CONTEXT": "4096"}
    found = Backbone.from_environment({**told, "DOJO_LLM_MAX_OUTPUT": "900"})
    assert found is not None and (found.model, found.context, found.max_output) == ("m", 4096, 900)
    assert Backbone.from_environment({}) is None
    with pytest.raises(ValueError, match="submit with --backbone"):
        Backbone.from_environment({"LLM_BASE_URL": "http://x/v1"})
    with pytest.raises(ValueError, match="must be an http address"):
        Backbone("file:///etc/passwd", "", "m")
