"""Runs that think: through the real gateway, to an upstream over real HTTP, killed in mid-stream, recorded and played again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.gateway.ledger import Ledger
from harness.gateway.recording import Recording
from harness.spec.event import Event, LlmCalled, LlmOutage, LlmRefused, LlmReserved
from harness.store.kept import KeptFiles
from tests.e2e.conftest import HAND_IN_BASE, Commands

pytestmark = pytest.mark.e2e

KEY = "sk-planted-4f1b9c7e2a6d8035"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}

# Asks twice: once whole, once streamed; a connection that is lost is tried again, as every client does.
THINKER = (
    HAND_IN_BASE
    + """
import http.client, urllib.error, urllib.request
def ask(text, stream):
    body = {"model": os.environ["LLM_MODEL"], "messages": [{"role": "user", "content": text}], "stream": stream, "max_tokens": 50}
    request = urllib.request.Request(
        os.environ["LLM_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {"Authorization": "Bearer " + os.environ["LLM_API_KEY"], "Content-Type": "application/json"})
    for attempt in range(200):
        try:
            with urllib.request.urlopen(request) as response:
                said = b""
                while piece := response.read1(65536):
                    if not said:
                        api.note("first bytes of " + text)
                    said += piece
                if not stream or b"[DONE]" in said:
                    return said.decode()
        except urllib.error.HTTPError as exc:
            return exc.read().decode()
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise SystemExit("no answer")
answers = [ask("whole", False), ask("streamed", True)]
open("answers.json", "w").write(json.dumps(answers))
print(answers, os.environ, file=sys.stderr)
api.submit("/workspace/out")
"""
)


class Upstream:
    """An OpenAI-compatible server that says the key it was given back to whoever asked, and holds streams while it is told to."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(data)
                said = f"You are {self.headers['Authorization']}"
                head = {"id": "c1", "created": 1, "model": "m"}
                if not json.loads(data).get("stream"):
                    message = {"role": "assistant", "content": said}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    self._send(json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode())
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                chunk = {**head, "object": "chat.completion.chunk"}
                for delta, end in (({"role": "assistant", "content": said}, None), ({}, "stop")):
                    self._event({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
                    outer.let_go.wait(60)
                self._event({**chunk, "choices": [], "usage": USAGE})
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def _event(self, value: object) -> None:
                self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
                self.wfile.flush()

            def _send(self, data: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def thinking(dojo: Commands, folder: Path, upstream: Upstream, *more: str) -> list[str]:
    """Return the command for a run with a backbone over HTTP, whose key is planted."""
    file = folder / "dojo.toml"
    file.write_text(
        f'[backbones.standin]\nupstream = "openai"\nmodel = "m"\nbase_url = "{upstream.url}"\nkey = "STANDIN_KEY"\n'
        "[backbones.standin.prices]\ninput = 1.0\noutput = 2.0\n"
    )
    dojo.environ |= {"DOJO_CONFIG": str(file), "STANDIN_KEY": KEY}
    return dojo.submit(dojo.agent("thinker", THINKER, backbone="required"), "--backbone", "standin", *more)


def book(dojo: Commands) -> Ledger:
    """Fold the run's events."""
    ledger = Ledger()
    for event in map(Event.model_validate, dojo.events()):
        if isinstance(event.data, LlmReserved | LlmCalled | LlmRefused | LlmOutage):
            ledger = ledger.after(event.data)
    return ledger


def test_the_key_is_nowhere_though_the_upstream_echoes_it_and_the_costs_are_everywhere(dojo: Commands, tmp_path, upstream):
    upstream.let_go.set()
    planned = dojo(*thinking(dojo, tmp_path, upstream, "--budget", "dollars=0.5"), "--dry-run").data
    assert planned["max_dollars"] == 0.5
    answer = dojo(*dojo.submit(dojo.agents / "thinker", "--backbone", "standin", "--budget", "dollars=0.5"))
    assert answer.code == 0, answer
    run = answer.data["runs"][0]
    assert run["budget"]["tokens"]["used"] == 30 and run["budget"]["dollars"]["used"] == pytest.approx(2 * (12 + 6) / 1e6)
    shown = dojo("show", run["id"]).data
    assert shown["usage"]["requests"] == 2 and shown["backbone"] == {"calls": 2, "answered": 2, "refused": 0, "outage_s": 0.0}
    assert dojo("leaderboard").data["rows"][0]["tokens"] == 30
    told = json.loads(KeptFiles(dojo.run_folder() / "workspace.zip").read("answers.json"))
    assert all("You are Bearer" in text for text in told)
    texts = [answer.stderr, json.dumps(answer.document), json.dumps(shown), json.dumps(told)]
    texts += [dojo(*command).stderr + str(dojo(*command).document) for command in (("status",), ("backbones", "list"))]
    files = [path for root in (dojo.home, dojo.agents) for path in root.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert not [text for text in texts if KEY in text]


def test_a_harness_killed_in_mid_stream_is_resumed_and_its_book_balances(dojo: Commands, tmp_path, upstream):
    process = dojo.start(*thinking(dojo, tmp_path, upstream, "--budget", "tokens=10000"), "--json")
    dojo.wait_for(lambda events: any("first bytes of streamed" in str(e["data"].get("text")) for e in events))
    dojo.kill(process)
    crashed = book(dojo)
    assert len(crashed.open) == 1 and crashed.answered == 1
    upstream.let_go.set()
    resumed = dojo("resume")
    assert resumed.code == 0, resumed
    after = book(dojo)
    assert list(after.open) == list(crashed.open) and after.answered == 2 and after.last == 3
    assert after.spent_tokens == 30 + next(iter(after.open.values())).tokens
    assert resumed.data["runs"][0]["budget"]["tokens"]["used"] == after.spent_tokens
    assert resumed.data["runs"][0]["outcome"]["cause"] == "completed"


def test_a_run_is_left_as_it_is_where_its_key_is_not_and_goes_on_where_it_is(dojo: Commands, tmp_path, upstream):
    upstream.let_go.set()
    command = thinking(dojo, tmp_path, upstream)
    key = dojo.environ.pop("STANDIN_KEY")
    refused = dojo(*command)
    assert refused.code == 3 and "STANDIN_KEY" in refused.error["message"] + refused.error["hint"]
    dojo.environ["STANDIN_KEY"] = key
    process = dojo.start(*command, "--json")
    dojo.wait_for(lambda events: any(e["kind"] == "state" for e in events))
    dojo.kill(process)
    del dojo.environ["STANDIN_KEY"]
    assert dojo("resume").code == 3
    assert dojo("status").data["runs"][0]["state"] in ("queued", "preparing", "running")
    dojo.environ["STANDIN_KEY"] = key
    assert dojo("resume").data["runs"][0]["state"] == "done"


def test_an_agent_that_never_calls_the_backbone_it_requires_is_measured_and_flagged(dojo: Commands, tmp_path):
    script = tmp_path / "script.toml"
    script.write_text('[[replies]]\ntext = "hello"\n')
    agent = dojo.agent("silent", HAND_IN_BASE + 'api.submit("/workspace/out")\n', backbone="required")
    answer = dojo(*dojo.submit(agent, "--backbone", f"scripted:{script}"))
    assert answer.data["runs"][0]["state"] == "done"
    assert dojo("show", "@last").data["integrity"]["backbone_never_called"] is True
    assert dojo("leaderboard").data["rows"][0]["silent"] == 1
    assert str(tmp_path) not in (dojo.run_folder() / "run.json").read_text()


def test_a_recorded_run_is_played_again_without_its_upstream_byte_for_byte(dojo: Commands, tmp_path, upstream):
    upstream.let_go.set()
    first = dojo(*thinking(dojo, tmp_path, upstream))
    recorded = dojo.run_folder()
    upstream.close()
    second = dojo(*dojo.submit(dojo.agents / "thinker", "--backbone", f"replay:{recorded.name}"))
    assert second.code == 0, (second, first)
    played = next(folder for folder in dojo.home.glob("batches/*/runs/*") if folder != recorded)
    before, after = (list(Recording(folder / "private/llm").read()) for folder in (recorded, played))
    assert len(before) == 2
    asked = [(e.request, e.path, json.dumps(e.body, sort_keys=True), e.answer) for e in before]
    assert asked == [(e.request, e.path, json.dumps(e.body, sort_keys=True), e.answer) for e in after]
    told = [KeptFiles(folder / "workspace.zip").read("answers.json") for folder in (played, recorded)]
    assert told[0] == told[1]
