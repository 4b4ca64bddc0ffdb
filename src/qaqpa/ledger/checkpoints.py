"""Signed checkpoints of the tree (C2SP tlog-checkpoint), and the one kept outside the database.

Before a new one is signed, the tree must extend the one outside; so a database that was rolled back or forked never
gets another signature, and a gateway on it does not open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from qaqpa import files, log
from qaqpa.errors import LedgerRolledBack, NotFound, StoreUnavailable, VerificationFailed
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger.integrate import integrate_all, integrated, tree_of
from qaqpa.ledger.ledger import Clock
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row, Store
from qaqpa.tlog.notes import Algorithm, Checkpoint, Note, Signature, TlogProof, VerifierKey, sign
from qaqpa.tlog.tiles import TileTree

_ADD = "INSERT INTO checkpoints (size, time, note) VALUES (?, ?, ?) ON CONFLICT (size) DO NOTHING"
_HOURS = "SELECT size, note FROM checkpoints WHERE time >= ? AND size < ? ORDER BY size DESC"
_DROP = "DELETE FROM checkpoints WHERE size = ? AND note = ?"
_HOUR = len("2026-11-23T10")
_LATEST = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1"
_SIZE = "SELECT size FROM tree WHERE id = 1"
_SIGNED = "SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1"
_SINCE = "SELECT time FROM entries WHERE idx = ?"
_NOTE = "SELECT note FROM checkpoints WHERE size = ?"
_COSIGNED = (
    "INSERT INTO checkpoints (size, time, note) VALUES (?, ?, ?) ON CONFLICT (size) DO UPDATE SET note = excluded.note"
)


_log = log.get("checkpoints")


def log_key(origin: str, public: bytes) -> VerifierKey:
    """The verifier key of a ledger."""
    return VerifierKey(origin, Algorithm.ED25519, public)


def opened(data: bytes, key: VerifierKey) -> tuple[Note, Checkpoint]:
    """A checkpoint of this ledger. Raises VerificationFailed for one that is not, or not signed by its key."""
    note = Note.parse(data)
    note.verify(key)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise VerificationFailed(f"the checkpoint is of the log {checkpoint.origin}, not of {key.name}")
    return note, checkpoint


def latest_note(connection: Connection) -> bytes | None:
    """The last checkpoint that was signed, with the cosignatures it has got, as the database has it."""
    note = connection.execute(_LATEST).scalar()
    return None if note is None else _bytes(note)


def oldest_unsigned(connection: Connection) -> datetime | None:
    """Since when the oldest entry without a checkpoint has stood; None where every entry has one. Raises LookupError,
    ValueError where the database does not say."""
    size = int(connection.execute(_SIZE).one()[0])
    signed = int(connection.execute(_SIGNED).scalar() or 0)
    since = connection.execute(_SINCE, (signed,)).scalar() if size > signed else None
    return None if since is None else datetime.fromisoformat(since)


def _bytes(stored: bytes | str) -> bytes:
    """A stored note, also where somebody made a text of it."""
    return stored.encode() if isinstance(stored, str) else stored


def _needless(stored: Iterable[Row], key: VerifierKey) -> list[Row]:
    """Those that no witness cosigned, or that say only what a later one says too. They come newest first."""
    found, seen = list[Row](), set[tuple[str, bytes]]()
    for size, note in stored:
        try:
            signatures = Note.parse(_bytes(note)).signatures
        except VerificationFailed:
            continue  # what that is, `qaqpa ledger verify` says
        witnesses = {(each.name, each.key_id) for each in signatures if not each.is_by(key)}
        if witnesses <= seen:
            found.append((size, note))
        seen |= witnesses
    return found


def last_note(connection: Connection, key: VerifierKey, outside: bytes | None = None) -> bytes | None:
    """The last checkpoint, of the database or `outside` it: signed by the key, and over the entries that stand.

    Raises VerificationFailed for one that is not.
    """
    notes = {note: opened(note, key)[1] for note in (latest_note(connection), outside) if note is not None}
    tree = tree_of(connection)
    for checkpoint in notes.values():
        if checkpoint.size > tree.size or (checkpoint.size and tree.root_at(checkpoint.size) != checkpoint.root):
            raise VerificationFailed(
                f"the checkpoint over {checkpoint.size} entries is not over those that stand: the past was changed, or "
                "the database is an older or a forked copy; `qaqpa ledger verify` says more"
            )
    # Of two of the same size the database's: it has the cosignatures.
    return max(notes, key=lambda note: notes[note].size, default=None)


def proof_of(connection: Connection, key: VerifierKey, index: int, outside: bytes | None = None) -> bytes:
    """A C2SP tlog-proof of an entry under the last checkpoint. Raises NotFound, VerificationFailed."""
    data = last_note(connection, key, outside)
    size = 0 if data is None else opened(data, key)[1].size
    if data is None or index >= size:
        raise NotFound(f"entry {index} is under no checkpoint: the last one is over {size} entries")
    return TlogProof(index, tuple(tree_of(connection).inclusion(index, size)), data).to_bytes()


class Outside:
    """The checkpoint in a file: what this machine remembers of the ledger, whatever the database says."""

    def __init__(self, path: Path, key: VerifierKey) -> None:
        self.path = path
        self.key = key

    def read(self) -> Checkpoint | None:
        """The last checkpoint, None before the first. Raises LedgerRolledBack for a file that is not ours."""
        try:
            return opened(self.path.read_bytes(), self.key)[1]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be read: {error.strerror}; nothing is sent") from None
        except VerificationFailed as error:
            raise LedgerRolledBack(
                f"{self.path} is not a checkpoint of this ledger ({error}): it belongs to another ledger or was "
                "forged. Put the right one back; nothing is sent"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time compares and swaps."""
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path.with_name(self.path.name + ".lock")))
            except OSError as error:
                raise StoreUnavailable(f"{self.path}.lock cannot be made: {error.strerror}; nothing is sent") from None
            yield

    def write(self, note: bytes) -> None:
        """Replace the file, whole or not at all."""
        try:
            files.replace(self.path, note)
        except OSError as error:
            raise StoreUnavailable(
                f"the checkpoint {self.path} cannot be written: {error.strerror}; entries stay durable, but no new "
                "checkpoint is signed"
            ) from None

    def put_aside(self, size: int) -> None:
        """A loss was accepted: the checkpoint is kept under another name, as evidence of what there was."""
        path = Path(os.path.realpath(self.path))
        path.replace(path.with_name(f"{path.name}.lost-{size}"))

    def require_extended(self, tree: TileTree) -> Checkpoint | None:
        """The checkpoint outside, which `tree` extends. Raises LedgerRolledBack when it does not."""
        kept = self.read()
        if kept is None:
            return None
        if kept.size > tree.size:
            raise LedgerRolledBack(
                f"the database holds {tree.size} entries, but {self.path} was signed over {kept.size}: the database "
                "was restored from an older back-up, or is another copy. Bring back the newer database; if it is lost, "
                "move this one away and run `qaqpa restore FILE --accept-loss` with the newest back-up, which "
                "enters the loss. Nothing is sent"
            )
        if kept.size and tree.root_at(kept.size) != kept.root:
            raise LedgerRolledBack(
                f"the first {kept.size} entries of the database are not those that {self.path} was signed over: it is "
                "a forked copy, or its past was changed. `qaqpa ledger verify` says more. Nothing is sent"
            )
        return kept


