"""What runs spent at their backbones. The store fills it from the run folders afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("measured", sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("measured", sa.Column("dollars", sa.Float, nullable=False, server_default="0"))
    op.add_column("measured", sa.Column("silent", sa.Boolean, nullable=False, server_default=sa.false()))
