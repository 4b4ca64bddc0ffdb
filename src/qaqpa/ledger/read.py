"""Read entries back. Listing shows public parts; opening a sealed part takes the keyring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from qaqpa.errors import NotFound
from qaqpa.store import Connection


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


_COLUMNS = "e.idx, e.leaf, e.body"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: all that are set must fit."""

    subject: str | None = None
    recipient: str | None = None
    caller: str | None = None
    kind: str | None = None
    before: int | None = None
    """Only indexes below this one; the way to the next page."""

    def said(self) -> dict[str, str | int]:
        """What is set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def columns(self) -> dict[str, str]:
        """The columns that must hold a value, the rarest values first."""
        return {name: value for name in ("subject", "recipient", "caller", "kind") if (value := getattr(self, name))}


_GROWN = "SELECT size FROM integrated WHERE id = 1"

ALL = Wanted()


def entry_at(connection: Connection, index: int) -> Entry:
    """The entry at `index`. Raises NotFound."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM entries e WHERE e.idx = ?", (index,)).first()  # noqa: S608
    if row is None and index < size_of(connection):
        raise NotFound(f"the month of entry {index} was moved to a file: {_archive_of(connection, index)}")
    if row is None:
        raise NotFound(f"there is no entry {index}; `qaqpa ledger show` lists the latest")
    return Entry(row[0], bytes(row[1]), bytes(row[2]))


def _archive_of(connection: Connection, index: int) -> str:
    rows = connection.execute("SELECT file FROM archives WHERE first <= ? AND last >= ?", (index, index)).all()
    return " or ".join(row[0] for row in rows) or "no file is on record; run `qaqpa ledger verify`"


def entries_of(
    connection: Connection, *, kind: str | None = None, request: str | None = None, subject: str | None = None
) -> Iterator[Entry]:
    """Entries in order; of one kind, of one disclosure or consent, or about one subject, where asked."""
    asked = {"kind": kind, "request": request, "subject": subject}
    given = {name: value for name, value in asked.items() if value is not None}
    fits = "".join(f" AND e.{name} = ?" for name in given)
    grown, order = connection.execute(_GROWN).scalar(), "e.idx"
    if request is not None:
        key: tuple[str, ...] = (f"request:{request}",)
    elif subject is not None or kind is not None:
        key = (f"subject:{subject}" if subject is not None else f"kind:{kind}",)
    else:
        source, key = "entries e WHERE e.idx >= 0", ()
    if key:
        source, order = "terms t JOIN entries e ON e.idx = t.idx WHERE t.term = ?", "t.idx"
    queries = [(f"SELECT {_COLUMNS} FROM {source}{fits} ORDER BY {order}", (*key, *given.values()))]  # noqa: S608
    if source.startswith("terms"):  # what is not in the index yet
        fresh = f"SELECT {_COLUMNS} FROM entries e WHERE e.idx >= ?{fits} ORDER BY e.idx"  # noqa: S608
        queries.append((fresh, (grown, *given.values())))
    for sql, values in queries:
        for row in connection.stream(sql, values):
            yield Entry(row[0], bytes(row[1]), bytes(row[2]))


def latest(connection: Connection, count: int, wanted: Wanted = ALL) -> list[Entry]:
    """The last `count` entries that are wanted and not moved to a file, oldest first."""
    columns = wanted.columns()
    fits = "".join(f" AND e.{name} = ?" for name in columns)
    end = " ORDER BY e.idx DESC LIMIT ?"
    before = 2**62 if wanted.before is None else wanted.before
    grown = min(int(connection.execute(_GROWN).scalar()), before) if columns else 0
    # What is not in the index yet, and all where nothing narrows it.
    sql = f"SELECT {_COLUMNS} FROM entries e WHERE e.idx >= ? AND e.idx < ?{fits}{end}"  # noqa: S608
    rows = connection.execute(sql, (grown, before, *columns.values(), count)).all()
    if columns and len(rows) < count:
        name, value = next(iter(columns.items()))
        source = "terms t JOIN entries e ON e.idx = t.idx WHERE t.term = ? AND t.idx < ?"
        sql = f"SELECT {_COLUMNS} FROM {source}{fits} ORDER BY t.idx DESC LIMIT ?"  # noqa: S608
        rows += connection.execute(sql, (f"{name}:{value}", grown, *columns.values(), count - len(rows))).all()
    return [Entry(row[0], bytes(row[1]), bytes(row[2])) for row in reversed(rows)]


def size_of(connection: Connection) -> int:
    """How many entries there are."""
    size: int = connection.execute("SELECT size FROM tree WHERE id = 1").scalar() or 0
    return size
