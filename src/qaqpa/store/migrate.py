"""Bring a database to this version's schema (Alembic). A new one is made; an older one only when told to."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from qaqpa.errors import SchemaMismatch


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision of this version's schema."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def upgrade(connection: Connection) -> None:
    """Upgrade inside the caller's transaction."""
    command.upgrade(_config(connection), "head")


def prepare(connection: Connection) -> None:
    """Make the schema in an empty database; refuse one that is older or newer. Raises SchemaMismatch."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and not inspect(connection).get_table_names():
        upgrade(connection)
    elif current != head():
        raise SchemaMismatch(
            f"the database's schema is {current or 'not Qaqpa’s'} and this version needs {head()}: "
            "make a back-up, then run `qaqpa migrate`"
        )
