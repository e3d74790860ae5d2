"""What users see where there is no Docker engine, or one that cannot be used."""

import pytest

from harness.sandbox import engine
from harness.sandbox.base import SandboxSpec
from harness.sandbox.docker import DockerBackend
from harness.sandbox.docker_checks import checks
from harness.spec.errors import MissingError
from harness.spec.task import Limits


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine._client.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_a_missing_engine_is_an_error_with_a_remedy_and_leaves_nothing() -> None:
    backend = DockerBackend()
    with pytest.raises(MissingError, match="no Docker engine answers") as caught:
        backend.create(SandboxSpec("unit-no-engine", Limits()))
    assert "scripts/engine.sh" in caught.value.hint
    assert "unit-no-engine" not in backend.list()


def test_doctor_says_so() -> None:
    (only,) = checks()
    assert not only.ok and only.hint


def test_destroying_what_never_was_needs_no_engine() -> None:
    DockerBackend().destroy("unit-never-existed")


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.1.2.3:2376")
    with pytest.raises(MissingError, match=r"tcp://10.1.2.3:2376.*another machine"):
        engine.client()


def test_security_options_are_read_by_name() -> None:
    found = {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless", "name=cgroupns"]}
    assert engine.security(found) == {"seccomp", "rootless", "cgroupns"}
    assert engine.security({"SecurityOptions": None}) == set()
