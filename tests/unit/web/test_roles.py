"""Roles × routes, and what of one user's another sees."""

import dataclasses
import gc
import json

import pytest

from harness.spec.accounts import Quota
from harness.spec.errors import AccessDenied
from harness.spec.event import Failed, Noted
from tests.unit.web.conftest import GOOD, Replica, archive
from tests.unit.web.test_replicas import until

ALL, SUBMIT, OWN, OPERATE = ("ann", "bob", "eve", "root"), ("ann", "bob", "root"), ("ann", "root"), ("root",)

ROUTES = [
    ("GET", "/v1/about", ALL),
    ("GET", "/v1/leaderboard", ALL),
    ("GET", "/v1/compare?a=x&b=y", ALL),
    ("GET", "/v1/resolve?reference=@last", ALL),
    ("POST", "/v1/runs/search", ALL),
    ("POST", "/v1/batches/search", ALL),
    ("GET", "/v1/status/RUN", ALL),
    ("GET", "/v1/tasks", ALL),
    ("GET", "/v1/task?id=math/aime25", ALL),
    ("GET", "/v1/agents", ALL),
    ("GET", "/v1/backbones", ALL),
    ("GET", "/v1/models", ALL),
    ("GET", "/metrics", ALL),
    ("POST", "/v1/plans", SUBMIT),
    ("POST", "/v1/agents?name=a", SUBMIT),
    ("POST", "/v1/batches", SUBMIT),
    ("GET", "/v1/plans/none/power", SUBMIT),
    ("POST", "/v1/cancel/RUN", OWN),
    ("POST", "/v1/tags/RUN", OWN),
    ("GET", "/v1/report/BATCH", OWN),
    ("GET", "/v1/runs/RUN", OWN),
    ("GET", "/v1/runs/RUN/events", OWN),
    ("GET", "/v1/runs/RUN/output/stdout", OWN),
    ("GET", "/v1/runs/RUN/talk", OWN),
    ("GET", "/v1/runs/RUN/trajectory", OWN),
    ("GET", "/v1/runs/RUN/files", OWN),
    ("GET", "/v1/runs/RUN/file?name=x", OWN),
    ("POST", "/v1/exclude/RUN", OPERATE),
    ("POST", "/v1/include/RUN", OPERATE),
    ("GET", "/v1/audit", OPERATE),
]


def test_each_route_is_open_to_the_roles_that_it_is_for_and_to_no_other(replica: Replica):
    batch, (run,) = replica.batch("ann")
    for method, path, allowed in ROUTES:
        path = path.replace("RUN", run).replace("BATCH", batch)
        for user in ALL:
            said = replica.ask(user, method, path, **({"json": {}} if method == "POST" else {}))
            assert (said.status_code == 403) == (user not in allowed), (method, path, user, said.status_code, said.text)
            if said.status_code == 403:
                assert said.json()["error"]["code"] == "forbidden" and said.json()["error"]["hint"]


def test_requests_that_are_refused_are_not_kept(replica: Replica):
    """An error that is raised again holds on to every request that it was raised for."""
    replica.tokens["nobody"] = "dojo_1_2"
    for _ in range(3):
        assert replica.ask("nobody", "GET", "/v1/about").json()["error"]["code"] == "unknown_token"
    gc.collect()
    assert [e for e in gc.get_objects() if isinstance(e, AccessDenied) and e.code == "unknown_token"] == []


def test_others_see_where_a_run_stands_and_nothing_that_its_agent_wrote(replica: Replica):
    _, (run,) = replica.batch("ann")
    replica.dojo.store.files(run).append(Noted(text="my secret idea"))
    assert "my secret idea" in replica.ask("ann", "GET", f"/v1/status/{run}").text
    for user in ("bob", "eve"):
        assert "my secret idea" not in replica.ask(user, "GET", f"/v1/status/{run}").text


