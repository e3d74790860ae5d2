"""Numbered steps from one schema of the database to the next, run by alembic without an ini file."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def upgrade(connection: Connection, start: str, end: str = "head") -> None:
    """Bring the database from schema ``start`` to ``end`` inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.stamp(config, start, purge=True)
    command.upgrade(config, end)
