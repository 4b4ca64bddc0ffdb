"""Rotate the keys: a new epoch wraps the living subjects' keys and indexes them anew, then the old epoch is destroyed.

With it die the keys of everybody who was erased, wherever a copy of their rows is left: in back-ups, free pages, a
server's dead rows. Killed at any instant, it goes on when it is run again; gateways go on working meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qaqpa import files
from qaqpa.errors import KeyringError, NotPossible, StoreUnavailable
from qaqpa.ledger import entries, handovers
from qaqpa.ledger.entries import ROTATE_KEYS, Kind
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject, iin_of
from qaqpa.model.identifiers import SubjectId
from qaqpa.store import Connection

BATCH = 500
_OLD = (
    "SELECT k.subject, k.epoch, k.wrapped, s.iin FROM subject_keys k JOIN subjects s ON s.subject = k.subject "
    "WHERE k.epoch < ? AND k.epoch >= ? AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.subject = k.subject) LIMIT ?"
)
_REWRAP = "UPDATE subject_keys SET epoch = ?, wrapped = ? WHERE subject = ?"
_REINDEX = "UPDATE subjects SET blind = ?, iin = ? WHERE subject = ?"
_LEFT = "SELECT count(*) FROM subject_keys WHERE epoch < ? AND epoch >= ?"
# What is of an epoch before the oldest living one came with an old back-up, and nobody can read it any more.
_ALL = "SELECT count(*) FROM subject_keys"
_TOLD = "SELECT subject FROM erasures"
_BACK = "SELECT k.subject FROM subject_keys k JOIN erasures e ON e.subject = k.subject LIMIT 1"
_ERASURES = "SELECT count(*) FROM erasures WHERE epoch < ?"
_PENDING = "SELECT count(*) FROM erasures WHERE epoch >= ?"
_ROTATED = "SELECT value FROM meta WHERE name = 'rotated'"
_SET_ROTATED = (
    "INSERT INTO meta (name, value) VALUES ('rotated', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
Progress = Callable[[int, int], None]
"""Keys done, keys in all."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did."""

    epoch: int
    subjects: int
    """Whose keys live on."""
    destroyed: tuple[int, ...]
    """Epochs whose keys are no more."""
    index: int | None
    """The entry that tells it; None where it was entered before."""
    erasures: int
    """In effect now."""
    pending: int
    """Erasures after this epoch began (the rotation had been cut off): they wait for the next rotation."""


