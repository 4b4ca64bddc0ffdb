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


def _revision(connection: Connection) -> str | None:
    """The database's revision; None for an empty database. Raises SchemaMismatch for one that is not ours or newer."""
    revisions = MigrationContext.configure(connection).get_current_heads()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if not revisions and not inspect(connection).get_table_names():
        return None
    if len(revisions) == 1 and revisions[0] in known:
        return revisions[0]
    if revisions:
        raise SchemaMismatch(
            f"this version does not know the database's schema {', '.join(revisions)}: install the newer Qaqpa"
        )
    raise SchemaMismatch("the database is not Qaqpa's: it holds other tables; give store.url a file of its own")


def upgrade(connection: Connection) -> None:
    """Upgrade an older schema of ours inside the caller's transaction. Raises SchemaMismatch."""
    _revision(connection)
    command.upgrade(_config(connection), "head")


def prepare(connection: Connection) -> None:
    """Make the schema in an empty database; refuse one that is older or newer. Raises SchemaMismatch."""
    current = _revision(connection)
    if current is None:
        upgrade(connection)
    elif current != head():
        raise SchemaMismatch(
            f"the database's schema is {current} and this version needs {head()}: "
            "make a back-up, then run `qaqpa migrate`"
        )
