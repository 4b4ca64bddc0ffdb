"""Disclosures for people who review them: found by what their entries say, each with what came of it.

An intent, a refusal and a report that served again are what is found: everything about one person that somebody asked
for. The intent of a package is not (its rows are), nor is a notice of recall that is about nobody. Reads public parts
only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from qaqpa.ledger.came import Came
from qaqpa.ledger.catalogue import catalogued
from qaqpa.ledger.context import entry_context
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.ledger.listed import LISTED_KINDS, Context, DisclosureResult, Listed, Page, Query
from qaqpa.ledger.read import Entry, as_entry, size_of
from qaqpa.ledger.said import Days
from qaqpa.store import Connection

__all__ = ["LISTED_KINDS", "Context", "DisclosureResult", "Listed", "Page", "Query", "entry_context", "search"]

_WORK = 48_000
"""What one page may cost, in rows of the index read; looking through a block costs _BLOCK_COST of them."""
_BLOCK_COST = 1_000
_FEW, _MANY = 64, 256
"""Entries that are read at once: of what is frequent the first few fill a page."""
_RUN, _GAP = 16, 2
"""Blocks that are looked through with one query, at most; and how near they lie to each other."""
_WINDOW, _WIDEST = 64, 2_048
"""Blocks over which terms are compared at once: few for what is frequent, and twice as many each time after."""
_LAST = "SELECT max(block) FROM terms WHERE term = ? AND block >= ? AND block < ?"
_BLOCKS = "SELECT block FROM terms WHERE term = ? AND block >= ? AND block < ?"
_DAYS = "SELECT min(block), max(block) FROM terms WHERE term >= ? AND term <= ?"
_OPEN = "SELECT DISTINCT block FROM concluding WHERE block >= ? AND block < ?"
_OPEN_HANDOVERS = "SELECT DISTINCT disclosure FROM concluding WHERE block IS NULL"
_FIRST = "SELECT min(idx) FROM entries"
_FILES = "SELECT file FROM archives WHERE first < ? AND last >= ? ORDER BY month"
_CONTAINS = {"sqlite": "instr(body, ?) > 0", "postgresql": "position(?::bytea IN body) > 0"}
_UNDECIDED = frozenset({DisclosureResult.OPEN, DisclosureResult.UNKNOWN})


def search(connection: Connection, query: Query, count: int) -> Page:
    """Up to `count` disclosures that fit, the latest first; bounded work, whatever is asked.

    Raises StoreUnavailable where nobody knows how far the catalogue came.
    """
    return _Search(connection, query).page(count)


@dataclass
class _Search:
    """One search, in one view of the database."""

    connection: Connection
    query: Query
    work: int = 0
    fitting: list[Entry] = field(default_factory=list)
    """What fits, the latest first; where a result is asked for, also by that."""

    def __post_init__(self) -> None:
        found = catalogued(self.connection)
        size = found.size
        # Of the last block, which is not full, the catalogue holds terms, and the index of columns none.
        self._indexed = min(size, indexed(integrated(self.connection)[0]))
        self._behind = size_of(self.connection) - size
        self._days = Days(found.zone)
        self._came = Came(self.connection)
        self._size = size_of(self.connection)
        self._sql, self._values = self._conditions()

    def page(self, count: int) -> Page:
        """The page."""
        upper = self._size if self.query.before is None else min(self.query.before, self._size)
        low, high = self._bounds(upper)
        files = self.connection.execute(_FILES, (upper, low * BLOCK)).all()
        if (first := self.connection.execute(_FIRST).scalar()) is not None:
            low = max(low, int(first) // BLOCK)
        before, is_whole = None, True
        for start, end in self._ranges(low, high, upper):
            if self.work >= _WORK:
                before, is_whole = end, False
                break
            self._look(start, end, count)
            if len(self.fitting) > count:
                del self.fitting[count:]
                before = self.fitting[-1].index
                break
        else:
            if self.work >= _WORK and self._stopped_at is not None:
                before, is_whole = self._stopped_at, False
        return Page(
            tuple(self._came.of(self.fitting)), before, is_whole, self._behind, tuple(str(row[0]) for row in files)
        )

    _stopped_at: int | None = None

    # --- where to look ---------------------------------------------------------------------------

    def _bounds(self, upper: int) -> tuple[int, int]:
        """The first block, and the one after the last, in which the catalogue may lead to what is asked for."""
        high = -(-min(upper, self._indexed) // BLOCK)
        since, until = self.query.since, self.query.until
        if since is None and until is None:
            return 0, high
        days = (f"day:{since or date.min}", f"day:{until or date.max}")
        earliest, latest = self.connection.execute(_DAYS, days).one()
        return (high, high) if earliest is None else (earliest, min(high, latest + 1))

    def _ranges(self, low: int, high: int, upper: int) -> Iterator[tuple[int, int]]:
        """From which index to which to look, the latest first: what is not in the catalogue, then block by block."""
        end = upper
        while end > self._indexed:
            start = max(self._indexed, (end - 1) // BLOCK * BLOCK)
            yield start, end
            end = start
        for first, last in _runs(self._candidates(low, high)):
            yield first * BLOCK, min((last + 1) * BLOCK, upper)

    def _candidates(self, low: int, high: int) -> Iterator[int]:
        """Blocks in which every term of the query occurs, though not in one entry perhaps, the last first."""
        terms, undecided = self._terms(), self.query.result in _UNDECIDED
        window = _WINDOW
        while low < high:
            if self.work >= _WORK:
                self._stopped_at = high * BLOCK
                return
            for term in terms:
                last = self.connection.execute(_LAST, (term, low, high)).scalar()
                self.work += 8
                if last is None:
                    return
                high = last + 1
            start = max(low, high - window)
            common = set(range(start, high))
            if undecided:
                common &= self._undecided(start, high)
            for term in terms if common else ():
                rows = self.connection.execute(_BLOCKS, (term, start, high)).all()
                self.work += len(rows)
                common.intersection_update(row[0] for row in rows)
                if not common:
                    break
            yield from sorted(common, reverse=True)
            high, window = start, min(2 * window, _WIDEST)

    def _terms(self) -> list[str]:
        """Under which what is asked for is indexed, what is rarest first."""
        asked, result = self.query, self.query.result
        named = {
            "subject": asked.subject, "handover": asked.handover, "reason": asked.reason,
            "result": None if result is None or result in _UNDECIDED else result.value,
            "clause": asked.clause, "field": asked.field, "operation": asked.operation, "purpose": asked.purpose,
            "ground": asked.ground, "recipient": asked.recipient, "caller": asked.caller,
        }  # fmt: skip
        terms = [f"{name}:{value}" for name, value in named.items() if value is not None]
        # Where a receipt rejects rows, the blocks of all of its handover's rows are found so.
        return [*terms, f"result:{DisclosureResult.REJECTED}"] if asked.rejected_row else terms

    def _undecided(self, start: int, end: int) -> set[int]:
        blocks = {row[0] for row in self.connection.execute(_OPEN, (start, end)).all()}
        for (handover,) in self.connection.execute(_OPEN_HANDOVERS).all():
            rows = self.connection.execute(_BLOCKS, (f"handover:{handover}", start, end)).all()
            blocks.update(row[0] for row in rows)
        return blocks

    # --- looking ---------------------------------------------------------------------------------

    def _conditions(self) -> tuple[str, list[str | bytes]]:
        """What the database itself can tell of a row: columns, and texts that its body must contain."""
        asked = self.query
        columns = {"subject": asked.subject, "caller": asked.caller, "recipient": asked.recipient}
        sql = "".join(f" AND {name} = ?" for name, value in columns.items() if value is not None)
        values: list[str | bytes] = [value for value in columns.values() if value is not None]
        named = {
            "operation": asked.operation, "purpose": asked.purpose, "ground": asked.ground, "handover": asked.handover,
        }  # fmt: skip
        texts = [f'"{name}":"{value}"' for name, value in named.items() if value is not None]
        texts += [f'"{each}"' for each in (asked.clause, asked.field, asked.reason) if each is not None]
        for text in texts:
            sql += f" AND {_CONTAINS[self.connection.dialect]}"
            values.append(text.encode())
        return sql, values

    def _look(self, start: int, end: int, count: int) -> None:
        """Look through entries, the last first, and add those that fit, until there are more than `count`."""
        self.work += _BLOCK_COST * max(1, (end - start) // BLOCK)
        kinds = LISTED_KINDS if self.query.kind is None else (self.query.kind,)
        sql = (
            "SELECT idx, leaf, body FROM entries WHERE idx >= ? AND idx < ? "  # noqa: S608 - names of columns only
            f"AND kind IN ({', '.join('?' * len(kinds))}) AND subject IS NOT NULL{self._sql} ORDER BY idx DESC LIMIT ?"
        )
        few = min(_FEW, count + 1)
        while len(self.fitting) <= count:
            rows = self.connection.execute(sql, (start, end, *kinds, *self._values, few)).all()
            fitting = [entry for entry in map(as_entry, rows) if self._fits(entry)]
            if self.query.result is not None or self.query.rejected_row:
                fitting = [each.entry for each in self._came.of(fitting) if self._came_so(each)]
            self.fitting += fitting
            if len(rows) < few:
                break
            end, few = rows[-1][0], _MANY

    def _came_so(self, listed: Listed) -> bool:
        asked = self.query
        return asked.result in {None, listed.result} and not (asked.rejected_row and listed.rejected is None)

    def _fits(self, entry: Entry) -> bool:
        asked, said = self.query, entry.content
        named: dict[str, Any] = {
            "operation": asked.operation, "purpose": asked.purpose, "ground": asked.ground, "handover": asked.handover,
        }  # fmt: skip
        if any(value is not None and said.get(name) != value for name, value in named.items()):
            return False
        lists = (("clauses", asked.clause), ("fields", asked.field))
        if any(value is not None and value not in (said.get(name) or ()) for name, value in lists):
            return False
        if asked.reason is not None and asked.reason not in {each["guard"] for each in said.get("reasons") or ()}:
            return False
        if asked.since is None and asked.until is None:
            return True
        day = self._days.of(said["time"])
        return str(asked.since or date.min) <= day <= str(asked.until or date.max)


def _runs(blocks: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Blocks that follow each other, nearly, as one: the first and the last of each. They come in falling order."""
    first = last = None
    for block in blocks:
        if first is not None and last is not None and first - block <= _GAP and last - block < _RUN:
            first = block
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = block
    if first is not None and last is not None:
        yield first, last
