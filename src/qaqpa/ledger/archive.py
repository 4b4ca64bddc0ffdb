"""Move the bodies of an old month to a file. Their leaf hashes stay in the tree, so the file still verifies.

A line of the file is an entry's index, a space and its body (canonical JSON has no line breaks).
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from qaqpa import files
from qaqpa.errors import NotFound, NotPossible, QaqpaError, StoreUnavailable, VerificationFailed
from qaqpa.ledger import entries
from qaqpa.ledger.catalogue import catalogued
from qaqpa.ledger.entries import ARCHIVE, Kind
from qaqpa.ledger.integrate import integrated, read_tile
from qaqpa.ledger.ledger import Ledger
from qaqpa.store import Connection
from qaqpa.tlog.merkle import HASH_SIZE, leaf_hash
from qaqpa.tlog.tiles import TILE, ReadTile

_TRIES, _AGAIN_S = 10, 0.5
"""While the ledger is read at length."""
_BUSY = (
    "month: cannot be moved while the ledger is read at length (a verification, a back-up, an export): ask again when "
    "that is done. Nothing was moved"
)

Bodies = Callable[[int], Iterator[tuple[int, bytes]]]
"""Indexes and bodies of a month that was moved to a file. Raises VerificationFailed."""

_MONTH = "SELECT idx, leaf, body FROM entries WHERE month = ? ORDER BY idx"
_ADD = "INSERT INTO archives (month, first, last, entries, sha256, file) VALUES (?, ?, ?, ?, ?, ?)"
_BODIES = "SELECT idx, body FROM entries WHERE idx < ? ORDER BY idx"
_IS_MOVED = "SELECT file FROM archives WHERE month = ?"
_COUNT = "SELECT count(*) FROM entries WHERE month = ?"


@dataclass(frozen=True, slots=True)
class Archived:
    """A month in a file."""

    month: int
    first: int
    last: int
    """Indexes; between them may stand entries of other months, where clocks differ."""
    entries: int
    sha256: str
    file: str
    """Its name; where it is kept is the operator's to know."""


def archives(connection: Connection) -> list[Archived]:
    """Every month that was moved."""
    rows = connection.execute("SELECT month, first, last, entries, sha256, file FROM archives ORDER BY month").all()
    return [Archived(*row) for row in rows]


def file_name(month: int) -> str:
    """The file's name, e.g. entries-2026-01.txt."""
    return f"entries-{month // 100}-{month % 100:02d}.txt"


async def archive(ledger: Ledger, month: int, folder: Path, *, caller: str, person: str, reason: str) -> Archived:
    """Move a month that is over. Raises NotPossible, NotFound, StoreUnavailable."""
    now = ledger.clock()
    if month >= now.year * 100 + now.month:
        raise NotPossible(["month: is not over yet"])
    written = await asyncio.to_thread(_write, ledger, month, folder)
    public = entries.control(
        ARCHIVE, "", caller, person, reason, at=now,
        month=month, entries=written.entries, sha256=written.sha256, file=written.file,
        catalogued=True,
    )  # fmt: skip

    surely_not = True

    def move(connection: Connection) -> None:
        nonlocal surely_not
        surely_not = True
        if connection.execute(_IS_MOVED, (month,)).first() is not None:
            raise NotPossible(["month: was moved meanwhile by somebody else"])
        if int(connection.execute(_COUNT, (month,)).scalar()) != written.entries:  # a clock that was set back
            raise NotPossible(["month: got entries while it was written; nothing was moved, ask again"])
        connection.execute(_ADD, astuple(written))
        if not connection.drop_month(month):
            raise _BeingRead([_BUSY])
        surely_not = False

    for left in reversed(range(_TRIES)):
        try:
            await ledger.record(Kind.CONTROL, public, also=move)
        except QaqpaError as error:
            if left and isinstance(error, _BeingRead):
                await asyncio.sleep(_AGAIN_S)
                continue
            if surely_not:  # in every other case the file may hold the only copy
                (folder / written.file).unlink(missing_ok=True)
            raise
        break
    return written