def test_an_upload_is_its_users_alone(replica: Replica):
    toml = GOOD.replace(b"run.sh", b"agent.toml")
    said = replica.ask("ann", "POST", "/v1/agents?name=mine", content=archive(("mine/agent.toml", toml)))
    assert said.status_code == 201, said.text
    agent = said.json()["agent"]
    matrix = {"matrix": {"agents": [{"name": agent}], "tasks": ["math/none"]}}
    assert "no task" in replica.ask("ann", "POST", "/v1/plans", json=matrix).text
    for user in ("bob", "root"):
        assert "has no upload" in replica.ask(user, "POST", "/v1/plans", json=matrix).text


def test_a_users_uploads_are_bounded_and_those_unused_for_longest_go(replica: Replica):
    replica.site.limits = dataclasses.replace(replica.site.limits, kept_bytes=150_000)
    toml = GOOD.replace(b"run.sh", b"agent.toml")

    def upload(user: str, filling: bytes) -> str:
        content = archive(("mine/agent.toml", toml), ("mine/data", filling * 60_000))
        said = replica.ask(user, "POST", "/v1/agents?name=mine", content=content)
        assert said.status_code == 201, said.text
        return str(said.json()["agent"])

    def there(user: str, agent: str) -> bool:
        matrix = {"matrix": {"agents": [{"name": agent}], "tasks": ["math/none"]}}
        return "has no upload" not in replica.ask(user, "POST", "/v1/plans", json=matrix).text

    bobs = upload("bob", b"a")
    first, second = upload("ann", b"a"), upload("ann", b"b")
    assert upload("ann", b"a") == first, "and was used now"
    third = upload("ann", b"c")
    assert [there("ann", each) for each in (first, second, third)] == [True, False, True] and there("bob", bobs)


def test_what_is_told_of_events_has_no_folder_no_traceback_and_no_control_character(replica: Replica):
    _, (run,) = replica.batch("ann")
    folder = replica.dojo.store.files(run)
    folder.append(Failed(where="x", message=f"cannot write {replica.dojo.home}/a \x1b]0;\u2028<script>", traceback="File /x"))
    text = replica.ask("ann", "GET", f"/v1/runs/{run}/events").text
    assert "cannot write $DOJO_HOME/a" in text and str(replica.dojo.home) not in text and "File /x" not in text
    assert text.isascii() and text.isprintable()


def test_answers_are_never_pages(replica: Replica):
    said = replica.ask("ann", "GET", "/v1/about")
    assert said.headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in said.headers["content-security-policy"]


@pytest.mark.parametrize("given, kept", [("abc-1", True), ("a b", False), ("x" * 65, False)])
def test_a_request_keeps_the_id_that_it_brings_where_that_is_one(replica: Replica, given: str, kept: bool):
    assert (replica.ask("ann", "GET", "/v1/about", headers={"x-request-id": given}).headers["x-request-id"] == given) == kept


def test_who_did_what_is_written_down_with_its_request_and_without_tokens(replica: Replica, capfd: pytest.CaptureFixture[str]):
    _, (run,) = replica.batch("ann")
    replica.stage.open(run)
    replica.site.wake.set()
    until(lambda: replica.dojo.store.run(run).state.final)
    replica.ask("bob", "POST", f"/v1/cancel/{run}", headers={"x-request-id": "r-1"})
    replica.ask("ann", "POST", f"/v1/cancel/{run}", headers={"x-request-id": "r-2"})
    entries = [e for e in replica.ask("root", "GET", "/v1/audit").json() if e["action"] == "cancel"]
    assert [(e["user"], e["outcome"], e["request"]) for e in entries] == [("ann", "ok", "r-2"), ("bob", "forbidden", "r-1")]
    log = ""

    def written() -> bool:  # a line is written after its answer
        nonlocal log
        log += capfd.readouterr().err
        return '"id": "r-2"' in log

    until(written)
    assert all(json.loads(line) for line in log.splitlines())
    assert not any(token.rpartition("_")[2] in log + json.dumps(entries) for token in replica.tokens.values())


def test_a_quota_is_named_where_it_is_refused(replica: Replica):
    replica.dojo.set_quota("ann", {"runs_at_once": 0})
    assert replica.dojo.account("ann").quota == Quota(runs_at_once=0)
    said = replica.ask("ann", "GET", "/v1/about").json()
    assert said["account"]["quota"]["runs_at_once"] == 0
