"""How often routes were used in a period: from rolled-up counts, or from the entries themselves where those do not
hold the whole of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import orjson

from qaqpa.ledger.archive import archives
from qaqpa.ledger.catalogue import catalogued
from qaqpa.ledger.disclosures import DisclosureResult, Query, search
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.figures import Period, What, counted, last_days
from qaqpa.ledger.read import size_of
from qaqpa.ledger.span import Span
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.words import OutcomeResult
from qaqpa.policy import Policy
from qaqpa.store import Connection

_TAIL = 16_384
"""Entries that the catalogue does not hold yet and that are read: far more than a moment's."""
_SINCE = "SELECT kind, body FROM entries WHERE idx >= ? AND kind IN ('intent', 'outcome', 'control') ORDER BY idx"
_CONCLUDING = "SELECT day, caller, recipient, operation, purpose, n FROM concluding WHERE disclosure = ?"
_AT_ONCE = 20
"""Disclosures that are looked at for the last one that left: nearly always it is among them."""
_ENTRIES = "SELECT kind, body FROM entries WHERE kind IN ('intent', 'outcome', 'control') AND month >= ? ORDER BY idx"


@dataclass(frozen=True, slots=True)
class Counted:
    """Disclosures by one route in a period."""

    left: int
    """Of which something left, or may have."""
    not_sent: int
    last: datetime | None
    """Of those that left."""


NEVER_USED = Counted(0, 0, None)
Counts = Callable[[Connection, Policy, Span], Mapping[Asked, Counted]]
"""Says how often each route was used in a period, in one unchanging view. Routes may be left out that never were."""


@dataclass(slots=True)
class _Tally:
    left: int = 0
    not_sent: int = 0
    last: str = ""


@dataclass(slots=True)
class _Open:
    """Disclosures that have no outcome yet: one, or the rows of a package."""

    routes: dict[Asked, tuple[int, str]] = field(default_factory=dict)
    """How many by each route, and when the last."""


def count_routes(connection: Connection, policy: Policy, span: Span) -> Mapping[Asked, Counted]:
    """From the counts where they hold the period, by the operator's days, and what was entered since; else from the
    entries.
    """
    found, operator = catalogued(connection), policy.operator
    holds = found.routes and found.zone == operator.utc_offset_hours and size_of(connection) - found.size <= _TAIL
    # What lies in files is named and not counted, whoever counts.
    if not holds or any(span.reaches_into(each.month, operator.time_zone) for each in archives(connection)):
        return count_entries(connection, policy, span)
    tail = _Tail(*span.times(operator.time_zone))
    for kind, body in connection.stream(_SINCE, (found.size,)):
        tail.take(kind, orjson.loads(bytes(body)))
    return _from_counts(connection, Period(span.since, span.until), tail)


def _from_counts(connection: Connection, period: Period, tail: _Tail) -> dict[Asked, Counted]:
    by = ("caller", "recipient", "name", "purpose")
    since = tail.counted()
    left, kept = Counter[Asked](), Counter[Asked]()
    for what, into in ((What.ROUTE, left), (What.KEPT, kept)):
        for each in counted(connection, what, period, by):
            into[_asked(each.caller, each.recipient, each.name, each.purpose)] += each.n
    for disclosure in tail.not_sent:
        for day, *names, n in connection.execute(_CONCLUDING, (disclosure,)).all():
            if str(period.since or date.min) <= day <= str(period.until or date.max):
                left[_asked(*names)] -= n
                kept[_asked(*names)] += n
    days = {_asked(*names): day for names, day in last_days(connection, What.ROUTE, period, by).items()}
    made = {}
    for asked in {**left, **kept, **since}:
        newer = since.get(asked, NEVER_USED)
        last = newer.last or (_last(connection, asked, period, days[asked]) if left[asked] else None)
        made[asked] = Counted(left[asked] + newer.left, kept[asked] + newer.not_sent, last)
    return made


def _asked(caller: str, recipient: str, operation: str, purpose: str) -> Asked:
    return Asked(CallerId(caller), RecipientId(recipient), operation, purpose)


