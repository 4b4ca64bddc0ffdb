"""Read entries back. Listing shows public parts; opening a sealed part takes the keyring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection

from qaqpa.errors import NotFound


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as stored."""

    index: int
    leaf: bytes
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """What the body says; `sealed` is still sealed."""
        content: dict[str, Any] = orjson.loads(self.body)
        return content


def entry_at(connection: Connection, index: int) -> Entry:
    """The entry at `index`. Raises NotFound."""
    row = connection.exec_driver_sql("SELECT idx, leaf, body FROM entries WHERE idx = ?", (index,)).first()
    if row is None:
        raise NotFound(f"there is no entry {index}; `qaqpa ledger show` lists the latest")
    return Entry(row[0], bytes(row[1]), bytes(row[2]))


def entries_of(connection: Connection, *, kind: str | None = None, request: str | None = None) -> Iterator[Entry]:
    """Entries in order; of one kind, or of one disclosure or consent, where asked."""
    rows = connection.exec_driver_sql(
        "SELECT idx, leaf, body FROM entries "
        "WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR request = ?2) ORDER BY idx",
        (kind, request),
    )
    for row in rows:
        yield Entry(row[0], bytes(row[1]), bytes(row[2]))


def latest(connection: Connection, count: int, *, kind: str | None = None) -> list[Entry]:
    """The last `count` entries, oldest first."""
    rows = connection.exec_driver_sql(
        "SELECT idx, leaf, body FROM entries WHERE (?1 IS NULL OR kind = ?1) ORDER BY idx DESC LIMIT ?2", (kind, count)
    ).all()
    return [Entry(row[0], bytes(row[1]), bytes(row[2])) for row in reversed(rows)]


def size_and_root(connection: Connection) -> tuple[int, bytes] | None:
    """Size and root as stored; None for a ledger without entries."""
    row = connection.exec_driver_sql("SELECT size, root FROM tree WHERE id = 1").first()
    return None if row is None else (int(row[0]), bytes(row[1]))
