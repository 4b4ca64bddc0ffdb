"""Which rows of one handover stand in the ledger: asked of the entries, and of nothing that was noted beside them.

Ids of rows are in the order of their lines and tell them (`row_id`), so that they are found by a range of the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap, zip_longest
from operator import eq
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger import entries
from qaqpa.ledger.archive import leaf_in
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.handed import line_of
from qaqpa.ledger.handovers import Move
from qaqpa.ledger.integrate import BLOCK, indexed, integrated, read_tile
from qaqpa.ledger.ledger import Ledger
from qaqpa.model.handover import RowResult, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection
from qaqpa.tlog.merkle import leaf_hash

_TERMS = "FROM terms WHERE term >= ? AND term < ? AND block < ?"
_IDS = f"SELECT term {_TERMS} ORDER BY term"
_NUMBER = f"SELECT count(*) {_TERMS}"
_BLOCKS = f"SELECT DISTINCT block {_TERMS} ORDER BY block"
_RESULTS = "SELECT results FROM handover_chunks WHERE handover = ?"
_LATER = "SELECT request FROM entries WHERE idx >= ? AND kind = 'intent' ORDER BY idx"
_BODIES = "SELECT idx, request, leaf, body FROM entries WHERE idx >= ? AND idx < ? AND kind = 'intent' ORDER BY idx"
_REQUEST = "request:"
_END = 2**62


@dataclass(frozen=True, slots=True)
class RowEntry:
    """The intent of one row."""

    index: int
    line: int
    """In the register that was handed in."""
    content: dict[str, Any]


def _range(handover: HandoverId) -> tuple[str, str]:
    """Between which terms ids of its rows lie, and those of handovers of the same millisecond (RFC 9562, 5.7)."""
    moment = f"{_REQUEST}{handover[:13]}"
    return f"{moment}-7000", f"{moment}-7100"


def _line(handover: HandoverId, request: str) -> int | None:
    """The line of a row of this handover; None for anything else."""
    if request[:13] != handover[:13]:
        return None
    line = line_of(request)
    return line if row_id(handover, line) == request else None


def _ids(connection: Connection, handover: HandoverId) -> Iterator[str]:
    """Ids of its rows that have an intent, in their order, and perhaps of others of the same millisecond."""
    end = indexed(integrated(connection)[0])
    low, high = _range(handover)
    for (term,) in connection.stream(_IDS, (low, high, end // BLOCK)):
        yield term[len(_REQUEST) :]
    moment = handover[:13]
    yield from (request for (request,) in connection.stream(_LATER, (end,)) if request[:13] == moment)


def lines_entered(connection: Connection, handover: HandoverId) -> Iterator[int]:
    """The lines of its rows that have an intent, in their order."""
    return (line for each in _ids(connection, handover) if (line := _line(handover, each)) is not None)


def are_entered(connection: Connection, handover: HandoverId, lines: Sequence[int]) -> bool:
    """Whether the rows that have an intent are just those of these lines, in their order."""
    # Whose each id is takes longest to tell, and matters only where another handover is of the same millisecond.
    told = map(line_of, _ids(connection, handover))
    return _alike(told, lines) or _alike(lines_entered(connection, handover), lines)


def _alike(found: Iterator[int], lines: Sequence[int]) -> bool:
    return all(starmap(eq, zip_longest(found, lines)))


def _count(connection: Connection, handover: HandoverId) -> int:
    """How many rows have an intent; quickly where that is the number that was noted, whoever waits meanwhile."""
    noted = sum(bytes(row[0]).count(RowResult.PERMIT) for row in connection.execute(_RESULTS, (handover,)).all())
    end = indexed(integrated(connection)[0])
    later = sum(_line(handover, each) is not None for (each,) in connection.stream(_LATER, (end,)))
    low, high = _range(handover)
    if int(connection.execute(_NUMBER, (low, high, end // BLOCK)).scalar()) + later == noted:
        return noted
    return sum(1 for _ in lines_entered(connection, handover))


def rows_entered(connection: Connection, handover: HandoverId) -> Iterator[RowEntry]:
    """The same with what the entries say, each held against its leaf hash and the tree. Raises VerificationFailed."""
    in_tree, tile = integrated(connection)[0], lru_cache(2)(read_tile(connection))
    end, (low, high) = indexed(in_tree), _range(handover)
    blocks = [block for (block,) in connection.execute(_BLOCKS, (low, high, end // BLOCK)).all()]
    ranges = [*((block * BLOCK, (block + 1) * BLOCK) for block in blocks), (end, _END)]
    for first, beyond in ranges:
        for index, request, leaf, body in connection.stream(_BODIES, (first, beyond)):
            line = _line(handover, request)
            if line is None:
                continue
            made = leaf_hash(bytes(body))
            if made != bytes(leaf) or (index < in_tree and made != leaf_in(tile, index)):
                raise _changed(index)
            content = orjson.loads(bytes(body))
            if (content.get("kind"), content.get("id"), content.get("handover")) != (Kind.INTENT, request, handover):
                raise _changed(index)
            yield RowEntry(index, line, content)


def _changed(index: int) -> VerificationFailed:
    return VerificationFailed(
        f"entry {index} was changed: what stands there is not what was entered; run `qaqpa ledger verify`", index=index
    )


async def cancel_rows(ledger: Ledger, handover: HandoverId, result: OutcomeResult, code: str, move: Move) -> None:
    """Conclude the rows that were entered of a handover whose package was never intended.

    How many they are is counted in the transaction in which the handover stops, so that none is entered after it; and
    by the entries, so that the outcome is true whatever was made of the notes beside them.
    """

    def unit(connection: Connection) -> None:
        move(connection)
        if rows := _count(connection, handover):
            public = entries.package_outcome(handover, result, code, rows, at=ledger.clock())
            ledger.append(connection, ledger.draft(Kind.OUTCOME, handover, public))

    await ledger.store.write(unit, long=True)
