"""From what the folders say to the index's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import SQLAlchemyError

from harness.spec.progress import Progress
from harness.spec.summary import Summary
from harness.store import measured
from harness.store.folders import FoundBatch
from harness.store.marks import BatchFile
from harness.store.tables import batches, runs, shared, tags
from harness.store.tables import measured as measured_table

_AT_ONCE = 5000


def refill(connection: Connection, found: Iterable[FoundBatch], say: Progress | None = None) -> int:
    """Put what was found in place of everything but leases; return the number of runs."""
    for table in (tags, measured_table, shared, runs, batches):
        connection.execute(delete(table))
    count = 0
    for batch in found:
        insert_batch(connection, batch)
        count += len(batch.runs)
        if say and count % _AT_ONCE < len(batch.runs):
            say(f"{count} runs written")
    return count


def insert_batch(connection: Connection, batch: FoundBatch) -> None:
    """Write a batch with all its runs; no rows of it may be there."""
    file = batch.file
    connection.execute(batches.insert().values(id=batch.id, name=file.name, created=file.created, settings=file.settings))
    place = {run: number for number, run in enumerate(file.runs)}
    rows: list[dict[str, Any]] = []
    marks = [{"tag": tag, "ref": batch.id} for tag in file.tags]
    summaries: list[Summary] = []
    for run in batch.runs:
        rows.append({**run.columns, "batch": batch.id, "position": place[run.spec.id]})
        marks += [{"tag": tag, "ref": run.spec.id} for tag in run.marks.tags]
        summaries += [run.summary] if run.summary else []
    if rows:
        connection.execute(runs.insert(), rows)
    if marks:
        connection.execute(tags.insert(), marks)
    measured.write(connection, summaries)


def delete_batch(connection: Connection, batch: str) -> None:
    """Take a batch with all its runs out of the index."""
    of_batch = select(runs.c.id).where(runs.c.batch == batch)
    connection.execute(delete(tags).where((tags.c.ref == batch) | tags.c.ref.in_(of_batch)))
    connection.execute(delete(measured_table).where(measured_table.c.run.in_(of_batch)))
    connection.execute(delete(runs).where(runs.c.batch == batch))
    connection.execute(delete(batches).where(batches.c.id == batch))


def former_batches(connection: Connection) -> dict[str, BatchFile]:
    """Return what a database of any version knows of its batches; nothing where it cannot be read."""
    try:
        of_batch: dict[str, list[str]] = {}
        query = select(runs.c.batch, runs.c.id).order_by(runs.c.batch, runs.c.position)
        for batch, run in connection.execute(query):
            of_batch.setdefault(batch, []).append(run)
        rows: Sequence[Any] = connection.execute(select(batches)).all()
    except (SQLAlchemyError, ValueError):
        return {}
    return {
        row.id: BatchFile(name=row.name, created=row.created, settings=row.settings or {}, runs=tuple(of_batch.get(row.id, ())))
        for row in rows
    }
