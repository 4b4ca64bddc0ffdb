"""Consents by their state, the newest first, or those that end soon, the soonest first; page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qaqpa.consent.registry import COLUMNS, consent_of
from qaqpa.errors import NotFound
from qaqpa.model.consent import Consent, ConsentStatus
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

LOOKED_AT = 2_000
"""Whether a consent has expired stands in its terms, which are read one by one: so many at most for one page."""
_BATCH = 200
_LAST = "g"
"""Sorts after every id, in whatever language the database sorts: they are hexadecimal."""
_IN_STATE = {
    None: "",
    ConsentStatus.WITHDRAWN: " AND withdrawal_asked_at IS NOT NULL AND withdrawn_at IS NOT NULL",
    ConsentStatus.WITHDRAWAL_PENDING: " AND withdrawal_asked_at IS NOT NULL AND withdrawn_at IS NULL",
    ConsentStatus.ACTIVE: " AND withdrawal_asked_at IS NULL",
    ConsentStatus.EXPIRED: " AND withdrawn_at IS NULL",
}
"""What the table itself tells of a state; who withdrew has asked to, and those have an index of their own."""
_ENDING = "FROM consents WHERE withdrawn_at IS NULL AND expires_at > ? AND expires_at < ?"
_COUNT_ENDING = f"SELECT count(*) {_ENDING}"
_LIST_ENDING = f"SELECT {COLUMNS} {_ENDING} AND (expires_at, id) > (?, ?) ORDER BY expires_at, id LIMIT ?"
_END = "SELECT expires_at FROM consents WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Found:
    """One page."""

    consents: tuple[Consent, ...]
    before: str | None
    """The id after which the next page begins; None where there is nothing more."""


def in_state(
    connection: Connection, state: ConsentStatus | None, now: datetime, *, before: str | None, count: int
) -> Found:
    """Consents in one state, or in any, whose ids lie before `before`; ids begin with the time of recording."""
    sql = f"SELECT {COLUMNS} FROM consents WHERE id < ?{_IN_STATE[state]} ORDER BY id DESC LIMIT {_BATCH}"  # noqa: S608
    found: list[Consent] = []
    last, looked_at = before or _LAST, 0
    while looked_at < LOOKED_AT:
        rows = connection.execute(sql, (last,)).all()
        for row in rows:
            consent = consent_of(row)
            last, looked_at = consent.id, looked_at + 1
            if state is None or consent.status(now) is state:
                found.append(consent)
                if len(found) == count:
                    return Found(tuple(found), last)
        if len(rows) < _BATCH:
            return Found(tuple(found), None)
    return Found(tuple(found), last)


def ending(connection: Connection, now: datetime, end: str, *, after: str | None, count: int) -> Found:
    """Consents in force that end before the time `end`, the soonest first; those after the one with the id `after`.

    Raises NotFound where there is none with that id.
    """
    seen = ("", "")
    if after is not None:
        row = connection.execute(_END, (after,)).first()
        if row is None or row[0] is None:
            raise NotFound("no consent with this id is on record that ends")
        seen = (str(row[0]), after)
    rows = connection.execute(_LIST_ENDING, (timestamp(now), end, *seen, count + 1)).all()
    found = tuple(map(consent_of, rows[:count]))
    return Found(found, found[-1].id if len(rows) > count else None)


def count_ending(connection: Connection, now: datetime, end: str) -> int:
    """How many there are of them."""
    return int(connection.execute(_COUNT_ENDING, (timestamp(now), end)).scalar())
