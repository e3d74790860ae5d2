"""`dojo cluster install` and `uninstall` against a cluster in memory; tests/kubernetes has the real one."""

import base64
from typing import Any

import pytest

from harness.cluster import uninstall as module
from harness.cluster.install import Plan, install
from harness.cluster.uninstall import uninstall
from harness.spec.errors import MissingError, NotFoundError, UsageError
from tests.unit.cluster.fake_cluster import FakeCluster, use

_WITH = Plan(with_postgres=True)
_SERVICE = ("Deployment", "dojo", "dojo-service")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(module, "open_runs", list)
    return use(monkeypatch)


def quiet(text: str) -> None:
    """Hear nothing."""


def value(fake: FakeCluster, name: str, key: str) -> str:
    return base64.b64decode(fake.held["Secret", "dojo", name]["data"][key]).decode()


def test_installing_twice_changes_nothing_the_second_time(fake: FakeCluster) -> None:
    assert {step.did for step in install(_WITH, quiet)} == {"created"}
    assert {step.did for step in install(_WITH, quiet)} == {"unchanged"}


def test_nothing_that_is_told_holds_the_password_or_the_address(fake: FakeCluster) -> None:
    told: list[str] = []
    steps = install(_WITH, told.append)
    password, url = value(fake, "dojo-postgres", "password"), value(fake, "dojo-database", "url")
    assert len(password) > 30 and url == f"postgresql://dojo:{password}@10.96.0.7:5432/dojo"
    said = "\n".join([*told, *map(str, steps)])
    assert "Secret dojo-postgres" in said and password not in said and url not in said
    others = [body for (kind, _, _), body in fake.held.items() if kind != "Secret"]
    assert password not in str(others)


def test_the_password_of_a_database_with_data_is_kept_when_all_else_was_taken_away(fake: FakeCluster) -> None:
    install(_WITH, quiet)
    before = value(fake, "dojo-postgres", "password")
    uninstall(quiet)
    install(_WITH, quiet)
    assert value(fake, "dojo-postgres", "password") == before


def test_a_database_that_came_along_stays_when_the_flag_is_not_said_again(fake: FakeCluster) -> None:
    install(_WITH, quiet)
    assert {step.did for step in install(Plan(), quiet)} == {"unchanged"}


def test_without_a_database_nothing_is_started_and_the_remedy_is_named(fake: FakeCluster) -> None:
    with pytest.raises(MissingError, match="dojo-database") as caught:
        install(Plan(), quiet)
    assert "--with-postgres" in caught.value.hint and _SERVICE not in fake.held


def test_a_secret_that_somebody_made_is_used_and_left_alone(fake: FakeCluster) -> None:
    made = {"kind": "Secret", "metadata": {"name": "dojo-database", "namespace": "dojo"}, "data": {"url": "eA=="}}
    fake.held["Secret", "dojo", "dojo-database"] = made
    steps = install(Plan(), quiet)
    assert not [step for step in steps if step.kind == "Secret"] and fake.held["Secret", "dojo", "dojo-database"] == made
    uninstall(quiet, data=True)
    assert list(fake.held) == [("Secret", "dojo", "dojo-database")]


def test_an_address_of_something_else_is_refused_without_repeating_it(fake: FakeCluster) -> None:
    with pytest.raises(UsageError) as caught:
        install(Plan(database="mysql://me:secret@db/x"), quiet)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "again",
    [
        Plan(database="postgresql://me:other@db/dojo"),
        Plan(chosen={"DOJO_K8S_DISK": "node"}, database="postgresql://me:x@db/dojo"),
    ],
    ids=["another address", "another setting"],
)
def test_the_service_is_started_anew_when_what_it_reads_has_changed(fake: FakeCluster, again: Plan) -> None:
    install(Plan(database="postgresql://me:x@db/dojo"), quiet)
    steps = install(again, quiet)
    assert [step.did for step in steps if step.kind == "Deployment"] == ["changed"]


def test_what_an_overlay_does_not_have_any_more_is_told(fake: FakeCluster) -> None:
    install(Plan("gpu-cluster", {}, None, True), quiet)
    left = {(step.kind, step.name) for step in install(Plan("single-node", {}, None, True), quiet) if step.did == "left"}
    assert left >= {("ClusterQueue", "dojo"), ("PodDisruptionBudget", "dojo-service")}


def test_queues_are_refused_before_anything_is_made_where_there_is_no_kueue(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, kueue=False)
    with pytest.raises(MissingError, match="Kueue"):
        install(Plan("gpu-cluster", {}, None, True), quiet)
    assert not fake.held


def test_a_dry_run_keeps_nothing(fake: FakeCluster) -> None:
    assert {step.did for step in install(_WITH, quiet, dry=True)} == {"created"}
    assert not fake.held


def test_an_unknown_overlay_names_those_there_are(fake: FakeCluster) -> None:
    with pytest.raises(NotFoundError, match="singel-node") as caught:
        install(Plan("singel-node"), quiet)
    assert "single-node" in caught.value.hint


def test_uninstall_keeps_what_holds_data_and_removes_the_rest(fake: FakeCluster) -> None:
    install(_WITH, quiet)
    uninstall(quiet)
    kept = {kind for kind, _, _ in fake.held}
    assert kept == {"Namespace", "PersistentVolume", "PersistentVolumeClaim", "Secret"}
    uninstall(quiet, data=True)
    assert not fake.held


def test_uninstall_is_refused_while_runs_are_open(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    install(_WITH, quiet)
    before = dict(fake.held)
    monkeypatch.setattr(module, "open_runs", lambda: ["r1", "sandbox sb-r1"])
    with pytest.raises(MissingError, match="r1, sandbox sb-r1") as caught:
        uninstall(quiet, data=True)
    assert caught.value.code == "runs_open" and fake.held == before
    ended: list[Any] = []
    monkeypatch.setattr(module, "_end_runs", ended.append)
    uninstall(quiet, end_runs=True)
    assert ended and _SERVICE not in fake.held
