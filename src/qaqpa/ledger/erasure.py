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
from qaqpa.ledger.agreed import Act, Agreed
from qaqpa.ledger.appending import Appended
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.ledger import Ledger
from qaqpa.ledger.read import entries_of
from qaqpa.model.identifiers import is_subject_id
from qaqpa.store import Connection, Row

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


def require_erasable(connection: Connection, subject: str, *, duties_met: bool, instrument: str | None) -> Row:
    """The epochs of the person's key and of the keyring. Raises ErasureRefused, NotFound."""
    epochs = connection.execute(_EPOCHS, (subject,)).first() if is_subject_id(subject) else None
    if epochs is None:
        raise NotFound("the ledger knows no such person, or not any more")
    under_way = connection.execute(_OPEN, (subject,)).scalar() or _handover_of(connection, subject)
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
        pending = connection.execute(_PENDING, (subject,)).scalar()
        if pending is not None:
            raise ErasureRefused(
                f"the withdrawal of consent {pending} is pending because duties are open (7.1(3)): let it take "
                "effect first (`qaqpa consent withdraw --duties-met`), or name the instrument"
            )
    return epochs


async def erase(
    ledger: Ledger,
    agreed: Agreed,
    *,
    caller: str,
    also: Callable[[Connection, str], None] = lambda _connection, _subject: None,
) -> Erased:
    """Erase the person whom two others agreed to erase; `also` is told the subject in the same transaction.

    While duties are open it takes an instrument: the law, court's or authority's act that demands it all the same.
    Raises NotAllowed for what was agreed of another act, NotPossible where it is done, ErasureRefused, NotFound.
    """
    what = agreed.require(Act.ERASE, Act.FORCE_ERASURE)
    instrument = what["instrument"] if agreed.act is Act.FORCE_ERASURE else None
    subject = await ledger.subjects.by_id(what["subject"])
    await ledger.subjects.follow_keyring()

    def unit(connection: Connection) -> Appended:
        agreed.use_up(connection)
        epochs = require_erasable(connection, subject.id, duties_met=instrument is None, instrument=instrument)
        also(connection, subject.id)
        for statement in _FORGET:
            connection.execute(statement, (subject.id,))
        # The last epoch that may have wrapped the key: the keys may have been rotated since the keyring was read.
        epoch = max(map(int, epochs))
        connection.execute(_REMEMBER, (subject.id, epoch))
        public = entries.erasure(
            subject.id, caller, agreed.persons, agreed.reason, instrument=instrument, epoch=epoch,
            approval=agreed.approval, at=ledger.clock(),
        )  # fmt: skip
        return ledger.append(connection, ledger.draft(Kind.ERASURE, subject.id, public, subject))

    appended = await ledger.store.write(unit, alone=True)
    return Erased(subject.id, appended.index, int(appended.draft.public["epoch"]))
