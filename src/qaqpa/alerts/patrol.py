"""The patrol: a stretch of old entries is hashed again, and held against the tree. It comes round to each in days, and
stands in for no verification: `qaqpa ledger verify` looks at everything, checkpoints too.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqpa.alerts.findings import Finding, Rule
from qaqpa.errors import QaqpaError
from qaqpa.ledger.archive import archives
from qaqpa.ledger.integrate import integrated, read_tile
from qaqpa.store import Connection
from qaqpa.tlog.merkle import HASH_SIZE, leaf_hash
from qaqpa.tlog.tiles import TILE

_BODIES = "SELECT idx, leaf, body FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"


def patrol(connection: Connection, first: int, count: int) -> tuple[int, list[Finding]]:
    """Look at `count` entries from `first`; up to which it came (0: round again), and what is wrong with the first."""
    try:
        size = integrated(connection)[0]
    except QaqpaError as error:
        return first, [Finding(Rule.VERIFICATION, "tree", figures={"code": error.code})]
    if first >= size:
        first = 0
    end = min(size, first + count)
    wrong = list(_wrong(connection, first, end))
    found = []
    if wrong:
        found = [
            Finding(
                Rule.VERIFICATION, "entries", episode=str(wrong[0]), figures={"index": wrong[0], "count": len(wrong)}
            )
        ]
    return (0 if end >= size else end), found


def _wrong(connection: Connection, first: int, end: int) -> Iterator[int]:
    """Entries whose body, leaf and place in the tree do not agree, or that are gone."""
    rows = connection.execute(_BODIES, (first, end)).all()
    stored = {int(index): (leaf, body) for index, leaf, body in rows}
    moved = [(each.first, each.last) for each in archives(connection)] if len(stored) < end - first else []
    read = read_tile(connection)
    for block in range(first // TILE, -(-end // TILE)):
        hashes = read(0, block)
        for index in range(max(first, block * TILE), min(end, (block + 1) * TILE)):
            at = (index - block * TILE) * HASH_SIZE
            row = stored.get(index)
            if row is None:
                if not any(low <= index <= high for low, high in moved):
                    yield index
                continue
            leaf, body = row
            if leaf_hash(bytes(body)) != leaf or hashes[at : at + HASH_SIZE] != leaf:
                yield index
