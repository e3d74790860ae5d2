"""The index of batches and runs: SQLite (WAL) by default, any SQLAlchemy URL otherwise.

The run folders are the truth; the database answers "which runs are there and where do they stand" without reading them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Integer, String, create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.outcome import RunState
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir


class _Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}


class BatchRow(_Base):
    """One submit."""

    __tablename__ = "batches"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[datetime]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class RunRow(_Base):
    """One run and where it stands."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    batch: Mapped[str] = mapped_column(ForeignKey("batches.id"), index=True)
    position: Mapped[int] = mapped_column(Integer)
    agent: Mapped[str] = mapped_column(String(200), index=True)
    task: Mapped[str] = mapped_column(String(200), index=True)
    profile: Mapped[str] = mapped_column(String(20))
    seed: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), index=True)
    cause: Mapped[str | None] = mapped_column(String(30))
    score: Mapped[float | None] = mapped_column(Float)
    ci_low: Mapped[float | None] = mapped_column(Float)
    ci_high: Mapped[float | None] = mapped_column(Float)
    updated: Mapped[datetime]


class Store:
    """The results directory with its database.

    Args:
        home: ``DOJO_HOME``; made if absent.
        url: an SQLAlchemy URL; default is SQLite in ``home``.
    """

    def __init__(self, home: Path, url: str | None = None) -> None:
        self.home = home
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(
                f"DOJO_HOME {home} cannot be made: {exc.strerror}", hint="set DOJO_HOME to a writable place"
            ) from exc
        self._engine = create_engine(url or f"sqlite:///{home / 'dojo.db'}")
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _use_wal)
        with self._errors():
            _Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Release the database's connections."""
        self._engine.dispose()

    def run_dir(self, batch: str, run: str) -> RunDir:
        """Return the folder of a run (it need not exist yet)."""
        return RunDir(self.home / "batches" / batch / "runs" / run)

    def add_batch(self, batch: str, name: str, specs: Sequence[RunSpec], settings: dict[str, Any]) -> None:
        """Record a batch with all its runs as queued, in one transaction. Their folders must exist already."""
        now = datetime.now(UTC)
        with self._session() as session:
            session.add(BatchRow(id=batch, name=name, created=now, settings=settings))
            session.flush()
            for position, spec in enumerate(specs):
                session.add(
                    RunRow(
                        id=spec.id,
                        batch=batch,
                        position=position,
                        agent=spec.agent.name,
                        task=spec.task.id,
                        profile=spec.task.profile,
                        seed=spec.seed,
                        state=RunState.QUEUED.value,
                        updated=now,
                    )
                )

    def update_run(self, run: str, **fields: Any) -> None:
        """Set columns of a run's row (state, cause, score, ci_low, ci_high)."""
        with self._session() as session:
            row = session.get(RunRow, run)
            if row is None:
                raise StoreError(f"run {run} is not in the database", hint="`dojo gc` lists folders without a row")
            for name, value in fields.items():
                setattr(row, name, value.value if isinstance(value, RunState) else value)
            row.updated = datetime.now(UTC)

    def batches(self) -> list[BatchRow]:
        """Return all batches, oldest first."""
        with self._session() as session:
            return list(session.scalars(select(BatchRow).order_by(BatchRow.created, BatchRow.id)))

    def runs(self, batch: str | None = None, task: str | None = None) -> list[RunRow]:
        """Return runs in order of submission, filtered."""
        query = select(RunRow).join(BatchRow, RunRow.batch == BatchRow.id)
        if batch:
            query = query.where(RunRow.batch == batch)
        if task:
            query = query.where(RunRow.task == task)
        with self._session() as session:
            return list(session.scalars(query.order_by(BatchRow.created, RunRow.batch, RunRow.position)))

    def resolve(self, reference: str, kind: str) -> str:
        """Turn an id, a unique prefix or ``@last`` into an id; ``kind`` is "batch", "run" or "any".

        Raises:
            NotFoundError: nothing matches, with "did you mean".
            UsageError: several match; names them.
        """
        batches = [b.id for b in self.batches()] if kind != "run" else []
        runs = [r.id for r in self.runs()] if kind != "batch" else []
        ids = batches + runs
        if reference == "@last":
            newest = batches or runs
            if not newest:
                raise NotFoundError(f"there is no {'batch' if kind == 'any' else kind} yet", hint="start one with `dojo submit`")
            return newest[-1]
        if reference in ids:
            return reference
        matches = [i for i in ids if i.startswith(reference)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UsageError(f"{reference!r} is not unique", hint=f"it may be {', '.join(matches[:6])}")
        raise NotFoundError.named("batch or run" if kind == "any" else kind, reference, ids)

    def run_row(self, run: str) -> RunRow:
        """Return one run's row by its whole id."""
        with self._session() as session:
            row = session.get(RunRow, run)
        if row is None:
            raise NotFoundError.named("run", run, [r.id for r in self.runs()])
        return row

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._errors(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            raise StoreError(
                f"the database of {self.home} failed: {str(exc).splitlines()[0]}",
                hint="check free disk space and permissions there; run folders are complete without it",
            ) from exc


def _use_wal(connection: Any, _record: Any) -> None:
    """Let readers read while a run writes, and writers wait for each other."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
