"""What the ledger knows for the notice of a breach (5.5; 94-V: the authority is told within one business day): who was
concerned, which data, to whom, when, and what was done since. A draft: what happened and why, a person adds.

Read in one view of the database, from public parts alone, so it names no subject; and bounded: a period that holds more
than can be read at once is told as far as it was read, which the draft says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

import orjson

from qaqpa.alerts.findings import Figure, Rule
from qaqpa.alerts.records import Alert
from qaqpa.ledger.archive import archives
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.ledger.read import Wanted, entries_of, latest, size_of
from qaqpa.model.vocabulary import VOCABULARY, FieldPath, Sensitivity
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.report.deadline import business_day_after
from qaqpa.report.named import Asker, Drawn, Names, Operator, Party, Purpose
from qaqpa.report.subject import Moved
from qaqpa.store import Connection

BLOCKS_AT_MOST = 1_500
"""Of entries that are read, 256 each."""
_LOOK_UP_AT_MOST = 1_000
"""Outcomes that are looked up one by one, because they do not stand near their intents."""
_ACTS_AT_MOST = 200
_SLACK = timedelta(minutes=1)
"""Entries of one moment may stand a little out of order."""
_FROM = "SELECT time FROM entries WHERE idx >= ? ORDER BY idx LIMIT 1"
_IN_TERM = "SELECT block FROM terms WHERE term = ? AND block >= ? AND block <= ? ORDER BY block LIMIT ?"
_ROWS = (
    "SELECT kind, request, subject, caller, recipient, time, body FROM entries WHERE idx >= ? AND idx < ? "
    "AND kind IN ('intent', 'reused', 'refusal', 'outcome', 'review') ORDER BY idx"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the ledger the breach concerns."""

    since: datetime
    until: datetime
    """Not included."""
    caller: str | None = None
    recipient: str | None = None
    alert: str | None = None
    """The id of an alert with which it came to light."""

    def said(self) -> dict[str, str | int]:
        """For the entry of who drafted it."""
        names = {"caller": self.caller, "recipient": self.recipient, "alert": self.alert}
        times = {"since": timestamp(self.since), "until": timestamp(self.until)}
        return {**times, **{name: value for name, value in names.items() if value is not None}}


class Consequence(StrEnum):
    """What may follow for the persons, by the kind of data that left or came back."""

    IDENTITY = "identity"
    """Somebody acts in the person's name."""
    CONTACT = "contact"
    """The person is called, written to or visited."""
    FINANCIAL = "financial"
    """Debts and income become known; fraud that fits them."""
    PERSONAL = "personal"
    """Circumstances of life become known."""


_FOLLOWS = {
    Sensitivity.IDENTIFIER: Consequence.IDENTITY,
    Sensitivity.CONTACT: Consequence.CONTACT,
    Sensitivity.FINANCIAL: Consequence.FINANCIAL,
    Sensitivity.PERSONAL: Consequence.PERSONAL,
}


@dataclass(frozen=True, slots=True)
class DataTold:
    """A field that was concerned."""

    path: str
    sensitivity: Sensitivity | None
    """None for one that the vocabulary does not know any more."""
    clause: str | None
    left: int
    """In so many disclosures it left."""
    came_back: int
    """In so many answers it came."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A recipient that got something."""

    party: Party
    disclosures: int
    subjects: int


@dataclass(frozen=True, slots=True)
class Measure:
    """An act since the beginning of the period that limits harm: it stands in the ledger."""

    at: datetime
    act: str
    """`suspend`, `recall`, `erasure`, …"""
    about: Party | None
    reason: str | None
    count: int
    entry: int
    """Its index; of several the last one's."""


@dataclass(frozen=True, slots=True)
class AlertTold:
    """With what it came to light."""

    id: str
    rule: Rule
    since: datetime
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Breach:
    """The draft."""

    operator: Operator
    drawn: Drawn
    scope: Scope
    contact: str | None
    known_at: datetime
    """When it came to be known: with the alert, else now."""
    deadline: datetime
    """Until when the authority must have been told."""
    alert: AlertTold | None
    is_whole: bool
    """False: the period holds more than was read; narrow it."""
    subjects: int
    disclosures: int
    """That left, or may have."""
    not_sent: int
    """That surely did not leave, and are not counted anywhere else."""
    served_again: int
    refused: int
    looks: int
    """Of people at the ledger, in the period."""
    first: datetime | None
    last: datetime | None
    data: tuple[DataTold, ...]
    recipients: tuple[Reached, ...]
    askers: tuple[tuple[Asker, int], ...]
    purposes: tuple[tuple[Purpose, int], ...]
    consequences: tuple[Consequence, ...]
    measures: tuple[Measure, ...]
    moved: tuple[Moved, ...] = ()
    """Months of the period that lie in files, and are not counted."""


@dataclass(slots=True)
class _Open:
    """A disclosure in scope, until what came of it is known."""

    subject: bytes
    recipient: str
    caller: str
    purpose: str
    fields: tuple[str, ...]
    at: str


