"""First answers: what a caller was told of a disclosure, kept for a while, sealed under the person's own key.

The same Idempotency-Key gets the first answer again, and a report that was paid for serves again while its route
allows. Both are gone with the person's erasure.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from qaqpa.errors import AnswerAwaited, DuplicateRequest, KeyReused, QaqpaError, RequestInFlight, Unsettled
from qaqpa.ledger.subjects import Subject
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

Error = TypeVar("Error", bound=QaqpaError)

_ADD_KEY = "INSERT INTO idempotency (key, disclosure, request) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
_FIND_KEY = "SELECT disclosure FROM idempotency WHERE key = ?"
_FIRST = (
    "SELECT i.disclosure, i.request, a.sealed, u.state, w.state FROM idempotency i "
    "LEFT JOIN answers a ON a.disclosure = i.disclosure LEFT JOIN unsettled u ON u.disclosure = i.disclosure "
    "LEFT JOIN awaited w ON w.disclosure = i.disclosure WHERE i.key = ?"
)
_OF_DISCLOSURE = (
    "SELECT a.sealed, u.state, w.state FROM (SELECT CAST(? AS TEXT) AS disclosure) d "
    "LEFT JOIN answers a ON a.disclosure = d.disclosure LEFT JOIN unsettled u ON u.disclosure = d.disclosure "
    "LEFT JOIN awaited w ON w.disclosure = d.disclosure"
)
_KEEP = (
    "INSERT INTO answers (disclosure, subject, route, extract, time, kept_until, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ASK = (
    "INSERT INTO idempotency (key, disclosure) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET disclosure = idempotency.disclosure RETURNING disclosure"
)
"""Changes nothing where the key is there, but locks its row, so that of two who ask at once one waits for the other."""
_ASKED_LAST = "UPDATE idempotency SET disclosure = ? WHERE key = ?"
_TWIN = (
    "SELECT u.state, w.state, a.time FROM (SELECT CAST(? AS TEXT) AS disclosure) d "
    "LEFT JOIN answers a ON a.disclosure = d.disclosure AND a.route <> '' "
    "LEFT JOIN unsettled u ON u.disclosure = d.disclosure LEFT JOIN awaited w ON w.disclosure = d.disclosure"
)
_STATE = "SELECT state FROM unsettled WHERE disclosure = ?"
_REUSABLE = (
    "SELECT disclosure, sealed FROM answers WHERE subject = ? AND route = ? AND extract = ? AND time >= ? "
    "ORDER BY time DESC LIMIT 1"
)
_ANOTHER = (
    "this Idempotency-Key stands for another request, or for one about a person who was erased since, of which nobody "
    "can tell any more what it was; nothing was sent: a new request takes a new key"
)
_EXPIRED = "DELETE FROM answers WHERE kept_until < ?"


@dataclass(frozen=True, slots=True)
class Once:
    """A caller's Idempotency-Key, with the request that it stands for."""

    key: bytes = field(repr=False)
    """As the keyring blinds it."""
    request: bytes = field(repr=False)
    """What was asked, in one form; only a digest of it under the person's key is kept."""

    def bind(self, connection: Connection, disclosure: str, subject: Subject) -> None:
        """The key stands from now on for this disclosure, or for this entry that a report served again.

        Raises DuplicateRequest when it stands for another.
        """
        connection.execute(_ADD_KEY, (self.key, disclosure, subject.digest(self.request)))
        used = connection.execute(_FIND_KEY, (self.key,)).scalar()
        if used != disclosure:
            raise _used(str(used), DuplicateRequest(f"this Idempotency-Key was used for disclosure {used}"))


