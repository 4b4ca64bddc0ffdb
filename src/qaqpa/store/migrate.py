"""Bring a database to this version's schema (Alembic). A new one is made; an older one only when told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qaqpa.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

Work = Callable[["Connection"], None]

HEAD = "0010"
"""The revision of this version's schema, known without loading Alembic: a database that has it needs nothing."""


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - takes a third of a second; most starts need none of it

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    """The database's revision; None for an empty database. Raises SchemaMismatch for one that is not ours or newer."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from sqlalchemy import inspect  # noqa: PLC0415

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
    raise SchemaMismatch("the database is not Qaqpa's: it holds other tables; give store.url one of its own")


def upgrade(connection: Connection) -> None:
    """Upgrade an older schema of ours inside the caller's transaction. Raises SchemaMismatch."""
    from alembic import command  # noqa: PLC0415

    _revision(connection)
    command.upgrade(_config(connection), "head")


def prepare(connection: Connection) -> None:
    """Make the schema in an empty database; refuse one that is older or newer. Raises SchemaMismatch."""
    current = _revision(connection)
    if current is None:
        upgrade(connection)
    elif current != HEAD:
        raise SchemaMismatch(
            f"the database's schema is {current} and this version needs {HEAD}: "
            "make a back-up, then run `qaqpa migrate`"
        )
