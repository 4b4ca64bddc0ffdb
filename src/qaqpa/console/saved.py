"""Searches that a person saved under a name: addresses of lists, each person's own."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.console.people import Person
from qaqpa.errors import NotPossible
from qaqpa.model.open_text import check_open_text
from qaqpa.store import Connection, Store

_OF = "SELECT name, address FROM saved_searches WHERE issuer = ? AND sub = ? ORDER BY name"
_OTHERS = "SELECT count(*) FROM saved_searches WHERE issuer = ? AND sub = ? AND name <> ?"
_ADD = (
    "INSERT INTO saved_searches (issuer, sub, name, address) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (issuer, sub, name) DO UPDATE SET address = excluded.address"
)
_REMOVE = "DELETE FROM saved_searches WHERE issuer = ? AND sub = ? AND name = ?"
AT_MOST = 50


@dataclass(frozen=True, slots=True)
class Search:
    """One of them."""

    name: str
    address: str


class Saved:
    """Everybody's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, person: Person) -> list[Search]:
        """This person's, by name."""
        rows = await self._store.read(lambda connection: connection.execute(_OF, (person.issuer, person.sub)).all())
        return [Search(*row) for row in rows]

    async def add(self, person: Person, name: str, address: str) -> None:
        """Save one; what had this name before is replaced. Raises NotPossible beyond AT_MOST, InvalidRequest."""
        check_open_text(name=name)

        def unit(connection: Connection) -> None:
            if (connection.execute(_OTHERS, (person.issuer, person.sub, name)).scalar() or 0) >= AT_MOST:
                raise NotPossible([f"name: {AT_MOST} searches are saved already: remove one first"])
            connection.execute(_ADD, (person.issuer, person.sub, name, address))

        await self._store.write(unit)

    async def remove(self, person: Person, name: str) -> None:
        """Forget one; nothing where there is none."""
        await self._store.write(lambda connection: connection.execute(_REMOVE, (person.issuer, person.sub, name)))
