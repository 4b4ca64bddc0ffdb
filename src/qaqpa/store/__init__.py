"""Tables, transactions and durability. What the rows mean is for the layers above to say."""

from pathlib import Path

from qaqpa.errors import NotConfigured
from qaqpa.store.connection import Connection, Engine, EntryRow, Row
from qaqpa.store.groups import Unit, Writes
from qaqpa.store.sqlite import SqliteEngine
from qaqpa.store.store import Store


def store_at(url: str, home: Path) -> Store:
    """The store at `url`: an SQLite file (relative paths lie in `home`) or a PostgreSQL database.

    Raises NotConfigured for an address of neither, or without the driver.
    """
    if url.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
        try:
            from qaqpa.store.postgres import PostgresEngine  # noqa: PLC0415 - an extra, not everybody's
        except ImportError:
            raise NotConfigured(
                "store.url is PostgreSQL's: install its driver with pip install qaqpa[postgres]"
            ) from None
        return Store(PostgresEngine("postgresql:" + url.partition(":")[2]))
    return Store(SqliteEngine(url, home))


__all__ = ["Connection", "Engine", "EntryRow", "Row", "Store", "Unit", "Writes", "store_at"]