@dataclass(slots=True)
class _Reading:
    scope: Scope
    open: dict[str, _Open] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    """Disclosure of a row → its handover."""
    handovers: set[str] = field(default_factory=set)
    outcomes: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Of a disclosure or a handover: its result, and what came back."""
    served_again: int = 0
    refused: int = 0
    looks: int = 0
    shapes: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """Lists of fields are shared: there are as many as routes."""
    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        self.since, self.until = timestamp(self.scope.since), timestamp(self.scope.until)

    def wants(self, caller: str | None, recipient: str | None, at: str) -> bool:
        scope = self.scope
        return self.since <= at < self.until and scope.caller in {None, caller} and scope.recipient in {None, recipient}

    def take(self, row: tuple[Any, ...]) -> None:
        kind, request, subject, caller, recipient, at, body = row
        if kind == Kind.OUTCOME:
            if request not in self.open and request not in self.handovers:  # of another's disclosure
                return
            said = orjson.loads(bytes(body))
            self.outcomes[request] = (str(said["result"]), self._shared(said.get("returned", ())))
        elif kind == Kind.REVIEW:
            self.looks += self.scope.recipient is None and self.wants(caller, None, at)
        elif self.wants(caller, recipient, at):
            self._asked(kind, request, subject, body)

    def _asked(self, kind: str, request: str, subject: str | None, body: bytes) -> None:
        if kind == Kind.REFUSAL:
            self.refused += 1
            return
        if subject is None:  # a package is about nobody beside its rows
            return
        said = orjson.loads(bytes(body))
        if kind == Kind.REUSED:
            self.served_again += 1
            self.outcomes[request] = ("reused", self._shared(said.get("returned", ())))
        if "handover" in said:
            handover = str(said["handover"])
            self.packages[request] = handover
            self.handovers.add(handover)
        fields = self._shared(said["fields"]) if kind == Kind.INTENT else ()
        self.open[request] = _Open(
            subject.encode(), str(said["recipient"]), str(said["caller"]), str(said["purpose"]), fields, said["time"]
        )

    def _shared(self, paths: Iterable[str]) -> tuple[str, ...]:
        made = tuple(paths)
        return self.shapes.setdefault(made, made)

    def result(self, request: str) -> tuple[str, tuple[str, ...]]:
        """What came of it; `open` where that is not known."""
        return self.outcomes.get(self.packages.get(request, request), ("open", ()))


def read_breach(
    connection: Connection, names: Names, drawn: Drawn, scope: Scope, *, alert: Alert | None, contact: str | None
) -> Breach:
    """Everything that the ledger knows of it."""
    first, end = _index_at(connection, scope.since - _SLACK), _index_at(connection, scope.until + _SLACK)
    blocks, is_whole = _blocks(connection, scope, first, end)
    reading = _Reading(scope)
    for block in blocks:
        for row in connection.execute(_ROWS, (max(first, block * BLOCK), (block + 1) * BLOCK)).all():
            reading.take(row)
    _look_up(connection, reading)
    return _told(connection, names, drawn, scope, reading, alert=alert, contact=contact, is_whole=is_whole)


def _index_at(connection: Connection, at: datetime) -> int:
    """The first index whose entry is not older than `at`."""
    low, high, wanted = 0, size_of(connection), timestamp(at)
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_FROM, (middle,)).scalar()
        if found is None or found >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _blocks(connection: Connection, scope: Scope, first: int, end: int) -> tuple[list[int], bool]:
    """Blocks of entries to read, and whether these are all: those in which the caller or recipient occurs, each with
    the one after it, where outcomes stand.
    """
    low, high = first // BLOCK, max(0, end - 1) // BLOCK
    wanted = BLOCKS_AT_MOST + 1
    rarest = next((name for name in ("recipient", "caller") if getattr(scope, name) is not None), None)
    if rarest is not None:
        term = f"{rarest}:{getattr(scope, rarest)}"
        tail = indexed(integrated(connection)[0]) // BLOCK
        rows = connection.execute(_IN_TERM, (term, low, high, wanted)).all()
        found = [int(row[0]) for row in rows] + list(range(max(low, tail), high + 1))
    else:
        found = list(range(low, min(high, low + wanted) + 1)) if end > first else []
    is_whole = len(found) <= BLOCKS_AT_MOST
    found = found[:BLOCKS_AT_MOST]
    after = [each + 1 for each, following in pairwise([*found, -1]) if following != each + 1]
    return sorted({*found, *after}), is_whole


def _look_up(connection: Connection, reading: _Reading) -> None:
    """Outcomes that stand elsewhere; of what is left nobody is told that it did not leave."""
    missing = dict.fromkeys(reading.packages.get(each, each) for each in reading.open)
    missing = {each: None for each in missing if each not in reading.outcomes}
    for request in list(missing)[:_LOOK_UP_AT_MOST]:
        for entry in entries_of(connection, request=request, kind=Kind.OUTCOME):
            said = entry.content
            reading.outcomes[request] = (str(said["result"]), tuple(said.get("returned", ())))


def _told(
    connection: Connection,
    names: Names,
    drawn: Drawn,
    scope: Scope,
    reading: _Reading,
    *,
    alert: Alert | None,
    contact: str | None,
    is_whole: bool,
) -> Breach:
    results = {request: reading.result(request) for request in reading.open}
    gone = {request: each for request, each in reading.open.items() if results[request][0] != OutcomeResult.NOT_SENT}
    left = Counter(path for each in gone.values() for path in each.fields)
    back = Counter(path for request in gone for path in results[request][1])
    data = tuple(_data(path, left[path], back[path]) for path in sorted({*left, *back}, key=_place))
    times = sorted(each.at for each in gone.values())
    known_at = drawn.at if alert is None else datetime.fromisoformat(alert.since)
    sent = {request: each for request, each in gone.items() if results[request][0] != "reused"}
    return Breach(
        operator=names.operator, drawn=drawn, scope=scope, contact=contact, known_at=known_at,
        deadline=business_day_after(known_at, names.policy.operator.time_zone),
        alert=None if alert is None else AlertTold(alert.id, alert.rule, known_at, dict(alert.figures)),
        is_whole=is_whole, subjects=len({each.subject for each in gone.values()}), disclosures=len(sent),
        not_sent=len(reading.open) - len(gone), served_again=reading.served_again, refused=reading.refused,
        looks=reading.looks, first=datetime.fromisoformat(times[0]) if times else None,
        last=datetime.fromisoformat(times[-1]) if times else None, data=data,
        recipients=tuple(_reached(names, sent.values())),
        askers=tuple((names.asker(n), c) for n, c in Counter(each.caller for each in gone.values()).most_common()),
        purposes=tuple((names.purpose(n), c) for n, c in Counter(each.purpose for each in gone.values()).most_common()),
        consequences=tuple(
            consequence for sensitivity, consequence in _FOLLOWS.items()
            if any(each.sensitivity is sensitivity for each in data)
        ),
        measures=tuple(_measures(connection, names, scope)),
        moved=tuple(_moved(connection, scope)),
    )  # fmt: skip


_PLACES = {path: number for number, path in enumerate(VOCABULARY)}


def _place(path: str) -> tuple[int, str]:
    return _PLACES.get(FieldPath(path), len(_PLACES)), path


def _data(path: str, left: int, came_back: int) -> DataTold:
    known = VOCABULARY.get(FieldPath(path))
    if known is None:
        return DataTold(path, None, None, left, came_back)
    return DataTold(path, known.sensitivity, known.clause, left, came_back)


def _reached(names: Names, sent: Iterable[_Open]) -> Iterator[Reached]:
    counts: Counter[str] = Counter()
    subjects: dict[str, set[bytes]] = {}
    for each in sent:
        counts[each.recipient] += 1
        subjects.setdefault(each.recipient, set()).add(each.subject)
    for recipient, count in counts.most_common():
        yield Reached(names.party(recipient), count, len(subjects[recipient]))


_LIMITING = frozenset({"suspend", "rotate_keys", "revoke_token", "end_session", "acknowledge_alert", "settle"})


def _measures(connection: Connection, names: Names, scope: Scope) -> list[Measure]:
    """Acts since the period began, up to now; recalls and erasures are counted, the last of them named."""
    since = timestamp(scope.since)
    found = []
    for entry in latest(connection, _ACTS_AT_MOST, Wanted(kind=Kind.CONTROL)):
        said = entry.content
        about = said.get("recipient") or None
        concerned = scope.recipient is None or about in {None, scope.recipient}
        if said["time"] >= since and said["act"] in _LIMITING and concerned:
            at = datetime.fromisoformat(said["time"])
            party = None if about is None else names.party(about)
            found.append(Measure(at, said["act"], party, said["reason"], 1, entry.index))
    for kind in (Kind.RECALL, Kind.ERASURE):
        wanted = Wanted(kind=kind, recipient=scope.recipient if kind is Kind.RECALL else None)
        done = [each for each in latest(connection, _ACTS_AT_MOST, wanted) if each.content["time"] >= since]
        if done:
            at = datetime.fromisoformat(done[-1].content["time"])
            party = None if scope.recipient is None else names.party(scope.recipient)
            found.append(Measure(at, kind.value, party, None, len(done), done[-1].index))
    return sorted(found, key=lambda each: each.at)


def _moved(connection: Connection, scope: Scope) -> Iterator[Moved]:
    first, last = (int(timestamp(each)[:4] + timestamp(each)[5:7]) for each in (scope.since, scope.until))
    for each in archives(connection):
        if first <= each.month <= last:
            yield Moved(date(each.month // 100, each.month % 100, 1), each.file)
