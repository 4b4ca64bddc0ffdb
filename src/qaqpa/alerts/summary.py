"""What is new in the ledger, summed up by the database: counts by minute and names, what people looked at, who asked
about whom. Reads a bounded stretch of entries, each once; a handover's million rows are a few groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import entries_of
from qaqpa.store import Connection

_ROW = b'"row":'
"""Stands in the body of a row of a handover, and of no other entry."""
_HOLDS = {"sqlite": "instr(body, ?) > 0", "postgresql": "position(? in body) > 0"}
_STRETCH = "idx >= ? AND idx < ?"
_LOOKS = f"SELECT idx, time, caller, body FROM entries WHERE {_STRETCH} AND kind = 'review' ORDER BY idx LIMIT ?"  # noqa: S608 - constants only
LOOKS_AT_ONCE = 2_000
"""Of people's looks in one stretch; people are slower."""
_ASKING = (Kind.INTENT, Kind.REFUSAL, Kind.REUSED)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one minute that agree in everything else here."""

    minute: datetime
    kind: str
    caller: str | None
    recipient: str | None
    is_row: bool
    count: int


@dataclass(frozen=True, slots=True)
class Look:
    """A person looked."""

    at: datetime
    caller: str
    person: str
    """Who, where several act as one caller; else the caller."""
    subject: str | None
    """The subject's random id, where one was looked at."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody asked about a subject."""

    subject: str
    asker: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the entries from `first` up to `end`."""

    first: int
    end: int
    groups: tuple[Group, ...]
    looks: tuple[Look, ...]
    askings: tuple[Asking, ...]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def sum_up(connection: Connection, first: int, end: int) -> Summary:
    """The entries from `first` up to `end`, which is not among them."""
    looks = tuple(_looks(connection, first, end))
    asked = [Asking(look.subject, f"person:{look.person}", look.at) for look in looks if look.subject is not None]
    return Summary(
        first, end, tuple(_groups(connection, first, end)), looks, (*_askings(connection, first, end), *asked)
    )


def _groups(connection: Connection, first: int, end: int) -> Iterator[Group]:
    holds = _HOLDS[connection.dialect]
    sql = (
        f"SELECT substr(time, 1, 16), kind, caller, recipient, CASE WHEN {holds} THEN 1 ELSE 0 END, count(*) "  # noqa: S608 - constants only
        f"FROM entries WHERE {_STRETCH} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1"
    )
    for minute, kind, caller, recipient, is_row, count in connection.execute(sql, (_ROW, first, end)).all():
        yield Group(_moment(f"{minute}:00Z"), kind, caller, recipient, bool(is_row), int(count))


def _askings(connection: Connection, first: int, end: int) -> Iterator[Asking]:
    """By disclosures that go alone: a register names thousands, and looks nobody up."""
    kinds = ", ".join(f"'{kind.value}'" for kind in _ASKING)
    sql = (
        f"SELECT subject, caller, max(time) FROM entries WHERE {_STRETCH} AND kind IN ({kinds}) "  # noqa: S608 - constants only
        f"AND subject IS NOT NULL AND caller IS NOT NULL AND NOT ({_HOLDS[connection.dialect]}) GROUP BY 1, 2"
    )
    for subject, caller, time in connection.execute(sql, (first, end, _ROW)).all():
        yield Asking(subject, f"caller:{caller}", _moment(time))


def _looks(connection: Connection, first: int, end: int) -> Iterator[Look]:
    for _, time, caller, body in connection.execute(_LOOKS, (first, end, LOOKS_AT_ONCE)).all():
        content = orjson.loads(bytes(body))
        yield Look(_moment(time), str(caller), str(content.get("person") or caller), _looked_at(connection, content))


def _looked_at(connection: Connection, content: dict[str, object]) -> str | None:
    """Whom a look was about: named by the subject's random id, or by an entry."""
    selection = content.get("selection")
    if not isinstance(selection, dict):
        return None
    subject, index, request = selection.get("subject"), selection.get("index"), selection.get("disclosure")
    if isinstance(subject, str) and subject != "unknown":
        return subject
    if isinstance(index, int):
        found = connection.execute("SELECT subject FROM entries WHERE idx = ?", (index,)).scalar()
        return None if found is None else str(found)
    if isinstance(request, str):
        about = (entry.content.get("subject") for entry in entries_of(connection, request=request))
        return next((str(each) for each in about if each), None)
    return None
