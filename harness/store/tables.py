"""The index's tables as the newest schema has them. An earlier database is brought here by `migrations`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
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
    event,
    false,
    text,
)

# What `migrations/versions` ends with; a database says its own in the table `alembic_version`.
VERSION = "0005"


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
    Column("scores", LargeBinary, nullable=False, server_default=text("''")),
)

shared = Table(
    "shared",
    metadata,
    Column("key", String(20), primary_key=True),
    Column("kind", String(20), primary_key=True),  # setting, items, references
    Column("content", Text, nullable=False),
)

# Of a service (`dojo serve`). These rows stand nowhere else: no run folder holds them, so no `refill` touches them.
users = Table(
    "users",
    metadata,
    Column("name", name(40), primary_key=True),
    Column("runs_at_once", Integer),
    Column("runs_in_total", Integer),
    Column("gpu_hours", Float),
    Column("dollars", Float),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", name(40), primary_key=True),
    Column("user", name(40), nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the secret, which has 256 bits of chance
    Column("note", String(200), nullable=False),
    Column("created", Moment, nullable=False),
    Column("revoked", Moment),
    Index("ix_tokens_user", "user"),
)

# What runs of users may use, or have used once `settled`.
charges = Table(
    "charges",
    metadata,
    Column("run", name(40), primary_key=True),
    Column("user", name(40), nullable=False),
    Column("gpu_hours", Float, nullable=False),
    Column("dollars", Float, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("created", Moment, nullable=False),
    Index("ix_charges_user", "user"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("user", String(40), nullable=False),
    Column("token", String(40), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("outcome", String(40), nullable=False),
    Column("request", String(64), nullable=False),
)

# The database itself refuses to change or delete a line of the log.
APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_whole BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_kept()",
    ),
}


def keep_audit(_table: object, connection: Connection, **_: object) -> None:
    """Make the audit log append-only, in a database that has just got it."""
    for statement in APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)


event.listen(audit, "after_create", keep_audit)

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
