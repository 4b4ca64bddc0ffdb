"""Erase a person (7.1(3)): their key is deleted, so nothing the ledger holds about them can be read, and every proof
still holds. What was kept of answers as evidence is deleted with it.

Back-ups and free pages still hold the wrapped key, so the erasure is pending until the keys of its epoch are destroyed
(`qaqpa keys rotate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qaqpa.errors import ErasureRefused, NotFound
from qaqpa.ledger import entries
from qaqpa.ledger.appending import Appended
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import entries_of
from qaqpa.store import Connection

_OPEN = "SELECT disclosure FROM unsettled WHERE subject = ? LIMIT 1"
_HANDOVERS = "SELECT disclosure FROM unsettled WHERE subject = ''"
_PENDING = (
    "SELECT id FROM consents WHERE subject = ? AND withdrawal_asked_at IS NOT NULL AND withdrawn_at IS NULL LIMIT 1"
)
_EPOCHS = "SELECT k.epoch, m.value FROM subject_keys k JOIN meta m ON m.name = 'epoch' WHERE k.subject = ?"
_FORGET = (
    "DELETE FROM subjects WHERE subject = ?",
    "DELETE FROM subject_keys WHERE subject = ?",
    "DELETE FROM answers WHERE subject = ?",
    "DELETE FROM evidence WHERE subject = ?",
    "DELETE FROM awaited WHERE subject = ?",
    "UPDATE recalls SET sealed = NULL WHERE subject = ?",
)
_REMEMBER = "INSERT INTO erasures (subject, epoch) VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased."""

    subject: str
    """The random id under which the entries stand."""
    index: int
    epoch: int
    """In effect when the keys of this epoch are destroyed."""


def _handover_of(connection: Connection, subject: str) -> str | None:
    """A handover under way, or of unknown end, that holds a row about this person."""
    opened = {row[0] for row in connection.execute(_HANDOVERS).all()}
    if opened:
        for entry in entries_of(connection, subject=subject, kind=Kind.INTENT):
            if entry.content.get("handover") in opened:
                return str(entry.content["handover"])
    return None


async def erase(
    ledger: Ledger,
    iin: str,
    *,
    caller: str,
    person: str,
    reason: str,
    duties_met: bool,
    instrument: str | None,
    also: Callable[[Connection, str], None] = lambda _connection, _subject: None,
) -> Erased:
    """Erase the person with this IIN; `also` is told the subject in the same transaction.

    While duties are open it takes an `instrument`: the law, court's or authority's act that demands it all the same.
    Raises ErasureRefused, NotFound.
    """
    subject = await ledger.subjects.find(iin)
    if subject is None:
        raise NotFound("the ledger knows nobody with this IIN")
    await ledger.subjects.follow_keyring()

    def unit(connection: Connection) -> Appended:
        epochs = connection.execute(_EPOCHS, (subject.id,)).first()
        if epochs is None:
            raise NotFound("the ledger knows nobody with this IIN any more")
        under_way = connection.execute(_OPEN, (subject.id,)).scalar() or _handover_of(connection, subject.id)
        if under_way is not None:
            raise ErasureRefused(
                f"it is not known what came of disclosure {under_way} about this person: settle it first "
                "(`qaqpa ledger open`, `qaqpa ledger settle`)"
            )
        if instrument is None:
            if not duties_met:
                raise ErasureRefused(
                    "duties under the contract are open (7.1(3)): erase when they are met, or name the instrument that "
                    "demands it all the same"
                )
            pending = connection.execute(_PENDING, (subject.id,)).scalar()
            if pending is not None:
                raise ErasureRefused(
                    f"the withdrawal of consent {pending} is pending because duties are open (7.1(3)): let it take "
                    "effect first (`qaqpa consent withdraw --duties-met`), or name the instrument"
                )
        also(connection, subject.id)
        for statement in _FORGET:
            connection.execute(statement, (subject.id,))
        # The last epoch that may have wrapped the key: the keys may have been rotated since the keyring was read.
        epoch = max(map(int, epochs))
        connection.execute(_REMEMBER, (subject.id, epoch))
        public = entries.erasure(
            subject.id, caller, person, reason, instrument=instrument, epoch=epoch, at=ledger.clock()
        )
        return ledger.append(connection, ledger.draft(Kind.ERASURE, subject.id, public, subject))

    appended = await ledger.store.write(unit, alone=True)
    return Erased(subject.id, appended.index, int(appended.draft.public["epoch"]))