class Checkpoints:
    """Makes checkpoints of one ledger."""

    def __init__(self, store: Store, keyring: Keyring, origin: str, path: Path, clock: Clock) -> None:
        self.key = log_key(origin, keyring.public)
        self.outside = Outside(path, self.key)
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._size = -1
        """Of the last checkpoint that this process knows of."""

    async def start(self) -> None:
        """Let the tree catch up and compare it with the outside. Raises LedgerRolledBack."""
        await integrate_all(self._store)
        await asyncio.to_thread(self._compare)

    async def make(self) -> Note | None:
        """A checkpoint over every entry that stands now; None when the last one is still true."""
        await integrate_all(self._store)
        if await self._store.read(lambda connection: integrated(connection)[0]) in (0, self._size):
            return None
        checkpoint, note = await asyncio.to_thread(self._sign)
        now = timestamp(self._clock())
        # Of each hour the last one is kept, and the last one that each witness cosigned: proofs bridge the others.
        earlier = await self._store.read(lambda c: c.execute(_HOURS, (now[:_HOUR], checkpoint.size)).all())
        needless = _needless(earlier, self.key)

        def unit(connection: Connection) -> None:
            for row in needless:
                connection.execute(_DROP, row)  # unless it was cosigned meanwhile
            connection.execute(_ADD, (checkpoint.size, now, note.to_bytes()))

        await self._store.write(unit)
        self._size = checkpoint.size
        return note

    async def add_cosignature(self, note: Note, signature: Signature) -> None:
        """A witness signed this checkpoint too. It is stored again if a later one took its place meanwhile.

        Raises VerificationFailed where another one of its size is stored.
        """
        size, now = Checkpoint.parse(note.text).size, timestamp(self._clock())

        def unit(connection: Connection) -> None:
            stored = connection.execute(_NOTE, (size,)).scalar()
            known = note if stored is None else Note.parse(_bytes(stored))
            if known.text != note.text:
                raise VerificationFailed(f"the stored checkpoint of size {size} is not the one that was cosigned")
            connection.execute(_COSIGNED, (size, now, known.adding([signature]).to_bytes()))

        await self._store.write(unit)

    def _compare(self) -> None:
        # Locked: else another gateway may sign between our view of the database and our look at the file.
        with self.outside.locked(), self._store.snapshot() as connection:
            if self._require_right(connection)[0] is None and latest_note(connection) is not None:
                _log.warning(
                    "no checkpoint outside the database: right once on a new machine, else ask who removed it",
                    file=str(self.outside.path),
                )

    def _require_right(self, connection: Connection) -> tuple[Checkpoint | None, TileTree]:
        tree = tree_of(connection)
        if tree.size and tree.root() != integrated(connection)[1]:
            raise LedgerRolledBack("the stored tiles do not make the stored root: run `qaqpa ledger verify`")
        kept = self.outside.require_extended(tree)
        if kept is None and (stored := latest_note(connection)) is not None:
            self._require_extended(tree, stored)
        return kept, tree

    def _require_extended(self, tree: TileTree, stored: bytes) -> None:
        """The file is gone, or this machine is new: then the database's own last checkpoint is all there is to hold it
        against. Who rolls back both and deletes the file is found by a witness alone.
        """
        try:
            last = opened(stored, self.key)[1]
            stands = last.size <= tree.size and (not last.size or tree.root_at(last.size) == last.root)
        except VerificationFailed:
            stands = False
        if not stands:
            raise LedgerRolledBack(
                "the database's last checkpoint is not over the entries that stand: it is a forked copy, or its past "
                "was changed. `qaqpa ledger verify` says more. Nothing is sent"
            )

    def _sign(self) -> tuple[Checkpoint, Note]:
        with self.outside.locked(), self._store.snapshot() as connection:
            kept, tree = self._require_right(connection)
            checkpoint = Checkpoint(self.key.name, tree.size, tree.root())
            if kept is not None and kept.size == checkpoint.size:
                note = Note.parse(self.outside.path.read_bytes())
            else:
                text = checkpoint.text()
                note = Note(text, (sign(text, self.key, self._keyring.sign),))
                self.outside.write(note.to_bytes())
        return checkpoint, note