class _BeingRead(NotPossible):
    """A try to move a month was given up, so that appending goes on."""


def _write(ledger: Ledger, month: int, folder: Path) -> Archived:
    path = folder / file_name(month)
    with ledger.store.snapshot() as connection:
        if (moved := connection.execute(_IS_MOVED, (month,)).scalar()) is not None:
            raise NotPossible([f"month: was moved to {moved} before; what was entered into it since stays where it is"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    indexes, digest = _fill(file, connection, month)
                files.sync_folder(folder)  # the file's name too, before the bodies are deleted from the database
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        except FileExistsError:
            raise NotPossible(
                [f"{path}: exists; nothing is overwritten. Left by a move that was cut off, it may be removed"]
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be written: {error.strerror}; nothing was moved") from None
    if not indexes:
        path.unlink()
        raise NotFound(f"there is no entry of {month // 100}-{month % 100:02d}")
    return Archived(month, indexes[0], indexes[-1], len(indexes), digest, path.name)


def _fill(file: BinaryIO, connection: Connection, month: int) -> tuple[array[int], str]:
    """Write the month durably; returns the indexes and the SHA-256 of all."""
    digest, indexes, size = hashlib.sha256(), array("q"), min(integrated(connection)[0], catalogued(connection).size)
    for index, leaf, body in connection.stream(_MONTH, (month,)):
        if index >= size:
            raise NotPossible(
                [f"month: entry {index} is not in the tree yet, or the catalogue; a moment later it is, ask again"]
            )
        if not isinstance(body, bytes) or leaf_hash(body) != leaf:
            raise VerificationFailed(f"entry {index} is not what is in the tree", index=index)
        line = b"%d %b\n" % (index, body)
        digest.update(line)
        file.write(line)
        indexes.append(index)
    file.flush()
    os.fsync(file.fileno())
    return indexes, digest.hexdigest()


def from_folder(folder: Path) -> Bodies:
    """The files of a folder, for reading."""

    def bodies(month: int) -> Iterator[tuple[int, bytes]]:
        path = folder / file_name(month)
        try:
            with path.open("rb") as file:
                for line in file:
                    index, _, body = line.rstrip(b"\n").partition(b" ")
                    if not index.isdigit():
                        raise VerificationFailed(f"{path.name} is not a file of entries")
                    yield int(index), body
        except OSError as error:
            raise VerificationFailed(f"{path} cannot be read: {error.strerror}") from None

    return bodies


def moved(connection: Connection, archived: Bodies) -> Iterator[tuple[int, bytes]]:
    """Everything that was moved to files, in the order of indexes."""
    return heapq.merge(*(archived(each.month) for each in archives(connection)))


def bodies(connection: Connection, size: int, archived: Bodies | None) -> Iterator[bytes]:
    """The bodies of the first `size` entries, from files where they were moved there. Raises NotFound."""
    apart = iter(()) if archived is None else moved(connection, archived)
    tile, expected = read_tile(connection), 0
    for index, body in chain(connection.stream(_BODIES, (size,)), [(size, b"")]):
        for missing in range(expected, index):
            at, found = next(apart, (None, b""))
            if archived is None:
                raise NotFound(
                    f"entry {missing} was moved to a file: give --archives and the folder that holds "
                    f"{' and '.join(each.file for each in archives(connection)) or 'it'}"
                )
            if at != missing or leaf_hash(found) != leaf_in(tile, missing):
                raise VerificationFailed(f"its month's file does not hold entry {missing} as it was", index=missing)
            yield found
        expected = index + 1
        if index < size:
            if not isinstance(body, bytes):
                raise VerificationFailed(f"entry {index} was changed: its body is not stored as bytes", index=index)
            yield body


def leaf_in(tile: ReadTile, index: int) -> bytes:
    """The leaf hash of an entry, from the tree."""
    number, at = divmod(index, TILE)
    return tile(0, number)[HASH_SIZE * at : HASH_SIZE * (at + 1)]
