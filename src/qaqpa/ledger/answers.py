"""First answers: what a caller was told of a disclosure, kept for a while, sealed under the person's own key.

The same Idempotency-Key gets the first answer again, and a report that was paid for serves again while its route
allows. Both are gone with the person's erasure.
"""

from __future__ import annotations

import hmac
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
_REUSABLE = (
    "SELECT disclosure, sealed FROM answers WHERE subject = ? AND route = ? AND extract = ? AND time >= ? "
    "ORDER BY time DESC LIMIT 1"
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
        """The key stands for this disclosure from now on. Raises DuplicateRequest when it stands for another."""
        connection.execute(_ADD_KEY, (self.key, disclosure, subject.digest(self.request)))
        used = connection.execute(_FIND_KEY, (self.key,)).scalar()
        if used != disclosure:
            raise _used(str(used), DuplicateRequest(f"this Idempotency-Key was used for disclosure {used}"))


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is worth keeping, beside its outcome."""

    answer: bytes = field(repr=False)
    until: datetime
    route: str = ""
    """Caller, recipient, operation and purpose, where the answer may serve again."""
    extract: bytes = field(default=b"", repr=False)
    """What was sent: another person's name under the same route is another question."""

    def add(self, connection: Connection, disclosure: DisclosureId, subject: Subject, time: str) -> None:
        """Keep it, in the transaction of the outcome."""
        sealed = subject.seal_answer(disclosure, self.answer)
        extract = subject.digest(self.extract) if self.route else ""
        row = (disclosure, subject.id, self.route, extract, time, timestamp(self.until), sealed)
        connection.execute(_KEEP, row)


def is_used(connection: Connection, once: Once) -> bool:
    """Whether this key stands for a disclosure."""
    return connection.execute(_FIND_KEY, (once.key,)).scalar() is not None


def first(connection: Connection, once: Once, subject: Subject | None) -> tuple[str, bytes] | None:
    """The disclosure and the answer that this key got; None for a new key.

    Raises KeyReused for another request under the same key, RequestInFlight while the first one has no outcome,
    AnswerAwaited while its answer is awaited,
    Unsettled where nobody knows its outcome, DuplicateRequest where its answer is not kept any more.
    """
    row = connection.execute(_FIRST, (once.key,)).first()
    if row is None:
        return None
    disclosure, request, sealed, state, awaited = row
    if subject is None or request is None or not hmac.compare_digest(subject.digest(once.request), request):
        raise KeyReused("this Idempotency-Key stands for another request: a new request takes a new key")
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


def reusable(
    connection: Connection, subject: Subject, route: str, extract: bytes, *, since: datetime
) -> tuple[str, bytes] | None:
    """The latest disclosure of the same extract on the same route since then, with its answer."""
    row = connection.execute(_REUSABLE, (subject.id, route, subject.digest(extract), timestamp(since))).first()
    return None if row is None else (row[0], subject.open_answer(row[0], bytes(row[1])))


def forget_expired(connection: Connection, now: datetime) -> None:
    """What is kept no longer."""
    connection.execute(_EXPIRED, (timestamp(now),))


def _used(disclosure: str, error: Error) -> Error:
    error.disclosure = disclosure
    return error