async def rotate(
    ledger: Ledger, *, caller: str, person: str, reason: str, progress: Progress = lambda _done, _all: None
) -> Rotated:
    """Rotate, or finish a rotation that was cut off. Raises NotPossible while another process is at it."""
    with _alone(ledger.keyring.path):
        return await _rotate(ledger, caller, person, reason, progress)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One rotation of a keyring at a time."""
    with ExitStack() as stack:
        try:
            stack.enter_context(files.locked(path.with_name(path.name + ".rotating"), wait=False))
        except BlockingIOError:
            raise NotPossible(["keys: another process is rotating them; it says when it is done"]) from None
        except OSError as error:
            raise KeyringError(f"{path}.rotating cannot be made: {error.strerror}") from None
        yield


async def _rotate(ledger: Ledger, caller: str, person: str, reason: str, progress: Progress) -> Rotated:
    keyring = ledger.keyring
    keyring.refresh()
    await ledger.store.read(_require_erased)
    if len(keyring.epochs) == 1 and not await _unfinished(ledger):
        keyring.begin_epoch()
    # From here on every gateway that touches the database reads the keyring again.
    await ledger.subjects.follow_keyring()
    epoch, oldest = keyring.epoch, min(keyring.epochs)
    total = int(await ledger.store.read(lambda connection: connection.execute(_LEFT, (epoch, oldest)).scalar()))
    done = 0
    while moved := await ledger.store.write(lambda connection: _move(ledger, connection, epoch), long=True):
        done += moved
        progress(min(done, total), total)
    await ledger.store.write(lambda connection: handovers.rewrap(connection, keyring), long=True)
    if left := int(await ledger.store.read(lambda connection: connection.execute(_LEFT, (epoch, oldest)).scalar())):
        raise KeyringError(
            f"{left} subjects' keys have no place in the index or are of persons who were erased, and would die with "
            "the old epoch: run `qaqpa ledger verify` and restore a back-up; nothing was destroyed"
        )
    destroyed = keyring.destroy_before(epoch)
    await asyncio.to_thread(ledger.store.engine.shrink)
    index = await _enter(ledger, epoch, caller, person, reason)
    subjects = int(await ledger.store.read(lambda connection: connection.execute(_ALL).scalar()))
    effective, pending = await ledger.store.read(lambda connection: _erasures(connection, epoch))
    return Rotated(epoch, subjects, destroyed, index, effective, pending)


async def _unfinished(ledger: Ledger) -> bool:
    """Whether the keyring has changed its epoch and the ledger does not tell of it yet."""
    rotated = await ledger.store.read(lambda connection: connection.execute(_ROTATED).scalar())
    # Else a rotation would destroy an epoch and not be entered.
    if rotated is not None and not (str(rotated).isdecimal() and 1 < int(rotated) <= ledger.keyring.epoch):
        raise StoreUnavailable(
            f"meta.rotated was changed: it is not of an epoch up to {ledger.keyring.epoch}; nothing was destroyed. Run "
            "`qaqpa ledger verify`"
        )
    return int(rotated or 1) < ledger.keyring.epoch


def _require_erased(connection: Connection) -> None:
    """Nobody who was erased has a key again, which would be carried into the new epoch."""
    known = {subject for (subject,) in connection.execute(_TOLD).all()}
    if not {entry.content["subject"] for entry in entries_of(connection, kind=Kind.ERASURE)} <= known:
        raise StoreUnavailable(
            "the register erasures was changed: it lacks a person whom an entry erased; nothing was destroyed. Run "
            "`qaqpa ledger verify`"
        )
    if (back := connection.execute(_BACK).scalar()) is not None:
        raise StoreUnavailable(
            f"subject {back} was erased and has a key again: somebody else wrote to the database, or copied rows of an "
            "old back-up into it. Delete that subject's rows from subjects and subject_keys; nothing was destroyed"
        )


def _move(ledger: Ledger, connection: Connection, epoch: int) -> int:
    """Wrap and index a batch anew; returns how many."""
    keyring = ledger.keyring
    if keyring.epoch != epoch:
        raise NotPossible(["the keyring changed while its keys were rotated: run it again"])
    rows = connection.execute(_OLD, (epoch, min(keyring.epochs), BATCH)).all()
    keys, indexes = [], []
    for name, old, wrapped, sealed in rows:
        subject = Subject(SubjectId(name), keyring.unwrap(name, old, bytes(wrapped)))
        iin = subject.open_iin(bytes(sealed)) if sealed is not None else iin_of(connection, subject)
        keys.append((epoch, keyring.wrap(name, subject.key), name))
        indexes.append((keyring.blind(iin), subject.seal_iin(iin), name))
    if rows:
        connection.execute_many(_REWRAP, keys)
        connection.execute_many(_REINDEX, indexes)
    return len(rows)


async def _enter(ledger: Ledger, epoch: int, caller: str, person: str, reason: str) -> int | None:
    if not await _unfinished(ledger):
        return None
    subjects, erasures = await ledger.store.read(lambda c: (c.execute(_ALL).scalar(), _erasures(c, epoch)[0]))
    public = entries.control(
        ROTATE_KEYS, "", caller, person, reason, at=ledger.clock(), epoch=epoch, subjects=subjects, erasures=erasures
    )
    return await ledger.record(Kind.CONTROL, public, also=lambda connection: _set_rotated(connection, epoch))


def _erasures(connection: Connection, epoch: int) -> tuple[int, int]:
    """How many are in effect when all epochs before `epoch` are destroyed, and how many are still pending then."""
    return connection.execute(_ERASURES, (epoch,)).scalar(), connection.execute(_PENDING, (epoch,)).scalar()


def _set_rotated(connection: Connection, epoch: int) -> None:
    connection.execute(_SET_ROTATED, (str(epoch),))
