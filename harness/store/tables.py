"""The index's tables as the newest schema has them. An earlier database is brought here by `migrations`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

# What `migrations/versions` ends with; a database says its own in the table `alembic_version`.
VERSION = "0003"


class Moment(TypeDecorator[datetime]):
    """A time in UTC: SQLite keeps none of a time's zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write every time as UTC."""
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read a time without a zone as UTC."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def name(length: int) -> Any:
    """Return the type of ids: compared byte by byte, so that a prefix is a range, whatever the server's language is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


metadata = MetaData()

batches = Table(
    "batches",
    metadata,
    Column("id", name(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created", Moment, nullable=False),
    Column("settings", JSON, nullable=False),
    Index("ix_batches_created", "created", "id"),
    Index("ix_batches_name", "name"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", name(40), primary_key=True),
    Column("batch", name(40), ForeignKey("batches.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("agent", String(200), nullable=False),
    Column("task", String(200), nullable=False),
    Column("profile", String(20), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("cause", String(30)),
    Column("score", Float),
    Column("ci_low", Float),
    Column("ci_high", Float),
    Column("updated", Moment, nullable=False),
    Column("base_model", String(200), nullable=False, server_default=""),
    Column("metric", String(200), nullable=False, server_default=""),
    Column("created", Moment),
    Column("excluded", Text, nullable=False, server_default=""),
    Column("limit", Integer),
    Index("ix_runs_batch", "batch"),
    Index("ix_runs_agent", "agent"),
    Index("ix_runs_task", "task"),
    Index("ix_runs_state", "state"),
    Index("ix_runs_excluded", "excluded"),
)

tags = Table(
    "tags",
    metadata,
    Column("tag", String(200), primary_key=True),
    Column("ref", name(40), primary_key=True),  # a run's or a batch's id
    Index("ix_tags_ref", "ref"),
)

leases = Table(
    "leases",
    metadata,
    Column("run", name(40), primary_key=True),
    Column("token", String(40), nullable=False),  # of this claim: a later one of the same process has another
    Column("host", String(200), nullable=False),
    Column("boot", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", String(40), nullable=False),
    Column("renewed", Float, nullable=False),  # seconds since 1970
)

# What `spec.summary.RunSummary` holds, for each run with a result; what runs share lies in `shared` by key.
measured = Table(
    "measured",
    metadata,
    Column("run", name(40), primary_key=True),
    Column("batch", name(40), nullable=False),
    Column("agent", String(200), nullable=False),
    Column("agent_digest", String(20), nullable=False),
    Column("task", String(200), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("created", String(40), nullable=False),
    Column("setting", String(20), nullable=False),
    Column("items", String(20), nullable=False),
    Column("references", String(20), nullable=False),
    Column("primary", Float, nullable=False),
    Column("metric", String(200), nullable=False),
    Column("ci_low", Float, nullable=False),
    Column("ci_high", Float, nullable=False),
    Column("why_not", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("flagged", Boolean, nullable=False),
    Column("is_mean", Boolean),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("dollars", Float, nullable=False, server_default="0"),
    Column("silent", Boolean, nullable=False, server_default=false()),
    Column("values", LargeBinary, nullable=False),
)

shared = Table(
    "shared",
    metadata,
    Column("key", String(20), primary_key=True),
    Column("kind", String(20), primary_key=True),  # setting, items, references
    Column("content", Text, nullable=False),
)

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