@dataclass(frozen=True, slots=True)
class Question:
    """What a report answers that may serve again: while one is fresh or under way, it is not paid for once more."""

    route: str
    """Caller, recipient, operation and purpose."""
    extract: bytes = field(repr=False)
    """What is sent: another person's name under the same route is another question."""
    since: datetime
    """An older report is not fresh."""

    def ask(
        self, connection: Connection, disclosure: DisclosureId, subject: Subject, *, beside: Collection[str]
    ) -> None:
        """This disclosure asks it, in the transaction of its intent; `beside` are others of the same transaction.

        Raises RequestInFlight while another one asks it or has just been answered: wait for that and look again.
        Raises AnswerAwaited where the answer to that other one comes later.
        """
        key = subject.digest(self.route.encode() + b"\0" + self.extract).encode()
        [(asked,)] = connection.execute(_ASK, (key, disclosure)).all()
        if asked == disclosure:
            return
        state, awaited, answered = connection.execute(_TWIN, (asked,)).one()
        if state == "open" and awaited is not None:
            raise _used(
                asked, AnswerAwaited("this was asked before, and the recipient answers later: ask for it again")
            )
        if state == "open" or asked in beside or (answered is not None and answered >= timestamp(self.since)):
            raise _used(asked, RequestInFlight("the same report is on its way for another request: ask again soon"))
        connection.execute(_ASKED_LAST, (disclosure, key))


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is worth keeping, beside its outcome."""

    answer: bytes = field(repr=False)
    until: datetime
    question: Question | None = None
    """What it answers, where it may serve again."""

    def add(self, connection: Connection, entry: str, subject: Subject, time: str) -> None:
        """Keep it, in the transaction of what was entered: a disclosure's outcome, or that a report served again."""
        asked = ("", "") if self.question is None else (self.question.route, subject.digest(self.question.extract))
        sealed = subject.seal_answer(entry, self.answer)
        connection.execute(_KEEP, (entry, subject.id, *asked, time, timestamp(self.until), sealed))


def is_used(connection: Connection, once: Once) -> bool:
    """Whether this key stands for a disclosure."""
    return connection.execute(_FIND_KEY, (once.key,)).scalar() is not None


def first(connection: Connection, once: Once, subject: Subject | None) -> tuple[str, bytes] | None:
    """The disclosure, or the entry that a report served again, and the answer that this key got; None for a new key.

    Raises KeyReused for another request under the same key, RequestInFlight while the first one has no outcome,
    AnswerAwaited while its answer is awaited,
    Unsettled where nobody knows its outcome, DuplicateRequest where its answer is not kept any more.
    """
    row = connection.execute(_FIRST, (once.key,)).first()
    if row is None:
        return None
    disclosure, request, sealed, state, awaited = row
    if subject is None or request is None or not hmac.compare_digest(subject.digest(once.request), request):
        raise KeyReused(_ANOTHER)
    answer = _as_it_stands(subject, disclosure, sealed, state, awaited)
    if answer is None:
        raise _used(
            disclosure,
            DuplicateRequest(
                f"this Idempotency-Key was used for disclosure {disclosure}, whose answer is not kept any more"
            ),
        )
    return disclosure, answer


def of_disclosure(connection: Connection, disclosure: str, subject: Subject) -> bytes | None:
    """What was answered to this disclosure; None where that is not kept. Raises as `first` does."""
    return _as_it_stands(subject, disclosure, *connection.execute(_OF_DISCLOSURE, (disclosure,)).one())


def _as_it_stands(
    subject: Subject, disclosure: str, sealed: bytes | None, state: str | None, awaited: str | None
) -> bytes | None:
    if state == "open":
        if awaited is not None:
            raise _used(disclosure, AnswerAwaited("the recipient answers this disclosure later: ask for it again"))
        raise _used(disclosure, RequestInFlight("this request is under way: ask again soon"))
    if sealed is not None:
        return subject.open_answer(disclosure, bytes(sealed))
    if state == "unknown":
        raise _used(disclosure, Unsettled("nobody knows yet what came of this disclosure; it is not sent again"))
    return None


def is_under_way(connection: Connection, disclosure: str) -> bool:
    """Whether a disclosure has no outcome yet."""
    return bool(connection.execute(_STATE, (disclosure,)).scalar() == "open")


def reusable(connection: Connection, subject: Subject, question: Question) -> tuple[str, bytes] | None:
    """The latest disclosure that asked the same and was answered, if that is fresh, with its answer."""
    sought = (subject.id, question.route, subject.digest(question.extract), timestamp(question.since))
    row = connection.execute(_REUSABLE, sought).first()
    return None if row is None else (row[0], subject.open_answer(row[0], bytes(row[1])))


def forget_expired(connection: Connection, now: datetime) -> None:
    """What is kept no longer."""
    connection.execute(_EXPIRED, (timestamp(now),))


def _used(disclosure: str, error: Error) -> Error:
    error.disclosure = disclosure
    return error
