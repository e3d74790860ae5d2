"""A replica on a real port over a real database, with runs that are played."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="pip install 'dojo-bench[service]'")
pytest.importorskip("prometheus_client", reason="pip install 'dojo-bench[service]'")

from harness.executor.contract import Stage
from harness.executor.local import LocalExecutor
from harness.executor.slots import Slots
from harness.service import Dojo
from harness.spec.accounts import Role
from harness.web.serve import serve
from harness.web.site import Limits, Site
from tests.unit.store.conftest import postgres, server  # noqa: F401  fixtures


class Replica:
    """One server in a thread, and the users that every test knows."""

    def __init__(self, home: Path, database: str | None = None, limits: Limits | None = None) -> None:
        self.dojo = Dojo(home, home / "cache", database=database)
        self.stage = Stage(LocalExecutor, self.dojo.store)
        self.dojo._runner = lambda: self.stage.runner  # type: ignore[method-assign]
        self.site = Site(self.dojo, limits=limits or Limits(upload_bytes=256 * 1024))
        address: list[str] = []
        listening = threading.Event()
        told = lambda url: (address.append(url), listening.set())  # noqa: E731
        self.thread = threading.Thread(target=serve, args=(self.site, "127.0.0.1", 0, None, told), daemon=True)
        self.thread.start()
        assert listening.wait(30)
        self.url = address[0]
        self.tokens: dict[str, str] = {}

    def users(self) -> None:
        for user, role in (("ann", Role.SUBMITTER), ("bob", Role.SUBMITTER), ("eve", Role.VIEWER), ("root", Role.OPERATOR)):
            self.tokens[user] = self.dojo.create_token(user, role).token

    def ask(self, user: str, method: str, path: str, **given: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[user]}"} | dict(given.pop("headers", {}))  # type: ignore[call-overload]
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **given)  # type: ignore[arg-type]

    def batch(self, owner: str, runs: int = 1) -> tuple[str, list[str]]:
        return self.stage.batch(runs, settings={"owner": owner, "executor": "local"})

    def stop(self) -> None:
        self.site.draining.set()
        self.site.wake.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Replica]]:
    made: list[Replica] = []
    (tmp_path / "slots").mkdir()  # not this machine's, which others may hold
    local = lambda name, work: LocalExecutor(work, Slots(4, 4096, 0, tmp_path / "slots"))  # noqa: E731
    monkeypatch.setattr("harness.web.driving.get_executor", local)
    monkeypatch.setattr("harness.service.plans.get_executor", local)

    def make(**given: object) -> Replica:
        made.append(Replica(tmp_path / "home", **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for replica in made:
        replica.stop()


@pytest.fixture
def replica(replicas: Callable[..., Replica]) -> Replica:
    found = replicas()
    found.users()
    return found


def archive(*members: tuple[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of names with what is in them, or of members as they are given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, what in members:
            member = what if isinstance(what, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            data = b"" if isinstance(what, tarfile.TarInfo) else what
            if data:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


GOOD = b'name = "mine"\ncommand = ["sh", "/agent/run.sh"]\n'
