"""`dojo --server`: the commands over a real replica, and every way a service can fail them."""

import json
from collections.abc import Callable

import httpx
import pytest

import harness
from harness.cli.main import main
from harness.remote.client import Client
from harness.remote.dojo import RemoteDojo
from harness.spec.errors import AccessDenied, DojoError, MissingError, NotFoundError
from harness.spec.event import Noted
from tests.unit.web.conftest import Replica
from tests.unit.web.test_replicas import until

Call = Callable[..., tuple[int, dict]]


@pytest.fixture
def call(replica: Replica, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("DOJO_HOME", "/nowhere/here")

    def run(user: str, *args: str) -> tuple[int, dict]:
        monkeypatch.setenv("DOJO_TOKEN", replica.tokens[user])
        capsys.readouterr()
        code = main([*args, "--server", replica.url, "--json"])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_the_commands_say_over_a_service_what_they_say_at_its_machine(replica: Replica, call: Call):
    batch, (run,) = replica.batch("ann")
    replica.dojo.store.files(run).append(Noted(text="so far"))
    for args in (("status", batch), ("runs",), ("batches",), ("leaderboard",)):
        code, said = call("ann", *args)
        assert code == 0 and said["ok"] and said["schema"] == f"dojo/{args[0]}/v1", said
    assert call("ann", "runs")[1]["data"]["runs"][0]["id"] == run
    code, said = call("ann", "logs", run)
    assert code == 0 and said["data"]["text"] == "so far"
    assert call("ann", "cancel", "@last")[1]["data"] == {"cancelled": [run]}
    until(lambda: replica.dojo.store.run(run).state.final)


def test_an_error_has_the_code_and_exit_code_that_it_has_at_the_machine(replica: Replica, call: Call):
    _, (run,) = replica.batch("ann")
    for user, args, exit_code, code in (
        ("ann", ("show", "nothing"), 2, "not_found"),
        ("ann", ("show", run), 2, "usage"),
        ("ann", ("files", run), 3, "missing"),
        ("bob", ("files", run), 3, "forbidden"),
        ("ann", ("gc",), 2, "usage"),
        ("ann", ("doctor",), 2, "usage"),
    ):
        found, said = call(user, *args)
        assert (found, said["error"]["code"]) == (exit_code, code) and said["error"]["hint"], (args, found, said)


def test_events_are_followed_to_the_end_of_the_run(replica: Replica):
    _, (run,) = replica.batch("ann")
    replica.stage.open(run)
    replica.site.wake.set()
    kinds = [event.kind.value for event in RemoteDojo(replica.url, replica.tokens["ann"]).events(run, follow=True)]
    assert kinds[-2:] == ["outcome", "state"]


def test_a_service_that_is_gone_says_so():
    with pytest.raises(MissingError) as caught:
        RemoteDojo("http://127.0.0.1:9", "dojo_1_2").status()
    assert caught.value.code == "server_gone" and "DOJO_SERVER" in caught.value.hint


def test_a_wrong_token_says_where_one_comes_from(replica: Replica):
    with pytest.raises(AccessDenied) as caught:
        RemoteDojo(replica.url, "dojo_1_2").status()
    assert caught.value.code == "unknown_token" and "dojo tokens create" in caught.value.hint


def test_no_token_is_asked_for_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DOJO_TOKEN", raising=False)
    with pytest.raises(MissingError, match="no token"):
        RemoteDojo("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "kind"),
    [
        (200, {}, b"<html>", "no_service", MissingError),
        (200, {"dojo-api": "0", "dojo-version": "0.0.9"}, b"{}", "other_version", MissingError),
        (200, {"dojo-api": "9", "dojo-version": "9.0\x1b"}, b"{}", "other_version", MissingError),
        (200, {"dojo-api": "1"}, b"{", "no_service", MissingError),
        (302, {"dojo-api": "1", "location": "http://evil/"}, b"", "no_service", MissingError),
        (500, {"dojo-api": "1"}, b"[]", "no_service", MissingError),
        (404, {"dojo-api": "1"}, b'{"error": {"code": "not_found", "message": "m", "hint": "h"}}', "not_found", NotFoundError),
    ],
)
def test_what_is_no_service_of_this_version_is_told_with_a_remedy(
    status: int, headers: dict[str, str], body: bytes, code: str, kind: type[DojoError]
):
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    client = Client("http://there", "t", httpx.MockTransport(lambda _: httpx.Response(status, headers=raw, content=body)))
    with pytest.raises(kind) as caught:
        client.ask("GET", "/v1/about")
    assert caught.value.code == code and caught.value.hint and "\x1b" not in caught.value.message
    assert harness.__version__ in caught.value.message or code != "other_version"
