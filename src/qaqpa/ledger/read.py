"""Read entries back. Listing shows public parts; opening a sealed part takes the keyring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from qaqpa.errors import NotFound, VerificationFailed
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.store import Connection, Row


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as stored."""

    index: int
    leaf: bytes
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """What the body says; `sealed` is still sealed."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict):
            raise _changed(self.index)
        return content


def _changed(index: int) -> VerificationFailed:
    return VerificationFailed(
        f"entry {index} was changed: what stands there is not what Qaqpa wrote; `qaqpa ledger verify` says more",
        index=index,
    )


def as_entry(row: Row) -> Entry:
    index, leaf, body = row
    if not isinstance(leaf, bytes) or not isinstance(body, bytes):
        raise _changed(index)
    return Entry(index, leaf, body)


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
    first: int | None = None
    """Only indexes from this one on."""

    def said(self) -> dict[str, str | int]:
        """What is set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def columns(self) -> dict[str, str]:
        """The columns that must hold a value, the rarest values first."""
        return {name: value for name in ("subject", "recipient", "caller", "kind") if (value := getattr(self, name))}


ALL = Wanted()
_BLOCKS_AT_ONCE = 32


def entry_at(connection: Connection, index: int) -> Entry:
    """The entry at `index`. Raises NotFound."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM entries e WHERE e.idx = ?", (index,)).first()  # noqa: S608
    if row is None and index < size_of(connection):
        raise NotFound(f"the month of entry {index} was moved to a file: {_archive_of(connection, index)}")
    if row is None:
        raise NotFound(f"there is no entry {index}; `qaqpa ledger show` lists the latest")
    return as_entry(row)


def _archive_of(connection: Connection, index: int) -> str:
    rows = connection.execute("SELECT file FROM archives WHERE first <= ? AND last >= ?", (index, index)).all()
    return " or ".join(row[0] for row in rows) or "no file is on record; run `qaqpa ledger verify`"


def entries_of(
    connection: Connection, *, kind: str | None = None, request: str | None = None, subject: str | None = None
) -> Iterator[Entry]:
    """Entries in order; of one kind, of one disclosure or consent, or about one subject, where asked."""
    asked = {"request": request, "subject": subject, "kind": kind}
    columns = {name: value for name, value in asked.items() if value is not None}
    fits = "".join(f" AND e.{name} = ?" for name in columns)
    end = indexed(integrated(connection)[0]) if columns else 0
    for block in _blocks(connection, columns, end // BLOCK, latest_first=False) if columns else ():
        sql = f"SELECT {_COLUMNS} FROM entries e WHERE e.idx >= ? AND e.idx < ?{fits} ORDER BY e.idx"  # noqa: S608
        for row in connection.execute(sql, (block * BLOCK, (block + 1) * BLOCK, *columns.values())).all():
            yield as_entry(row)
    sql = f"SELECT {_COLUMNS} FROM entries e WHERE e.idx >= ?{fits} ORDER BY e.idx"  # noqa: S608
    for row in connection.stream(sql, (end, *columns.values())):
        yield as_entry(row)


def latest(connection: Connection, count: int, wanted: Wanted = ALL) -> list[Entry]:
    """The last `count` entries that are wanted and not moved to a file, oldest first."""
    columns = wanted.columns()
    fits = "".join(f" AND e.{name} = ?" for name in columns)
    sql = f"SELECT {_COLUMNS} FROM entries e WHERE e.idx >= ? AND e.idx < ?{fits} ORDER BY e.idx DESC LIMIT ?"  # noqa: S608
    before = 2**62 if wanted.before is None else wanted.before
    first = wanted.first or 0
    end = indexed(integrated(connection)[0]) if columns else 0
    rows = connection.execute(sql, (max(first, end), before, *columns.values(), count)).all()
    upper = min(end // BLOCK, -(-before // BLOCK))
    for block in _blocks(connection, columns, upper, latest_first=True) if columns and len(rows) < count else ():
        if (block + 1) * BLOCK <= first:
            break
        bounds = (max(first, block * BLOCK), min((block + 1) * BLOCK, before))
        rows += connection.execute(sql, (*bounds, *columns.values(), count - len(rows))).all()
        if len(rows) == count:
            break
    return [as_entry(row) for row in reversed(rows)]


def _blocks(connection: Connection, columns: Mapping[str, str], end: int, *, latest_first: bool) -> Iterator[int]:
    """Numbers of the blocks before `end` in which every one of these values occurs, though not in one entry perhaps."""
    first, *others = (f"{name}:{value}" for name, value in columns.items())
    also = " AND EXISTS (SELECT 1 FROM terms o WHERE o.term = ? AND o.block = t.block)" * len(others)
    order = "DESC" if latest_first else "ASC"
    sql = (
        f"SELECT t.block FROM terms t WHERE t.term = ? AND t.block >= ? AND t.block < ?{also} "  # noqa: S608
        f"ORDER BY t.block {order} LIMIT {_BLOCKS_AT_ONCE}"
    )
    low, high = 0, end
    while found := connection.execute(sql, (first, low, high, *others)).all():
        for (block,) in found:
            yield block
        low, high = (low, found[-1][0]) if latest_first else (found[-1][0] + 1, high)


def index_at(connection: Connection, time: str) -> int:
    """The first index from which on entries are not earlier than `time`, as far as the clock only went forward."""
    low, high = 0, size_of(connection)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute("SELECT idx, time FROM entries WHERE idx >= ? ORDER BY idx LIMIT 1", (middle,)).first()
        if row is None or row[1] >= time:
            high = middle
        else:
            low = row[0] + 1
    return low


def size_of(connection: Connection) -> int:
    """How many entries there are."""
    size: int = connection.execute("SELECT size FROM tree WHERE id = 1").scalar() or 0
    return size
