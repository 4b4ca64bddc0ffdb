"""The tree as tiles (C2SP tlog-tiles): rows of up to 256 hashes, eight levels of the tree apart. From them alone come
the root, and every proof of RFC 9162 §2.1, at any size that the tree ever had.

A tile, once full, never changes, so a log grows by rewriting at most one tile a level. Nothing here checks the tiles
against a root: what they yield is to be verified by who receives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import EMPTY_ROOT, HASH_SIZE, node_hash

HEIGHT = 8
TILE = 1 << HEIGHT
"""Hashes in a full tile."""
_FULL = TILE * HASH_SIZE
_PAIR = 2 * HASH_SIZE
_MAX_LEVEL = 63
_CACHED_TILES = 256
"""About 16 KiB each, with their inner levels."""

ReadTile = Callable[[int, int], bytes]
"""Level and number in; out the hashes of the widest tile stored there, one after the other, or b"" for none."""


def tile_path(level: int, number: int, width: int = TILE) -> str:
    """Where a tile of hashes is served: `tile/0/x001/x234/067`, a partial one `tile/0/000.p/5`."""
    if not 0 <= level <= _MAX_LEVEL:
        raise ValueError(f"a tile's level is 0 to {_MAX_LEVEL}, not {level}")
    return f"tile/{level}/{_number_path(number, width)}"


_PATH = re.compile(r"([0-9]{1,2})/((?:x[0-9]{3}/){0,6})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def parse_tile_path(path: str) -> tuple[int, int, int] | None:
    """Level, number and width of `0/x001/067.p/8`, which is `tile_path` without `tile/`; None for no such path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    number = int(match[2].replace("x", "").replace("/", "") + match[3])
    level, width = int(match[1]), int(match[4] or TILE)
    if level > _MAX_LEVEL or width > TILE:
        return None
    return (level, number, width) if tile_path(level, number, width) == f"tile/{path}" else None


def entries_path(number: int, width: int = TILE) -> str:
    """Where the entries under a tile of level 0 are served: `tile/entries/000`."""
    return f"tile/entries/{_number_path(number, width)}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, number and width of every tile that a tree of `size` consists of."""
    level = 0
    while size:
        yield from ((level, number, TILE) for number in range(size >> HEIGHT))
        if size % TILE:
            yield level, size >> HEIGHT, size % TILE
        level, size = level + 1, size >> HEIGHT


@dataclass(frozen=True, slots=True)
class Grown:
    """A tree after leaves were added."""

    size: int
    root: bytes
    tiles: dict[tuple[int, int], bytes]
    """Whole content of every tile that is new or wider than before, by level and number."""