def _last(connection: Connection, asked: Asked, period: Period, day: date) -> datetime | None:
    """The last one that left by this route: of this day, unless that was not sent as nobody has counted yet."""
    query = Query(
        since=period.since, until=day, caller=asked.caller, recipient=asked.recipient, operation=asked.operation,
        purpose=asked.purpose,
    )  # fmt: skip
    while True:
        page = search(connection, query, _AT_ONCE)
        for each in page.listed:
            if each.entry.content["kind"] == Kind.INTENT and each.result is not DisclosureResult.NOT_SENT:
                return datetime.fromisoformat(each.entry.content["time"])
        if page.before is None:
            return None
        query = replace(query, before=page.before)


def count_entries(connection: Connection, policy: Policy, span: Span) -> Mapping[Asked, Counted]:
    """Read every intent of the period, and every outcome since. Bounded memory: what is open, and unknown, is kept."""
    counting = _Counting(*span.times(policy.operator.time_zone))
    begin = counting.begin
    month = int(begin[:4] + begin[5:7]) if begin else 0
    for kind, body in connection.stream(_ENTRIES, (month,)):
        counting.take(kind, orjson.loads(bytes(body)))
    return counting.counted()


class _Counting:
    def __init__(self, begin: str, end: str) -> None:
        self.begin = begin
        self._end = end
        self._open: dict[str, _Open] = {}
        self._unknown: dict[str, _Open] = {}
        self._tallies: dict[Asked, _Tally] = {}

    def take(self, kind: str, entry: Mapping[str, Any]) -> None:
        if kind == Kind.INTENT:
            self._intent(entry)
        elif kind == Kind.OUTCOME:
            self._outcome(str(entry["intent"]), str(entry["result"]))
        elif entry["act"] == SETTLE and (found := self._unknown.pop(str(entry["intent"]), None)) is not None:
            self._add(found, str(entry["result"]))

    def _intent(self, entry: Mapping[str, Any]) -> None:
        # A package is about nobody beside its rows, and a notice that names ids alone discloses nothing.
        if entry.get("subject") is None or not self.begin <= entry["time"] < self._end:
            return
        asked = Asked(CallerId(entry["caller"]), RecipientId(entry["recipient"]), entry["operation"], entry["purpose"])
        found = self._open.setdefault(str(entry.get("handover") or entry["id"]), _Open())
        count, last = found.routes.get(asked, (0, ""))
        found.routes[asked] = count + 1, max(last, entry["time"])

    def _outcome(self, intent: str, result: str) -> None:
        found = self._open.pop(intent, None)
        if found is None:
            return
        if result == OutcomeResult.UNKNOWN:
            self._unknown[intent] = found
        else:
            self._add(found, result)

    def _add(self, found: _Open, result: str | None) -> None:
        for asked, (count, last) in found.routes.items():
            tally = self._tallies.setdefault(asked, _Tally())
            if result == OutcomeResult.NOT_SENT:
                tally.not_sent += count
            else:
                tally.left += count
                tally.last = max(tally.last, last)

    def counted(self) -> dict[Asked, Counted]:
        for found in (*self._open.values(), *self._unknown.values()):
            self._add(found, None)  # it may have left
        return {
            asked: Counted(each.left, each.not_sent, datetime.fromisoformat(each.last) if each.last else None)
            for asked, each in self._tallies.items()
        }


class _Tail(_Counting):
    """Entries that the counts do not hold yet: what they say of disclosures that those hold is told apart."""

    def __init__(self, begin: str, end: str) -> None:
        super().__init__(begin, end)
        self.not_sent: list[str] = []
        """Disclosures and packages that surely were not sent."""

    def take(self, kind: str, entry: Mapping[str, Any]) -> None:
        super().take(kind, entry)
        is_last_word = kind == Kind.OUTCOME or entry.get("act") == SETTLE
        if is_last_word and entry["result"] == OutcomeResult.NOT_SENT:
            self.not_sent.append(str(entry["intent"]))
