"""Write the ledger to a folder that verifies by itself: a C2SP tlog-tiles log with its key and a one-file verifier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

from qaqpa.errors import NotFound, NotPossible, StoreUnavailable
from qaqpa.ledger.archive import Bodies, bodies
from qaqpa.ledger.checkpoints import last_note, opened
from qaqpa.ledger.integrate import read_tile
from qaqpa.store import Connection, Store
from qaqpa.tlog.merkle import HASH_SIZE
from qaqpa.tlog.notes import VerifierKey
from qaqpa.tlog.tiles import TILE, entries_path, tile_path, tiles_of

Progress = Callable[[int, int], None]
"""Entries done, entries in all."""
_OLDER = "SELECT note FROM checkpoints WHERE size < ? ORDER BY size"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    size: int
    """Entries, all under the last checkpoint."""
    vkey: str


async def export(
    store: Store, key: VerifierKey, folder: Path, progress: Progress, archived: Bodies | None = None
) -> Exported:
    """Write everything under the last checkpoint. Raises NotFound without one, NotPossible for a folder in use."""
    return await asyncio.to_thread(_export, store, key, folder, progress, archived)


def _export(store: Store, key: VerifierKey, folder: Path, progress: Progress, archived: Bodies | None) -> Exported:
    with store.snapshot() as connection:
        data = last_note(connection, key)
        if data is None:
            raise NotFound("the ledger has no checkpoint yet, so there is nothing to export")
        size = opened(data, key)[1].size
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise NotPossible([f"{folder}: is not empty; give a new folder"])
            for path, content in _files(connection, key, size, progress, archived):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            (folder / "checkpoint").write_bytes(data)  # last: a folder without it was not finished
        except OSError as error:
            raise StoreUnavailable(f"{folder} cannot be written: {error.strerror}") from None
    return Exported(folder, size, str(key))


def _files(
    connection: Connection, key: VerifierKey, size: int, progress: Progress, archived: Bodies | None
) -> Iterator[tuple[str, bytes]]:
    yield "vkey.txt", f"{key}\n".encode()
    # Read and not imported: it makes tables as it loads, and no other command needs them.
    yield "verify.py", resources.files("qaqpa.tlog").joinpath("standalone.py").read_bytes()
    older = [bytes(row[0]) for row in connection.stream(_OLDER, (size,))]
    if older:
        yield "checkpoints.txt", b"".join(b"%d\n%b" % (len(note), note) for note in older)
    read = read_tile(connection)
    for level, number, width in tiles_of(size):
        yield tile_path(level, number, width), read(level, number)[: width * HASH_SIZE]
    all_bodies = bodies(connection, size, archived)
    for number in range((size + TILE - 1) // TILE):
        bundle = list(islice(all_bodies, TILE))
        yield entries_path(number, len(bundle)), b"".join(len(body).to_bytes(2, "big") + body for body in bundle)
        progress(number * TILE + len(bundle), size)