def grow(read: ReadTile, size: int, leaves: Sequence[bytes]) -> Grown:
    """Add leaf hashes to the tree of `size`; reads the partial tile at the right edge of each level, at most.

    Raises VerificationFailed where such a tile is shorter than `size` asks for.
    """
    if size < 0 or any(len(leaf) != HASH_SIZE for leaf in leaves):
        raise ValueError(f"a tree has a size of 0 or more and leaf hashes of {HASH_SIZE} bytes")
    tiles: dict[tuple[int, int], bytes] = {}
    edge: list[bytes] = []  # of each level, the tile in which the tree ends
    level, before, added = 0, size, b"".join(leaves)
    while before or added:
        number, width = before >> HEIGHT, before % TILE
        row = _read(read, level, number, width) + added
        full = len(row) - len(row) % _FULL
        if added:
            tiles.update(((level, number + at // _FULL), row[at : at + _FULL]) for at in range(0, len(row), _FULL))
        edge.append(row[full:])
        # A full tile is a complete subtree of height 8, so all of them are hashed together, row by row.
        added = row[:full]
        for _ in range(HEIGHT):
            added = _parents(added)
        level, before = level + 1, before >> HEIGHT
    return Grown(size + len(leaves), _root_of_edge(edge), tiles)


class TileTree:
    """A tree of `size` leaves behind its tiles, which may be wider. Keeps the tiles that it used last.

    Sizes and indexes out of range raise ValueError; a tile shorter than `size` asks for, VerificationFailed.
    Not for several threads at once.
    """

    def __init__(self, read: ReadTile, size: int) -> None:
        if size < 0:
            raise ValueError("a tree's size is 0 or more")
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def root(self) -> bytes:
        """The root at the whole size."""
        return self.root_at(self.size)

    def root_at(self, size: int) -> bytes:
        """The root that the tree had at `size`."""
        if not 0 <= size <= self.size:
            raise ValueError(f"there is no root at size {size} in a tree of size {self.size}")
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """RFC 9162 §2.1.3.1: the path from leaf `index` to the root at `size`, the leaf's sibling first."""
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"there is no leaf {index} in a tree of size {size}")
        proof = []
        for height in range((size - 1).bit_length()):
            start = (index >> height ^ 1) << height
            if start < size:  # else the node is the last of its row and rises without a sibling
                proof.append(self._range(start, min(start + (1 << height), size)))
        return proof

    def consistency(self, old_size: int, size: int | None = None) -> list[bytes]:
        """RFC 9162 §2.1.4.1: that the tree at `size` extends the one at `old_size`."""
        size = self._checked(size)
        if not 1 <= old_size <= size:
            raise ValueError(f"there is no consistency proof from size {old_size} to size {size}")
        proof = []
        low, high = 0, size
        while high != old_size:
            middle = low + (1 << (high - low - 1).bit_length() - 1)
            if old_size <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        if low:  # else this subtree is the whole old tree, whose root the verifier has
            proof.append(self._range(low, high))
        return proof[::-1]

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 1 <= size <= self.size:
            raise ValueError(f"there are no proofs at size {size} in a tree of size {self.size}")
        return size

    def _range(self, low: int, high: int) -> bytes:
        """Root of the leaves from `low` to before `high`; `low` is a multiple of a power of two that covers them."""
        subtrees = []
        while low < high:
            height = (high - low).bit_length() - 1
            subtrees.append(self._node(height, low >> height))
            low += 1 << height
        return _fold(subtrees)

    def _node(self, height: int, index: int) -> bytes:
        """A complete subtree's root: the `index`-th of those 2**`height` leaves wide."""
        level, within = divmod(height, HEIGHT)
        number, at = divmod(index, TILE >> within)
        return self._tile(level, number)[within][at * HASH_SIZE : (at + 1) * HASH_SIZE]

    def _tile(self, level: int, number: int) -> list[bytes]:
        """The tile's hashes, then the rows of complete subtrees above them."""
        rows = self._tiles.pop((level, number), None)
        if rows is None:
            width = min(TILE, (self.size >> HEIGHT * level) - number * TILE)
            rows = _rows(_read(self._read, level, number, width))
            if len(self._tiles) >= _CACHED_TILES:
                del self._tiles[next(iter(self._tiles))]
        self._tiles[level, number] = rows  # last in the dict is last used
        return rows


def _number_path(number: int, width: int) -> str:
    if number < 0 or not 1 <= width <= TILE:
        raise ValueError(f"a tile's number is 0 or more and its width 1 to {TILE}, not {number} and {width}")
    path = f"{number % 1000:03d}"
    while number := number // 1000:
        path = f"x{number % 1000:03d}/{path}"
    return path if width == TILE else f"{path}.p/{width}"


def _read(read: ReadTile, level: int, number: int, width: int) -> bytes:
    """The tile's first `width` hashes. Raises VerificationFailed that names the tile."""
    if not width:
        return b""
    tile = read(level, number)
    if len(tile) % HASH_SIZE or len(tile) > _FULL:
        raise VerificationFailed(f"{tile_path(level, number)} has {len(tile)} bytes, which is no tile of hashes")
    if len(tile) < width * HASH_SIZE:
        found = len(tile) // HASH_SIZE
        raise VerificationFailed(f"{tile_path(level, number, width)} is wanted, and only {found} hashes are there")
    return tile[: width * HASH_SIZE]


def _parents(row: bytes) -> bytes:
    """The row above, of complete subtrees only. The hot loop: everything it calls is a local or in C."""
    sha, prefix = sha256, b"\x01"
    whole = len(row) - len(row) % _PAIR
    return b"".join([sha(prefix + row[at : at + _PAIR]).digest() for at in range(0, whole, _PAIR)])


def _rows(tile: bytes) -> list[bytes]:
    rows = [tile]
    for _ in range(HEIGHT - 1):
        rows.append(_parents(rows[-1]))
    return rows


def _root_of_edge(edge: Sequence[bytes]) -> bytes:
    """The root of the tree that ends in these partial tiles, lowest level first."""
    subtrees = [subtree for tile in reversed(edge) for subtree in _subtrees(tile)]
    return _fold(subtrees) if subtrees else EMPTY_ROOT


@lru_cache(maxsize=16)  # a log that grows leaf by leaf changes its higher levels once in 256 times
def _subtrees(tile: bytes) -> tuple[bytes, ...]:
    """The complete subtrees that make up a partial tile, the largest first."""
    rows, width, start = _rows(tile), len(tile) // HASH_SIZE, 0
    subtrees = []
    for height in reversed(range(HEIGHT)):
        if width >> height & 1:
            at = (start >> height) * HASH_SIZE
            subtrees.append(rows[height][at : at + HASH_SIZE])
            start += 1 << height
    return tuple(subtrees)


def _fold(subtrees: list[bytes]) -> bytes:
    """The root over complete subtrees, the largest and leftmost first."""
    root = subtrees[-1]
    for subtree in reversed(subtrees[:-1]):
        root = node_hash(subtree, root)
    return root
