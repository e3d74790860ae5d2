"""Summaries in the index: written when a run ends, read back a hundred thousand at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from harness.spec.result import Reference
from harness.spec.summary import ItemSet, RunSummary, Setting, Summaries, Summary, collector_paused
from harness.store.tables import measured, runs, shared

_REFERENCES: TypeAdapter[tuple[Reference, ...]] = TypeAdapter(tuple[Reference, ...])
# Up to so many runs are asked for by id; more are read whole and picked out.
_BY_ID = 2000
_COLUMNS = ", ".join(f'"{name}"' for name in RunSummary._fields)


def write(connection: Connection, summaries: Sequence[Summary]) -> None:
    """Write the summaries of runs, in place of earlier ones of the same runs."""
    if not summaries:
        return
    rows = [summary.row._asdict() for summary in summaries]
    for start in range(0, len(rows), _BY_ID):
        ids = [row["run"] for row in rows[start : start + _BY_ID]]
        connection.execute(delete(measured).where(measured.c.run.in_(ids)))
    connection.execute(measured.insert(), rows)
    contents: dict[tuple[str, str], str] = {}
    for summary in summaries:
        contents[summary.row.setting, "setting"] = summary.setting.model_dump_json()
        contents[summary.row.references, "references"] = _REFERENCES.dump_json(summary.references).decode()
        if summary.items is not None:
            items = {"ids": summary.items.ids, "subsets": summary.items.subsets, "only_subset": summary.items.only_subset}
            contents[summary.row.items, "items"] = json.dumps(items)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(shared).on_conflict_do_nothing(),
        [{"key": key, "kind": kind, "content": content} for (key, kind), content in contents.items()],
    )


def read(connection: Connection, ids: set[str] | None) -> Summaries:
    """Read the summaries of the runs named (None: of all)."""
    if ids is not None and len(ids) <= _BY_ID:
        rows = [RunSummary._make(row) for row in connection.execute(select(measured).where(measured.c.run.in_(ids)))]
    else:
        # past SQLAlchemy's rows: this is what a ranking of everything waits for
        cursor: Any = connection.connection.cursor()
        cursor.execute(f"SELECT {_COLUMNS} FROM measured")
        with collector_paused():
            made = map(RunSummary._make, cursor)
            rows = list(made) if ids is None else [row for row in made if row.run in ids]
        cursor.close()
    marked = connection.execute(select(runs.c.id, runs.c.excluded).where(runs.c.excluded != ""))
    excluded: dict[str, str] = {run: why for run, why in marked}
    if excluded:
        rows = [r._replace(why_not=f"excluded: {excluded[r.run]}") if r.run in excluded else r for r in rows]
    found = _shared(connection, ({r.setting for r in rows} | {r.items for r in rows} | {r.references for r in rows}))
    return Summaries(
        rows,
        {key: Setting.model_validate_json(content) for key, content in found["setting"].items()},
        {key: _item_set(json.loads(content)) for key, content in found["items"].items()},
        {key: _REFERENCES.validate_json(content) for key, content in found["references"].items()},
    )


def _shared(connection: Connection, keys: Iterable[str]) -> dict[str, dict[str, str]]:
    wanted = list(keys)
    query = select(shared.c.kind, shared.c.key, shared.c.content)
    found: dict[str, dict[str, str]] = {"setting": {}, "items": {}, "references": {}}
    for kind, key, content in connection.execute(query.where(shared.c.key.in_(wanted)) if len(wanted) <= _BY_ID else query):
        found[kind][key] = content
    return found


def _item_set(raw: dict[str, Any]) -> ItemSet:
    return ItemSet(tuple(raw["ids"]), tuple(raw["subsets"]), raw["only_subset"])
