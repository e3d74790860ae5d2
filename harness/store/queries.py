"""Questions to the index, each a few statements on a connection that the caller opened."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from harness.spec.errors import NotFoundError, UsageError
from harness.store.base import BatchInfo, Kind, RunFilter, RunInfo
from harness.store.tables import batches, runs, tags

# Names that a misspelt reference is compared with: the newest ones, since those are what people type.
_SAMPLE = 500
_BY_ID = 2000
_FIELDS = tuple(name for name in RunInfo.model_fields if name != "tags")


def find_runs(connection: Connection, where: RunFilter | None) -> list[RunInfo]:
    """Return the runs in order of submission."""
    query = select(*(runs.c[name] for name in _FIELDS)).join(batches, runs.c.batch == batches.c.id)
    query = query.where(*_clauses(connection, where)).order_by(batches.c.created, runs.c.batch, runs.c.position)
    rows = connection.execute(query).all()
    marked = _tags_of(connection, [row.id for row in rows])
    return [_run_info(row, marked) for row in rows]


def find_run(connection: Connection, run: str) -> RunInfo:
    """Return one run by its whole id."""
    row = connection.execute(select(*(runs.c[name] for name in _FIELDS)).where(runs.c.id == run)).first()
    if row is None:
        raise NotFoundError.named("run", run, _some_ids(connection, "run"))
    return _run_info(row, _tags_of(connection, [run]))


def run_ids(connection: Connection, where: RunFilter | None) -> set[str] | None:
    """Return the ids of the runs meant; None where nothing restricts them."""
    clauses = _clauses(connection, where)
    if not clauses:
        return None
    query = select(runs.c.id).join(batches, runs.c.batch == batches.c.id).where(*clauses)
    return set(connection.scalars(query))


def find_batches(connection: Connection, where: RunFilter | None) -> list[BatchInfo]:
    """Return the batches of which a run matches, oldest first."""
    query = select(batches)
    clauses = _clauses(connection, where)
    if clauses:
        matching = select(runs.c.batch).join(batches, runs.c.batch == batches.c.id).where(*clauses)
        query = query.where(batches.c.id.in_(matching))
    rows = connection.execute(query.order_by(batches.c.created, batches.c.id)).all()
    marked = _tags_of(connection, [row.id for row in rows])
    return [
        BatchInfo(id=r.id, name=r.name, created=r.created, settings=r.settings or {}, tags=marked.get(r.id, ())) for r in rows
    ]


def resolve(connection: Connection, reference: str, kind: Kind) -> str:
    """Turn an id, a unique prefix, ``@last`` or a batch's name into an id."""
    noun = "batch or run" if kind == "any" else kind
    if reference == "@last":
        newest = connection.scalar(_newest(kind).limit(1))
        if newest is None:
            raise NotFoundError(f"there is no {'batch' if kind == 'any' else kind} yet", hint="start one with `dojo submit`")
        return str(newest)
    tables = [table for table, of in ((batches, "batch"), (runs, "run")) if kind in (of, "any")]
    for table in tables:
        if connection.scalar(select(table.c.id).where(table.c.id == reference)) is not None:
            return reference
    matches: list[str] = []
    if kind != "run" and reference:
        matches = list(
            connection.scalars(select(batches.c.id).where(batches.c.name == reference).order_by(batches.c.id).limit(7))
        )
    if not matches and reference:
        for table in tables:
            # ids are compared byte by byte; U+FFFF is above every character of an id
            prefix = (table.c.id >= reference) & (table.c.id < reference + "\uffff")
            matches += connection.scalars(select(table.c.id).where(prefix).order_by(table.c.id).limit(7))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{reference!r} is not unique", hint=f"it may be {', '.join(matches[:6])}")
    raise NotFoundError.named(noun, reference, _some_ids(connection, kind))


def _newest(kind: Kind) -> Select[Any]:
    if kind == "run":
        query = select(runs.c.id).join(batches, runs.c.batch == batches.c.id)
        return query.order_by(batches.c.created.desc(), batches.c.id.desc(), runs.c.position.desc())
    return select(batches.c.id).order_by(batches.c.created.desc(), batches.c.id.desc())


def _some_ids(connection: Connection, kind: Kind) -> list[str]:
    found: list[str] = []
    if kind != "run":
        newest = connection.execute(select(batches.c.id, batches.c.name).order_by(batches.c.created.desc()).limit(_SAMPLE))
        for batch, name in newest:
            found += [batch, name] if name else [batch]
    if kind != "batch":
        found += connection.scalars(select(runs.c.id).order_by(runs.c.id.desc()).limit(_SAMPLE))
    return found


def _clauses(connection: Connection, where: RunFilter | None) -> list[ColumnElement[bool]]:
    """Say a filter in SQL, over ``runs`` joined with ``batches``."""
    if where is None:
        return []
    found: list[ColumnElement[bool]] = []
    if where.batch is not None:
        found.append(runs.c.batch == where.batch)
    if where.runs is not None:
        found.append(runs.c.id.in_(where.runs))
    for column, pattern in ((runs.c.task, where.task), (runs.c.agent, where.agent), (batches.c.name, where.name)):
        if pattern is not None:
            found.append(_matches(connection, column, pattern))
    if where.profile is not None:
        found.append(runs.c.profile == where.profile)
    if where.states:
        found.append(runs.c.state.in_(sorted(state.value for state in where.states)))
    if where.tag is not None:
        marked = select(tags.c.ref).where(tags.c.tag == where.tag)
        found.append(or_(runs.c.id.in_(marked), runs.c.batch.in_(marked)))
    created = func.coalesce(runs.c.created, batches.c.created, type_=runs.c.created.type)
    if where.since is not None:
        found.append(created >= where.since)
    if where.until is not None:
        found.append(created < where.until)
    if where.excluded is not None:
        found.append(runs.c.excluded != "" if where.excluded else runs.c.excluded == "")
    return found


def _matches(connection: Connection, column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """Match as `fnmatch.fnmatchcase` does."""
    if not re.search(r"[*?\[]", pattern):
        return column == pattern
    parts = re.findall(r"\[!?\]?[^\]]*\]|.", pattern, re.DOTALL)
    if connection.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True)(
            "".join(_negated(p) if len(p) > 1 else "[[]" if p == "[" else p for p in parts)
        )
    wild = {"*": ".*", "?": "."}
    text = "".join(_negated(p).replace("\\", "\\\\") if len(p) > 1 else wild.get(p) or re.escape(p) for p in parts)
    return column.op("~", is_comparison=True)(f"^{text}$")


def _negated(group: str) -> str:
    return f"[^{group[2:]}" if group.startswith("[!") else group


def _tags_of(connection: Connection, refs: list[str]) -> dict[str, tuple[str, ...]]:
    query = select(tags.c.ref, tags.c.tag).order_by(tags.c.ref, tags.c.tag)
    found: dict[str, tuple[str, ...]] = {}
    for ref, tag in connection.execute(query.where(tags.c.ref.in_(refs)) if len(refs) <= _BY_ID else query):
        found[ref] = (*found.get(ref, ()), tag)
    return found


def _run_info(row: Row[Any], marked: dict[str, tuple[str, ...]]) -> RunInfo:
    fields = dict(zip(_FIELDS, row, strict=True))
    fields["created"] = fields["created"] or fields["updated"]
    return RunInfo(**fields, tags=marked.get(row.id, ()))
