"""Opening what a user points at: a results directory, or the folder of a single run that somebody copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.spec.errors import StoreError
from harness.spec.outcome import Cause, RunState
from harness.spec.progress import Progress
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.store.base import Lease, ReindexReport, Store
from harness.store.database import SqlStore
from harness.store.folders import Home
from harness.store.index import Index


def open_store(path: Path, url: str | None = None, *, warn: Progress | None = None) -> Store:
    """Open a results directory, or a single run's folder as a store of one run, which can only be looked at."""
    return SingleRun(path, warn=warn) if is_run_folder(path) else SqlStore(path, url, warn=warn)


def is_run_folder(path: Path) -> bool:
    """Whether ``path`` is one run's folder rather than a results directory."""
    return (path / "run.json").is_file() and not (path / "batches").exists()


class SingleRun(Index):
    """One run's folder as a store: everything that looks works, everything that changes is refused."""

    def __init__(self, path: Path, *, warn: Progress | None = None) -> None:
        super().__init__(Home(path, single=True), None, warn)

    def close(self) -> None:
        """Nothing is held."""

    def holders(self, runs: Sequence[str]) -> dict[str, str]:
        """Nobody drives a copy."""
        return {}

    def holder(self, run: str) -> str | None:
        """Nobody drives a copy."""
        return None

    def add_batch(self, batch: str, name: str, specs: Sequence[RunSpec], settings: dict[str, Any]) -> None:
        """Refused."""
        self._refuse()

    def record_state(self, run: str, state: RunState, *, cause: Cause | None = None) -> None:
        """Refused."""
        self._refuse()

    def record_result(self, result: RunResult) -> None:
        """Refused."""
        self._refuse()

    def claim(self, run: str) -> Lease:
        """Refused."""
        self._refuse()

    def request_cancel(self, run: str) -> None:
        """Refused."""
        self._refuse()

    def tag(self, references: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Refused."""
        self._refuse()

    def exclude(self, run: str, why: str) -> None:
        """Refused."""
        self._refuse()

    def include(self, run: str) -> None:
        """Refused."""
        self._refuse()

    def remove(self, references: Iterable[str]) -> None:
        """Refused."""
        self._refuse()

    def reindex(self, progress: Progress | None = None) -> ReindexReport:
        """Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreError(
            f"{self.home} is a single run's folder, which can only be looked at", hint="set DOJO_HOME to a results directory"
        )
