"""Verify the ledger: hash every body again, rebuild tiles, root and registers, compare with what is stored and with
checkpoints. Reads only what is stored, needs no secret key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.archive import Bodies, archives, leaf_in, moved
from qaqpa.ledger.checkpoints import opened
from qaqpa.ledger.found import Found
from qaqpa.ledger.integrate import integrated, read_tile
from qaqpa.ledger.recount import Recount, uncatalogued
from qaqpa.ledger.story import Entry, Story, bad_columns, from_file
from qaqpa.store import Connection, Row
from qaqpa.store.shape import require_shape
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.notes import Checkpoint, VerifierKey
from qaqpa.tlog.tiles import TILE, TileTree, grow, tiles_of

Progress = Callable[[int, int], None]
"""Entries done, entries in all."""

BATCH = TILE * 16
_HASHED = {"sqlite": "CAST(x'00' || body AS BLOB)", "postgresql": "'\\x00'::bytea || body"}
"""What a leaf's hash is over (RFC 9162 §2.1.1), put together by the database, which is quicker at it."""
_TREE = "SELECT size, last_time FROM tree WHERE id = 1"
_TILES = "SELECT count(*) FROM tiles"


def _rows(connection: Connection) -> Iterator[Row]:
    """Every entry, its body as it is hashed; without a month where the body is of another type."""
    columns, hashed = "request, subject, time, caller, recipient", _HASHED[connection.dialect]
    month = "CASE typeof(body) WHEN 'blob' THEN month END" if connection.dialect == "sqlite" else "month"
    return connection.stream(f"SELECT idx, leaf, kind, {columns}, {month}, {hashed} FROM entries ORDER BY idx")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a ledger that verifies."""

    size: int
    root: bytes
    """Over the entries that are in the tree."""
    in_tree: int
    kinds: Mapping[str, int]
    open_intents: tuple[str, ...]
    """Disclosures without an outcome: being sent now, or cut off by a crash."""
    unknown: tuple[str, ...]
    """Disclosures of which nobody knows what came of them, and that no person has settled yet."""
    checkpoints: int
    """How many were checked."""
    last_checkpoint: int
    """Size of the last one that is stored; 0 without one, or without a key to check them by."""
    unread: int
    """Entries whose bodies lie in files that were not given; their leaf hashes are in the tree all the same."""


def verify(
    connection: Connection,
    progress: Progress | None = None,
    *,
    key: VerifierKey | None = None,
    kept: Iterable[bytes] = (),
    archived: Bodies | None = None,
) -> Verified:
    """Check every entry of one snapshot. Raises VerificationFailed with the first bad index.

    `key` is the ledger's; with it the stored checkpoints and those that somebody `kept` are checked. `archived` opens
    months that were moved to files; without it their bodies count as unread.
    """
    try:
        return _verify(connection, progress, key, kept, archived)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise _damaged(error) from error
    except Exception as error:
        if connection.is_damage(error):
            raise _damaged(error) from error
        raise


def _damaged(error: Exception) -> VerificationFailed:
    return VerificationFailed(
        f"the database holds what Qaqpa did not write, so that it cannot be read ({type(error).__name__}): restore a "
        "back-up that verifies"
    )


def _verify(
    connection: Connection,
    progress: Progress | None,
    key: VerifierKey | None,
    kept: Iterable[bytes],
    archived: Bodies | None,
) -> Verified:
    require_shape(connection)
    size, last_time = connection.execute(_TREE).first() or (0, "")
    in_tree, root = integrated(connection)
    tree, found = _Rebuilt(connection, in_tree), Found(in_tree)
    story = Story(Recount(connection, in_tree, found.secret))
    try:
        for entries, leaves in _batches(connection, size, archived, story.apart):
            story.unread += len(leaves) - len(entries)
            _check(entries, story, tree)
            found.see(entries)
            tree.add(leaves)
            if progress is not None:
                progress(tree.seen, size)
    except VerificationFailed as error:
        tree.compare_before(error.index)
        raise
    if tree.seen != size:
        index = min(size, tree.seen)
        raise VerificationFailed(f"the tree says that it has {size} entries, {tree.seen} are there", index=index)
    tree.finish(root)
    story.registers.compare_archives(connection)
    opened_now, unknown = tuple(story.open_intents), tuple(story.unknown)
    if not story.unread:
        if last_time != story.latest:
            raise VerificationFailed(
                f"the tree says that its last entry is of {last_time or 'no time'}, it is of "
                f"{story.latest or 'no time'}"
            )
        unsettled = {each: ("open", index) for each, index in story.open_intents.items()}
        unsettled |= {each: ("unknown", index) for each, index in story.unknown.items()}
        story.registers.compare(connection, unsettled)
        story.registers.compare_meta(connection, size)
        story.registers.compare_keys(connection, story.subjects)
        story.handed.compare(connection)
        story.agreements.compare(connection)
        found.compare(connection, story.recount.sums())
        story.recount.compare(connection)
    checked, last = (0, 0) if key is None else _check_checkpoints(connection, tree.tree, key, kept)
    return Verified(size, root, in_tree, dict(story.kinds), opened_now, unknown, checked, last, story.unread)


def _check(entries: list[Entry], story: Story, tree: _Rebuilt) -> None:
    """Whatever an entry tells by itself. Raises VerificationFailed for the first that is wrong in any way."""
    try:
        _check_leaves(entries)
    except VerificationFailed as error:
        before = _before(error, entries)
        _check(before, story, tree)
        tree.compare_leaves(before)
        raise
    try:
        story.follow(entries)
    except VerificationFailed as error:
        tree.compare_leaves(_before(error, entries))
        raise


def _before(error: VerificationFailed, entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if error.index is not None and entry[0] < error.index]


def _check_leaves(entries: list[Entry]) -> None:
    """Every body hashed again; every month that of its time."""
    hashes = [sha256(entry[-1]).digest() for entry in entries]
    if hashes != [entry[1] for entry in entries]:
        index = next(entry[0] for entry, made in zip(entries, hashes, strict=True) if made != entry[1])
        _check_months([entry for entry in entries if entry[0] < index])
        raise VerificationFailed(f"entry {index} was changed: its body does not have its leaf hash", index=index)
    _check_months(entries)


def _check_months(entries: list[Entry]) -> None:
    months = {(entry[8], entry[5][:7]): entry[0] for entry in reversed(entries)}
    wrong = [index for (month, time), index in months.items() if _month(month) != time]
    if wrong:
        raise bad_columns(min(wrong))


def _month(month: object) -> str:
    return f"{month // 100}-{month % 100:02d}" if isinstance(month, int) else ""


def _batches(
    connection: Connection, size: int, archived: Bodies | None, apart: set[int]
) -> Iterator[tuple[list[Entry], list[bytes]]]:
    """Entries in order, and the leaf hashes of these and of those that lie in files which are not given.

    Indexes of those that the catalogue does not hold, as their months lay in files before, are added to `apart`.
    """
    gaps = _Gaps(connection, archived, apart)
    expected, rows = 0, _rows(connection)
    while batch := list(islice(rows, BATCH)):
        first, last = batch[0][0], batch[-1][0]
        if first == expected and last == expected + len(batch) - 1:
            yield batch, [row[1] for row in batch]
            expected = last + 1
            continue
        entries, leaves = list[Entry](), list[bytes]()
        try:
            for row in batch:
                _require_once(row[0], expected)
                for missing in range(expected, row[0]):
                    gaps.fill(missing, entries, leaves)
                entries.append(row)
                leaves.append(row[1])
                expected = row[0] + 1
        except VerificationFailed:
            yield entries, leaves  # what stands before the gap may be wrong too, and is said first
            raise
        yield entries, leaves
    entries, leaves = list[Entry](), list[bytes]()
    try:
        for missing in range(expected, size):
            if not gaps.may_lie_in_a_file(missing):
                break
            gaps.fill(missing, entries, leaves)
    except VerificationFailed:
        yield entries, leaves
        raise
    if leaves:
        yield entries, leaves
    gaps.finish()


def _require_once(index: int, expected: int) -> None:
    if index < expected:
        raise VerificationFailed(f"entry {index} stands twice", index=index)


class _Gaps:
    """Entries that were moved to files."""

    def __init__(self, connection: Connection, archived: Bodies | None, apart: set[int]) -> None:
        self._apart = apart
        self._uncatalogued = uncatalogued(connection)
        self._archives = archives(connection)
        self._files = None if archived is None else moved(connection, archived)
        self._stored = read_tile(connection)
        self._filled = 0

    def may_lie_in_a_file(self, index: int) -> bool:
        """Whether a month with such indexes was moved."""
        return any(each.first <= index <= each.last for each in self._archives)

    def fill(self, index: int, entries: list[Entry], leaves: list[bytes]) -> None:
        """The entry from its file, and its leaf hash from the tree."""
        if not self.may_lie_in_a_file(index):
            raise VerificationFailed(f"entry {index} is missing", index=index)
        leaf = leaf_in(self._stored, index)
        self._filled += 1
        if self._files is not None:
            found, body = next(self._files, (None, b""))
            if found != index:
                raise VerificationFailed(f"the file of its month does not hold entry {index}", index=index)
            entries.append(from_file(index, leaf, body))
            if entries[-1][8] in self._uncatalogued:
                self._apart.add(index)
        leaves.append(leaf)

    def finish(self) -> None:
        """Just what was moved is missing."""
        wanted = sum(each.entries for each in self._archives)
        if self._filled != wanted:
            raise VerificationFailed(f"{wanted} entries were moved to files, {self._filled} are missing")
        if self._files is not None and next(self._files, None) is not None:
            raise VerificationFailed("a file of a month holds more entries than were moved to it")


class _Rebuilt:
    """The tree made anew from leaf hashes, compared tile by tile with the stored one."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._stored = read_tile(connection)
        self._connection = connection
        self._edge: dict[tuple[int, int], bytes] = {}
        self._size = size
        self._root = EMPTY_ROOT
        self._grown = 0
        self.seen = 0
        self.tree = TileTree(self._stored, size)

    def add(self, leaves: list[bytes]) -> None:
        """The next leaves; those beyond the tree's size are not in it yet."""
        inside = leaves[: max(0, self._size - self.seen)]
        self.seen += len(leaves)
        if not inside:
            return
        grown = grow(lambda level, number: self._edge[level, number], self._grown, inside)
        for place, hashes in grown.tiles.items():
            if len(hashes) == TILE * 32:
                self._compare(place, hashes)
        # Only tiles that can still grow are needed again.
        self._edge = {
            place: hashes for place, hashes in {**self._edge, **grown.tiles}.items() if self._grows(place, grown.size)
        }
        self._grown, self._root = grown.size, grown.root

    def compare_leaves(self, entries: list[Entry]) -> None:
        """One by one, as far as the tree has grown: to find the first that is not what is in it."""
        for index, leaf, *_ in entries:
            if index < self._size and leaf_in(self._stored, index) != leaf:
                raise _changed(0, index // TILE, index)

    def compare_before(self, index: int | None) -> None:
        """What was added and fills no tile yet, up to an entry that is wrong in another way."""
        for (level, number), hashes in self._edge.items():
            if level == 0 and index is not None:
                self._compare((level, number), hashes[: max(0, index - number * TILE) * 32], whole=False)

    @staticmethod
    def _grows(place: tuple[int, int], size: int) -> bool:
        level, number = place
        return number >= size >> (8 * (level + 1))

    def finish(self, root: bytes) -> None:
        """Everything is in: what is stored must be just this tree."""
        if self._grown != self._size:
            raise VerificationFailed(
                f"the tree is over {self._size} entries, {self.seen} are there", index=min(self._size, self.seen)
            )
        for place, hashes in self._edge.items():
            if hashes:
                self._compare(place, hashes)
        wanted = sum(1 for _ in tiles_of(self._size))
        if self._connection.execute(_TILES).scalar() != wanted:
            raise VerificationFailed("there are tiles that no entry makes")
        if self._root != root:
            raise VerificationFailed("the entries do not make the root that is stored: the past was changed")

    def _compare(self, place: tuple[int, int], hashes: bytes, *, whole: bool = True) -> None:
        stored = self._stored(*place)[: None if whole else len(hashes)]
        if stored != hashes:
            level, number = place
            width = TILE ** (level + 1)
            apart = next(
                (at for at in range(TILE) if stored[32 * at : 32 * at + 32] != hashes[32 * at : 32 * at + 32]), 0
            )
            index = number * width + apart * TILE**level
            raise _changed(level, number, index)


def _changed(level: int, number: int, index: int) -> VerificationFailed:
    return VerificationFailed(
        f"tile {level}/{number} is not what the entries from {index} on make: the past was changed", index=index
    )


def _check_checkpoints(
    connection: Connection, tree: TileTree, key: VerifierKey, kept: Iterable[bytes]
) -> tuple[int, int]:
    """Every checkpoint must be signed by the ledger's key and over the entries that stand: how many, and the last."""
    checked = last = 0
    for size, data in connection.stream("SELECT size, note FROM checkpoints ORDER BY size"):
        checkpoint = opened(bytes(data), key)[1]
        if checkpoint.size != size:
            raise VerificationFailed(f"the stored checkpoint of size {size} says {checkpoint.size}")
        _check_checkpoint(tree, checkpoint)
        checked, last = checked + 1, checkpoint.size
    for data in kept:
        _check_checkpoint(tree, opened(data, key)[1])
        checked += 1
    return checked, last


def _check_checkpoint(tree: TileTree, checkpoint: Checkpoint) -> None:
    if checkpoint.size > tree.size:
        raise VerificationFailed(
            f"a checkpoint was signed over {checkpoint.size} entries, {tree.size} are there: the database was rolled "
            "back",
            index=tree.size,
        )
    if checkpoint.size and tree.root_at(checkpoint.size) != checkpoint.root:
        raise VerificationFailed(
            f"the first {checkpoint.size} entries are not those that a checkpoint was signed over: the past was "
            "changed or this is a forked copy"
        )
