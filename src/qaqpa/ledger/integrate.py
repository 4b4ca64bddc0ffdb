"""Grow the Merkle tree over entries that were appended, and the index by which they are found: a batch at a time.

The index says of each value in which blocks of entries it occurs; a block is as large as a tile, and it is indexed when
it is full. What stands after the last full block is looked through as it is.

Appending gives an entry its index and its leaf hash; the tree follows, moments later. One gateway does it at a time,
chosen by an advisory lock; a row lock and the tiles' primary key keep it right should two try all the same.
"""

from __future__ import annotations

from qaqpa.errors import StoreUnavailable, VerificationFailed
from qaqpa.store import Connection, Store
from qaqpa.tlog.tiles import TILE, ReadTile, TileTree, grow

BATCH = 4_096
_INTEGRATOR = 7_101_705
"""Advisory lock of the gateway that integrates."""

_STATE = "SELECT size, root FROM integrated WHERE id = 1"
_LEAVES = "SELECT idx, leaf FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?"
TERMS = ("request", "kind", "subject", "caller", "recipient")
"""By what entries are found: the columns of which `terms` holds each value that occurs."""
BLOCK = TILE
_ADD_TERMS = tuple(
    f"INSERT INTO terms (term, block) SELECT DISTINCT '{column}:' || {column}, idx / {BLOCK} FROM entries "  # noqa: S608 - constants only
    f"WHERE {column} IS NOT NULL AND idx >= ? AND idx < ? ORDER BY 1, 2"
    for column in TERMS
)
_ADD_TILE = (
    "INSERT INTO tiles (level, number, hashes) VALUES (?, ?, ?) "
    "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"
)
_GROWN = "UPDATE integrated SET size = ?, root = ? WHERE id = 1 AND size = ? RETURNING size"
_TILE = "SELECT hashes FROM tiles WHERE level = ? AND number = ?"


def read_tile(connection: Connection) -> ReadTile:
    """Tiles as they are stored."""

    def read(level: int, number: int) -> bytes:
        return bytes(connection.execute(_TILE, (level, number)).scalar() or b"")

    return read


def tree_of(connection: Connection) -> TileTree:
    """The tree as far as it has grown."""
    return TileTree(read_tile(connection), integrated(connection)[0])


def integrated(connection: Connection) -> tuple[int, bytes]:
    """Size and root of the tree as far as it has grown. Raises VerificationFailed where nothing says that."""
    row = connection.execute(_STATE).first()
    if row is None:
        raise VerificationFailed("the tree's size and root are gone from the table integrated")
    size, root = row
    if not isinstance(size, int) or not isinstance(root, bytes):
        raise VerificationFailed("the table integrated was changed: its size or root is of another type")
    return size, root


def indexed(size: int) -> int:
    """Up to which index the entries of a tree of this size are found by their terms."""
    return size // BLOCK * BLOCK


def integrate(connection: Connection) -> int:
    """Add up to BATCH leaves to the tree; returns how many. 0 also while another gateway is at it."""
    if not connection.try_lock(_INTEGRATOR):
        return 0
    lock = " FOR UPDATE" if connection.dialect == "postgresql" else ""
    size = connection.execute(_STATE + lock).scalar()
    if size is None:
        raise StoreUnavailable("the tree's size is gone: run `qaqpa ledger verify`")
    rows = connection.execute(_LEAVES, (size, BATCH)).all()
    if not rows:
        return 0
    if rows[0][0] != size or rows[-1][0] != size + len(rows) - 1:
        raise StoreUnavailable("an entry is missing from the ledger: run `qaqpa ledger verify`")
    grown = grow(read_tile(connection), size, [bytes(row[1]) for row in rows])
    if indexed(grown.size) > indexed(size):
        for sql in _ADD_TERMS:
            connection.execute(sql, (indexed(size), indexed(grown.size)))
    connection.execute_many(_ADD_TILE, [(level, number, hashes) for (level, number), hashes in grown.tiles.items()])
    if connection.execute(_GROWN, (grown.size, grown.root, size)).first() is None:
        raise StoreUnavailable("the tree grew meanwhile by somebody else's hand")  # the lock above forbids it
    return len(rows)


async def integrate_all(store: Store) -> None:
    """Grow the tree over every entry that stands now; what is appended meanwhile waits for the next time."""
    while await store.write(integrate, long=True) == BATCH:
        pass
