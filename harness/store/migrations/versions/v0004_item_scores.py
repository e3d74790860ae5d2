"""Item scores beside pseudo-values, to count won and lost items by. The store fills them from the run folders afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("measured", sa.Column("scores", sa.LargeBinary, nullable=False, server_default=sa.text("''")))
