"""What a promise is, and the stage on which it is tried."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.sandbox.base import Backend, ExecResult, Mount, Relay, Sandbox, SandboxSpec
from harness.spec.task import Limits

# Generous, because suites run on loaded machines; a promise that is kept takes a fraction of it.
PATIENCE_S = 60.0
LIMITS = Limits(cpus=2.0, memory_mb=512, pids=128, disk_mb=128, open_files=1024)


class PromiseBroken(AssertionError):
    """A backend does not do what it promises; the message says what was seen."""


@dataclass(frozen=True)
class Promise:
    """One promise: ``group`` is what a weaker backend may leave out as a whole."""

    group: str
    name: str
    check: Callable[[Stage], None]

    def __str__(self) -> str:
        return f"{self.group}-{self.name}"


PROMISES: list[Promise] = []
# What these try (mounting, killing every process, fork bombs) would be done to the host itself where nothing isolates.
HARMFUL_WITHOUT_ISOLATION = frozenset({"isolation", "interfaces", "users", "memory", "pids", "cpu", "disk"})
_NAMESPACES = ("pid", "mnt", "net", "ipc")


def promise(group: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add the decorated function to the suite."""

    def add(check: Callable[[Stage], None]) -> Callable[[Stage], None]:
        @functools.wraps(check)
        def guarded(stage: Stage) -> None:
            if group in HARMFUL_WITHOUT_ISOLATION:
                stage.require_isolation()
            check(stage)

        PROMISES.append(Promise(group, check.__name__, guarded))
        return guarded

    return add


def expect(kept: bool, seen: object) -> None:
    """Say that a promise is broken unless ``kept``."""
    if not kept:
        raise PromiseBroken(f"seen: {seen!r}"[:4000])


@contextlib.contextmanager
def expect_error(kind: type[Exception], code: str = "") -> Iterator[None]:
    """The block must raise ``kind``, with this ``code`` if one is given."""
    try:
        yield
    except kind as exc:
        expect(not code or getattr(exc, "code", "") == code, exc)
        return
    raise PromiseBroken(f"no {kind.__name__} was raised")


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise PromiseBroken(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.01)


def sh(sandbox: Sandbox, script: str, timeout_s: float = PATIENCE_S) -> ExecResult:
    """Run a shell script as the agent."""
    return sandbox.exec(["sh", "-c", script], timeout_s=timeout_s)


def text(sandbox: Sandbox, script: str) -> str:
    """Run a shell script that must end well and return what it printed."""
    result = sh(sandbox, script)
    expect(result.ok, result)
    return result.stdout.decode().strip()


def python(sandbox: Sandbox, program: str, timeout_s: float = PATIENCE_S) -> ExecResult:
    """Run a Python program as the agent."""
    return sandbox.exec(["python3", "-c", program], timeout_s=timeout_s)


class Stage:
    """A backend, a folder of the host for mounts and sockets, and one sandbox that most promises share."""

    _numbers = itertools.count()

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.folder = folder
        self._shared: Sandbox | None = None
        self._isolation_seen = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self._shared is not None:
            self._shared.close()

    @property
    def sandbox(self) -> Sandbox:
        """The shared sandbox; made anew when a promise has left it dead."""
        if self._shared is None or not self._shared.alive():
            if self._shared is not None:
                self._shared.close()
            self._shared = self.backend.create(self.spec())
        return self._shared

    def require_isolation(self) -> None:
        """Refuse to go on where an attack would hit the host: the backend says so, or a look at its namespaces shows it.

        Raises:
            PromiseBroken: it does not isolate.
        """
        if not getattr(self.backend, "isolates", True):
            raise PromiseBroken(f"{self.backend.name} isolates nothing; trying this would harm the host")
        if self._isolation_seen:
            return
        for name in _NAMESPACES:
            inside = self.sandbox.exec(["readlink", f"/proc/self/ns/{name}"], timeout_s=PATIENCE_S)
            if not inside.ok or inside.stdout.decode().strip() == os.readlink(f"/proc/self/ns/{name}"):
                raise PromiseBroken(f"the {name} namespace is the host's own ({inside}); trying this would harm the host")
        self._isolation_seen = True

    def new_id(self) -> str:
        """Return an id that nothing else has."""
        return f"contract-{os.getpid()}-{next(self._numbers)}"

    def spec(self, *, limits: Limits = LIMITS, mounts: Sequence[Mount] = (), relays: Sequence[Relay] = ()) -> SandboxSpec:
        """Return a specification with a new id."""
        return SandboxSpec(self.new_id(), limits, tuple(mounts), tuple(relays))

    @contextlib.contextmanager
    def new(self, *, limits: Limits = LIMITS, mounts: Sequence[Mount] = (), relays: Sequence[Relay] = ()) -> Iterator[Sandbox]:
        """A sandbox of its own for one promise."""
        sandbox = self.backend.create(self.spec(limits=limits, mounts=mounts, relays=relays))
        try:
            yield sandbox
        finally:
            sandbox.close()

    def host_folder(self) -> Path:
        """Return a new folder of the host that any user may enter."""
        folder = self.folder / f"host-{next(self._numbers)}"
        folder.mkdir(mode=0o755)
        return folder
