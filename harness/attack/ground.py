"""Where attacks are played: a backend with a stage of its own, folders that go away, and whole runs when they are asked for."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.sandbox.base import Backend
from harness.sandbox.contract import Stage
from harness.spec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from harness.attack.runs import WholeRuns


class Ground:
    """Everything an attack may use. Closing it removes every sandbox and file it made.

    Args:
        backend: where sandboxes are made.
        cache: where the base model lies from which the whole runs' small one is made.

    Raises:
        UsageError: the backend isolates nothing: what attacks try would be done to this host.
        MissingError: the backend is not to be had here.
    """

    def __init__(self, backend: Backend, cache: Path) -> None:
        require_isolating(backend)
        self.backend, self._cache = backend, cache
        self._temporary = tempfile.TemporaryDirectory(prefix="dojo-attack-", ignore_cleanup_errors=True)
        self._root = Path(self._temporary.name)
        self._root.chmod(0o755)
        self._numbers = itertools.count()
        self._stage = Stage(backend, self.folder())
        self._runs: WholeRuns | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything."""
        self._stage.__exit__(None, None, None)
        if self._runs is not None:
            self._runs.close()
        self._temporary.cleanup()

    @property
    def stage(self) -> Stage:
        """The contract's stage; a look at its namespaces has shown that it isolates."""
        self._stage.require_isolation()
        return self._stage

    @property
    def runs(self) -> WholeRuns:
        """The whole runs with hostile agents; each is made when it is first asked for."""
        if self._runs is None:
            from harness.attack.runs import WholeRuns

            self._runs = WholeRuns(self.backend.name, self.folder(), self._cache)
        return self._runs

    def folder(self) -> Path:
        """Return a new folder of the host that any user may enter."""
        path = self._root / str(next(self._numbers))
        path.mkdir(mode=0o755)
        return path


def require_isolating(backend: Backend) -> None:
    """Refuse what cannot be attacked.

    Raises:
        UsageError: the backend isolates nothing.
        MissingError: something it needs is missing.
    """
    if not getattr(backend, "isolates", True):
        raise UsageError(
            f"{backend.name} isolates nothing: the attacks would hit this host",
            hint="choose a backend that isolates, as `--sandbox namespace`",
        )
    # graders have an image of their own; only whole runs need it, and planning one says so
    bad = next((check for check in backend.check() if not check.ok and check.name != "image grader"), None)
    if bad is not None:
        raise MissingError(f"sandbox {backend.name}: {bad.name}: {bad.detail}", hint=bad.hint)
