"""Back-ups: one SQLite file, whatever the engine, consistent while gateways run; and the way back from it.

The keyring is not in it: keep its copy apart, because whoever has both can read whom the ledger is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from qaqpa import files
from qaqpa.errors import (
    InvalidRequest,
    KeyringError,
    LedgerRolledBack,
    NotPossible,
    StoreUnavailable,
    VerificationFailed,
)
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger import entries
from qaqpa.ledger.checkpoints import Outside
from qaqpa.ledger.entries import RESTORE, Kind
from qaqpa.ledger.integrate import tree_of
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import size_of
from qaqpa.ledger.registers import parse_loss
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.open_text import check_open_text
from qaqpa.store import Connection, Row, Store, store_at
from qaqpa.store.schema import metadata
from qaqpa.tlog.notes import Checkpoint

Progress = Callable[[int, int], None]
"""Rows done, rows in all."""
_BATCH = 1_000
_ADD_LOSS = "INSERT INTO meta (name, value) VALUES ('loss', ?)"
_LOSS = "SELECT value FROM meta WHERE name = 'loss'"
_ENTERED = "DELETE FROM meta WHERE name = 'loss'"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a back-up holds."""

    path: Path
    found: Verified


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back."""

    found: Verified
    lost: Checkpoint | None
    """The checkpoint outside that the back-up does not reach; None where nothing is lost."""
    unreadable: int
    """Subjects whose keys were wrapped in an epoch that was destroyed since: nobody can read their sealed parts."""


_IS_OURS = "SELECT count(*) FROM sqlite_schema WHERE name IN ('alembic_version', 'entries')"
_MAGIC = b"SQLite format 3\0"


def _store_in(path: Path) -> Store:
    return store_at(f"sqlite:///{path.absolute()}", path.parent)


def back_up(store: Store, path: Path, progress: Progress) -> BackedUp:
    """Write one consistent view to a new file, and verify what was written. Raises StoreUnavailable."""
    if path.exists():
        raise NotPossible([f"{path}: exists; nothing is overwritten"])
    part = path.with_name(f"{path.name}.part")  # a back-up that was cut off never stands under its name
    for rest in (part, *(part.with_name(f"{part.name}{side}") for side in ("-wal", "-shm"))):
        rest.unlink(missing_ok=True)
    copy = _store_in(part)
    with store.snapshot() as source, copy.filled() as target:
        _copy(source, target, progress)
    with copy.snapshot() as connection:
        found = verify(connection)
    part.rename(path)
    files.sync_folder(path.absolute().parent)
    return BackedUp(path, found)


def restore(
    path: Path,
    store: Store,
    keyring: Keyring,
    outside: Outside,
    progress: Progress,
    *,
    accepted: Mapping[str, str] | None = None,
) -> Restored:
    """Fill an empty database from a back-up.

    `accepted` says who accepts that entries are lost (caller, person, reason); it is entered by the first gateway.
    Raises LedgerRolledBack when the back-up is older than the checkpoint outside, unless the loss is accepted: then
    that checkpoint is put aside and returned, to be entered. Raises VerificationFailed, KeyringError, NotPossible.
    """
    if not path.exists():
        raise NotPossible([f"{path}: there is no such file"])
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise NotPossible([f"{path}: is no back-up of Qaqpa's, which is an SQLite database"])
    with ExitStack() as stack:
        copy = _store_in(path)
        unreadable_file: tuple[type[Exception], ...] = (StoreUnavailable, *copy.engine.failures)
        try:
            source = stack.enter_context(copy.snapshot())
            if not source.execute(_IS_OURS).scalar():
                raise NotPossible([f"{path}: is no back-up of Qaqpa's, but somebody else's database"])
            found = verify(source, key=outside.key)
            _count(source)
        except unreadable_file as error:
            cause = copy.engine.cause(error.__cause__ if isinstance(error.__cause__, Exception) else error)
            sentence = (
                f"{path}: is no back-up of Qaqpa's, or is damaged, or lies where nothing may be written ({cause}); "
                "take another copy of it. Nothing was restored"
            )
            raise NotPossible([sentence]) from None
        if found.size == 0:
            raise NotPossible([f"{path}: holds no entry; it is no back-up, or one that was cut off"])
        unreadable = _require_keys(source, keyring, accept_loss=accepted is not None)
        lost = _lost(source, outside, accept_loss=accepted is not None)
        with store.filled() as target:
            _copy(source, target, progress)
            if lost is not None:
                loss = {**(accepted or {}), "size": found.size, "lost_size": lost.size, "lost_root": lost.root.hex()}
                target.execute(_ADD_LOSS, (orjson.dumps(loss).decode(),))
    if lost is not None:
        outside.put_aside(lost.size)
    return Restored(found, lost, unreadable)


async def enter_loss(ledger: Ledger) -> None:
    """The first gateway on a ledger that was restored with a loss enters it, and who accepted it."""
    value, size = await ledger.store.read(lambda c: (c.execute(_LOSS).scalar(), size_of(c)))
    if value is not None:
        try:
            loss = parse_loss(value)
            who = {name: loss.pop(name) for name in ("caller", "person", "reason")}
            check_open_text(**who)
        except (VerificationFailed, InvalidRequest):
            loss = {}
        if loss.get("size") != size:
            raise StoreUnavailable(
                "meta.loss was changed: it does not say who accepted which loss of this ledger; nothing is entered. "
                "Run `qaqpa ledger verify`, and `qaqpa restore` once more"
            )
        public = entries.control(RESTORE, "", **who, at=ledger.clock(), **loss)
        with suppress(NotPossible):  # another gateway was faster
            await ledger.record(Kind.CONTROL, public, also=_once)


def _once(connection: Connection) -> None:
    if connection.execute(_LOSS).scalar() is None:
        raise NotPossible(["the loss was entered meanwhile"])
    connection.execute(_ENTERED)


def _lost(source: Connection, outside: Outside, *, accept_loss: bool) -> Checkpoint | None:
    try:
        outside.require_extended(tree_of(source))
    except LedgerRolledBack as error:
        kept = outside.read() if accept_loss else None
        if kept is None:
            raise LedgerRolledBack(
                f"the back-up does not reach the checkpoint {outside.path} ({error}). Entries after it would be lost: "
                "restore a newer one, or accept the loss with --accept-loss; it is entered then"
            ) from None
        return kept
    return None


def _require_keys(source: Connection, keyring: Keyring, *, accept_loss: bool) -> int:
    bound = source.execute("SELECT value FROM meta WHERE name = 'keyring'").scalar()
    if bound is not None and bound != keyring.id:
        raise KeyringError("the back-up belongs to another keyring: put the right one in its place first")
    row = source.execute("SELECT count(*), min(epoch) FROM subject_keys WHERE epoch < ?", (min(keyring.epochs),)).one()
    if row[0] and not accept_loss:
        raise KeyringError(
            f"the keys of {row[0]} subjects in the back-up are of epoch {row[1]}, which was destroyed when the keys "
            "were rotated: nobody can read whom their entries are about. Restore a back-up made after the rotation, or "
            "accept the loss with --accept-loss"
        )
    return int(row[0])


def _count(source: Connection) -> int:
    """Rows of all tables, each of which is there."""
    tables = [table.name for table in metadata.sorted_tables]
    return sum(int(source.execute(f"SELECT count(*) FROM {name}").scalar()) for name in tables)  # noqa: S608


def _copy(source: Connection, target: Connection, progress: Progress) -> None:
    tables = metadata.sorted_tables
    total = _count(source)
    done = 0
    for table in tables:
        names = [column.name for column in table.columns]
        target.execute(f"DELETE FROM {table.name}")  # noqa: S608 - names of the schema
        insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        for rows in _batches(source.stream(f"SELECT {', '.join(names)} FROM {table.name}")):  # noqa: S608
            if table.name == "entries":
                for month in {row[names.index("month")] for row in rows}:
                    target.make_month(month)
            try:
                target.execute_many(insert, rows)
            except Exception as error:
                if target.is_damage(error):
                    raise VerificationFailed(
                        f"rows of the table {table.name} do not fit it: the database was changed; `qaqpa ledger "
                        "verify` says more"
                    ) from error
                raise
            done += len(rows)
            progress(done, total)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch
