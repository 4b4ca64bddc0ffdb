"""Answers that come later: what it takes to fetch one and to conclude its disclosure, after whatever crash.

It is written in the transaction of the intent, sealed under the person's own key, and gone with the outcome or with the
person. While it stands, its disclosure is not given up when the gateway that sent it dies: a job looks after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from qaqpa.errors import NotFound, StoreUnavailable
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject
from qaqpa.model.decision import Decision
from qaqpa.model.disclosure import Intent
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

if TYPE_CHECKING:
    from qaqpa.ledger.ledger import Ledger

_ADD = "INSERT INTO awaited (disclosure, subject, state, since, until, sealed) VALUES (?, ?, ?, ?, ?, ?)"
_FIND = "SELECT subject, state, sealed FROM awaited WHERE disclosure = ?"
_ALL = "SELECT disclosure FROM awaited ORDER BY since, disclosure"
_WAITING = "SELECT disclosure FROM awaited WHERE state = ?"
_CONFIRMING = "UPDATE awaited SET state = ?, until = ?, sealed = ? WHERE disclosure = ? AND state = ?"
_FORGET = "DELETE FROM awaited WHERE disclosure = ?"
_OLDEST = (
    "SELECT coalesce(sum(CASE state WHEN ? THEN 1 ELSE 0 END), 0), count(*), min(CASE state WHEN ? THEN since END), "
    "min(until) FROM awaited"
)


class State(StrEnum):
    """How far an answer has come."""

    AWAITING = "awaiting"
    CONFIRMING = "confirming"
    """It came and its disclosure is concluded; the third party is still to hear that it came."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a job needs to know of a disclosure. Everything in it is sealed."""

    decision: Decision
    sent: tuple[FieldPath, ...]
    withheld: tuple[FieldPath, ...]
    returns: tuple[FieldPath, ...]
    """What the route returned when it was decided."""
    iin: str = field(repr=False)
    at: datetime
    """When it was sent."""
    until: datetime
    """When to give up."""
    extract: str | None = field(default=None, repr=False)
    """What was sent, where the answer may serve again."""
    receipts: tuple[str, ...] = ()
    """Their ids of the answer, to be confirmed."""


_AWAITED: TypeAdapter[Awaited] = TypeAdapter(Awaited)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A disclosure taken up again."""

    intent: Intent
    """Without the message, which left and is not sent again."""
    awaited: Awaited
    state: State


@dataclass(frozen=True, slots=True)
class Waiting:
    """How jobs stand, for whoever looks after the gateway."""

    awaiting: int
    """Disclosures whose answer is not here."""
    confirming: int
    """Concluded ones: the third party is still to hear that its answer came."""
    since: datetime | None
    """Since when the oldest answer is awaited."""
    until: datetime | None
    """When the first job of either kind should be given up, or was."""


def add(connection: Connection, disclosure: str, subject: Subject, awaited: Awaited, since: str) -> None:
    """In the transaction of the intent."""
    sealed = subject.seal_job(disclosure, _AWAITED.dump_json(awaited))
    connection.execute(_ADD, (disclosure, subject.id, State.AWAITING.value, since, timestamp(awaited.until), sealed))


def waiting(connection: Connection) -> set[str]:
    """Disclosures that wait for their answer."""
    return {str(row[0]) for row in connection.execute(_WAITING, (State.AWAITING.value,)).all()}


def jobs(connection: Connection) -> list[str]:
    """Disclosures that a job looks after, the oldest first."""
    return [str(row[0]) for row in connection.execute(_ALL).all()]


def standing(connection: Connection) -> Waiting:
    """How many there are, and of when."""
    awaiting, count, since, until = connection.execute(_OLDEST, (State.AWAITING.value,) * 2).one()
    times = (datetime.fromisoformat(each) if each else None for each in (since, until))
    return Waiting(int(awaiting), int(count) - int(awaiting), *times)


def over(disclosure: str) -> Callable[[Connection, Subject], None]:
    """For the transaction of the outcome: nothing is awaited any more. Raises NotFound where somebody was faster."""

    def change(connection: Connection, _subject: Subject) -> None:
        _require_awaiting(connection, disclosure)
        forget(connection, disclosure)

    return change


def to_confirm(disclosure: str, awaited: Awaited) -> Callable[[Connection, Subject], None]:
    """For the transaction of the outcome: the answer came. Raises NotFound where somebody was faster."""

    def change(connection: Connection, subject: Subject) -> None:
        _require_awaiting(connection, disclosure)
        sealed = subject.seal_job(disclosure, _AWAITED.dump_json(awaited))
        values = (State.CONFIRMING.value, timestamp(awaited.until), sealed, disclosure, State.AWAITING.value)
        connection.execute(_CONFIRMING, values)

    return change


def forget(connection: Connection, disclosure: str) -> None:
    """The job is over."""
    connection.execute(_FORGET, (disclosure,))


def _require_awaiting(connection: Connection, disclosure: str) -> None:
    row = connection.execute(_FIND, (disclosure,)).first()
    if row is None or row[1] != State.AWAITING:
        raise NotFound("this disclosure was concluded meanwhile")


async def resume(ledger: Ledger, disclosure: str) -> Resumed | None:
    """A disclosure whose job is not over; None where it is, or its person was erased.

    The intent is the one that was made before it was sent, read back from what the person's key sealed.
    Raises KeyringError, StoreUnavailable.
    """
    row = await ledger.store.read(lambda connection: connection.execute(_FIND, (disclosure,)).first())
    if row is None:
        return None
    try:
        subject = await ledger.subjects.by_id(str(row[0]))
    except NotFound:
        return None
    try:
        awaited = _AWAITED.validate_json(subject.open_job(disclosure, bytes(row[2])))
    except ValidationError:  # written by another version, most likely
        raise StoreUnavailable("what a job needs cannot be read by this version") from None
    index = await ledger.store.read(lambda connection: _index(connection, disclosure))
    intent = ledger.taken_up(DisclosureId(disclosure), index, subject.id, awaited.decision)
    return Resumed(intent, awaited, State(row[1]))


def _index(connection: Connection, disclosure: str) -> int:
    entry = next(entries_of(connection, request=disclosure, kind=Kind.INTENT), None)
    if entry is None:
        raise StoreUnavailable(f"the intent of disclosure {disclosure} cannot be read: run `qaqpa ledger verify`")
    return entry.index
