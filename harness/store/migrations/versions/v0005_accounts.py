"""Users, tokens, what their runs use, and the audit log of a service."""

import sqlalchemy as sa
from alembic import op

from harness.store.tables import APPEND_ONLY

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables."""
    dialect = op.get_bind().dialect.name
    name = sa.String(40, collation="C") if dialect == "postgresql" else sa.String(40)
    op.create_table(
        "users",
        sa.Column("name", name, primary_key=True),
        sa.Column("runs_at_once", sa.Integer),
        sa.Column("runs_in_total", sa.Integer),
        sa.Column("gpu_hours", sa.Float),
        sa.Column("dollars", sa.Float),
    )
    op.create_table(
        "tokens",
        sa.Column("id", name, primary_key=True),
        sa.Column("user", name, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_tokens_user", "tokens", ["user"])
    op.create_table(
        "charges",
        sa.Column("run", name, primary_key=True),
        sa.Column("user", name, nullable=False),
        sa.Column("gpu_hours", sa.Float, nullable=False),
        sa.Column("dollars", sa.Float, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_charges_user", "charges", ["user"])
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user", sa.String(40), nullable=False),
        sa.Column("token", sa.String(40), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
    )
    for statement in APPEND_ONLY[dialect]:
        op.get_bind().exec_driver_sql(statement)
