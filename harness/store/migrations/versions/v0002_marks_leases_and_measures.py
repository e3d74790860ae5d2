"""Tags, exclusions, leases, and what rankings need. The store fills them from the run folders afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and tables."""
    postgres = op.get_bind().dialect.name == "postgresql"
    name = sa.String(40, collation="C") if postgres else sa.String(40)
    if postgres:  # SQLite compares byte by byte already
        op.drop_constraint("runs_batch_fkey", "runs", type_="foreignkey")
        for table, column in (("batches", "id"), ("runs", "id"), ("runs", "batch")):
            op.alter_column(table, column, type_=name)
        op.create_foreign_key("runs_batch_fkey", "runs", "batches", ["batch"], ["id"])
    op.add_column("runs", sa.Column("base_model", sa.String(200), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("metric", sa.String(200), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("created", sa.DateTime(timezone=True)))
    op.add_column("runs", sa.Column("excluded", sa.Text, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("limit", sa.Integer))
    op.create_index("ix_runs_excluded", "runs", ["excluded"])
    op.create_index("ix_batches_created", "batches", ["created", "id"])
    op.create_index("ix_batches_name", "batches", ["name"])
    op.create_table(
        "tags", sa.Column("tag", sa.String(200), primary_key=True), sa.Column("ref", name, primary_key=True)
    )  # fmt: skip
    op.create_index("ix_tags_ref", "tags", ["ref"])
    op.create_table(
        "leases",
        sa.Column("run", name, primary_key=True),
        sa.Column("token", sa.String(40), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("boot", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.String(40), nullable=False),
        sa.Column("renewed", sa.Float, nullable=False),
    )
    op.create_table(
        "measured",
        sa.Column("run", name, primary_key=True),
        sa.Column("batch", name, nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        sa.Column("agent_digest", sa.String(20), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("setting", sa.String(20), nullable=False),
        sa.Column("items", sa.String(20), nullable=False),
        sa.Column("references", sa.String(20), nullable=False),
        sa.Column("primary", sa.Float, nullable=False),
        sa.Column("metric", sa.String(200), nullable=False),
        sa.Column("ci_low", sa.Float, nullable=False),
        sa.Column("ci_high", sa.Float, nullable=False),
        sa.Column("why_not", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("flagged", sa.Boolean, nullable=False),
        sa.Column("is_mean", sa.Boolean),
        sa.Column("values", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "shared",
        sa.Column("key", sa.String(20), primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
