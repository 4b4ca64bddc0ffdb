"""What the entries tell, read quickly in their order: which disclosures are open, who is spoken of. The columns beside
a body are held against what the body says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.agreements import KINDS, Agreements
from qaqpa.ledger.entries import Kind, latest_time
from qaqpa.ledger.handed import HandedOver, Said
from qaqpa.ledger.integrate import BLOCK
from qaqpa.ledger.recount import Recount, Single, Told
from qaqpa.ledger.registers import REGISTERED, Registers
from qaqpa.ledger.said import HOUR, Dated
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Row

# Nearly all entries are of these kinds, and parsing them would take most of the time. Keys of a body stand in order, so
# the id (of an outcome, the intent) stands right before the kind, and the subject right before the time; inside a JSON
# string a quotation mark never stands bare, so finding `","kind":"` in a body is finding that key.
_KIND, _TIME = '","kind":"', '","time":"'
_KIND_AFTER_KDP = '","kdp":true,"kind":"'
_UUID, _SUBJECT, _MOMENT = 36, 32, len("2026-11-23T10:00:00.000Z")


Entry = Row
"""index, leaf, kind, request, subject, time, caller, recipient, month, hashed: the body stands as it is hashed."""


@dataclass(slots=True)
class Story:
    """What the entries tell, in their order."""

    recount: Recount
    apart: set[int] = field(default_factory=set)
    """Indexes of entries that the catalogue does not hold, as their months lay in files before it came to them."""
    registers: Registers = field(default_factory=Registers)
    handed: HandedOver = field(default_factory=HandedOver)
    agreements: Agreements = field(default_factory=Agreements)
    kinds: Counter[str] = field(default_factory=Counter)
    open_intents: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    packaged: set[str] = field(default_factory=set)
    """Handovers to which no row can be added any more."""
    recalled: set[str] = field(default_factory=set)
    """Recalls that somebody asked for."""
    latest: str = ""
    unread: int = 0
    """Entries that lie in files which were not given: what stands later may refer to them."""
    subjects: set[str] = field(default_factory=set)
    """Everybody whom an entry is about."""
    _told: list[Told] = field(default_factory=list)
    """What the entries of a part tell beside what is disclosed."""

    def follow(self, entries: list[Entry]) -> None:
        """Take in the next entries. Raises VerificationFailed for the first that does not fit what stands before it."""
        for part, day in self._parts(entries):
            index = part[0][0]
            counted = index < self.recount.size and index not in self.apart
            dateds, self._told = list[Dated](), list[Told]()
            self._follow(part, day, dateds, self.recount.saying if counted else {})
            if counted:
                self.recount.see(index, day, dateds, self._told)
        self.kinds.update([entry[2] for entry in entries])
        self.subjects.update([entry[4] for entry in entries if entry[4] is not None])

    def _parts(self, entries: list[Entry]) -> Iterator[tuple[list[Entry], str]]:
        """Entries of one block and one legal day, which the catalogue holds all or none."""
        at = 0
        while at < len(entries):
            first = entries[at][0]
            until = min((first // BLOCK + 1) * BLOCK, self.recount.size if first < self.recount.size else first + BLOCK)
            part = entries[at : at + until - first]
            if part[-1][0] >= until:  # some between them lie in files that were not given
                part = [entry for entry in part if entry[0] < until]
            try:
                day = self._day(part[0])
                if self.apart or len(set(map(self._days, {entry[5][:HOUR] for entry in part}))) > 1:
                    part = list(takewhile(partial(self._is_like, first in self.apart, day), part))
            except (TypeError, ValueError):
                raise bad_columns(first) from None
            yield part, day
            at += len(part)

    def _days(self, hour: str) -> str | None:
        try:
            return self.recount.reader.days.of(hour)
        except (TypeError, ValueError):
            return None  # that entry is wrong, and what stands before it is looked at first

    def _day(self, entry: Entry) -> str:
        return self.recount.reader.days.of(entry[5])

    def _is_like(self, apart: bool, day: str, entry: Entry) -> bool:
        try:
            return (entry[0] in self.apart) == apart and self._day(entry) == day
        except (TypeError, ValueError):
            return False

    def _follow(self, entries: list[Entry], day: str, dateds: list[Dated], saying: dict[str, Single]) -> None:
        open_intents, read, index = self.open_intents, self.recount.reader.of, -1
        try:
            for index, _, kind, request, subject, time, caller, recipient, _, hashed in entries:
                if kind not in _FAST or subject is None:
                    self._parse(index, kind, (request, subject, time, caller, recipient), hashed[1:], day, dateds)
                    continue
                body = hashed.decode()
                at, end = body.find(_KIND), body.rfind(_TIME)
                named = at + len(_KIND)
                if at < 0:  # an intent with which the token of its consent left
                    at = body.find(_KIND_AFTER_KDP)
                    named = at + len(_KIND_AFTER_KDP)
                if not (
                    body[at - _UUID : at] == request
                    and body.startswith(_FAST[kind], named)
                    and body[end - _SUBJECT : end] == subject
                    and body[end + 10 : end + 10 + _MOMENT] == time
                ):
                    raise bad_columns(index)
                if kind == "outcome":
                    begin = named + len(_FAST[kind])
                    result = body[begin : body.index('"', begin)]
                    intended = open_intents.pop(request, None)
                    if caller is not None or recipient is not None:
                        raise bad_columns(index)
                    if intended is None and not self.unread:
                        raise VerificationFailed(
                            f"entry {index} concludes an intent that is not open before it", index=index
                        )
                    if result == "unknown":
                        self.unknown[request] = -1 if intended is None else intended
                    self._told.append((saying.pop(request, None), result, request))
                else:
                    dated = read(body, at, caller, recipient, day)
                    dateds.append(dated)
                    if kind == "intent":
                        if handover := dated.said.handover:
                            self._row(index, handover, request, caller, recipient)
                        elif open_intents.setdefault(request, index) != index:
                            raise VerificationFailed(f"entry {index} repeats an intent that is open", index=index)
                        else:
                            saying[request] = (dated, index // BLOCK)
                        self.latest = max(self.latest, time)
        except (TypeError, ValueError, AttributeError, LookupError):
            raise bad_columns(index) from None

    def _row(self, index: int, handover: str, disclosure: str, caller: str, recipient: str) -> None:
        """A row of a handover: the first opens it, and the outcome of its package ends it."""
        if handover in self.packaged:
            raise VerificationFailed(f"entry {index} adds a row to a package that was whole before it", index=index)
        found = self.handed.said.get(handover)
        if found is None:
            self.open_intents.setdefault(handover, index)
            found = self.handed.said[handover] = Said(index, caller, recipient)
        # Ids of rows are in the order of their lines: so none stands twice, whatever the count of them says.
        if disclosure <= found.last:
            raise VerificationFailed(f"entry {index} repeats a row of its handover, or is out of order", index=index)
        self.handed.row(found, disclosure)

    def _package(self, index: int, entry: Mapping[str, Any]) -> None:
        """The intent or the outcome of a whole package."""
        intent = entry.get("kind") == Kind.INTENT
        handover, rows = str(entry.get("id" if intent else "intent")), entry.get("rows")
        said = self.handed.said.get(handover)
        whole = handover in self.open_intents and (self.unread or (said is not None and rows == said.rows))
        if not (whole or self.unread) or (intent and handover in self.packaged):
            raise VerificationFailed(
                f"entry {index} speaks of a package whose rows do not stand before it, or that is over", index=index
            )
        self.handed.told(handover, entry)
        if intent:
            self.packaged.add(handover)
            return
        arrived = entry.get("result") in {OutcomeResult.DELIVERED, OutcomeResult.REJECTED}
        if arrived and handover not in self.packaged and not self.unread:
            raise VerificationFailed(
                f"entry {index} says what became of a package that nobody was to send", index=index
            )
        intended = self.open_intents.pop(handover, -1)
        self.packaged.add(handover)
        if entry.get("result") == OutcomeResult.UNKNOWN:
            self.unknown[handover] = intended

    def _notice(self, index: int, entry: Mapping[str, Any]) -> None:
        """The intent or the outcome of a notice of recall that names ids alone: none goes without being asked for."""
        if entry.get("kind") == Kind.OUTCOME:
            notice = str(entry.get("intent"))
            intended = self.open_intents.pop(notice, None)
            if intended is None and not self.unread:
                raise VerificationFailed(f"entry {index} concludes an intent that is not open before it", index=index)
            if entry.get("result") == OutcomeResult.UNKNOWN:
                self.unknown[notice] = -1 if intended is None else intended
            return
        asked = str(entry.get("recall")) in self.recalled or self.unread
        if not asked or self.open_intents.setdefault(str(entry.get("id")), index) != index:
            raise VerificationFailed(f"entry {index} sends a recall that nobody asked for before it", index=index)

    def _parse(
        self, index: int, kind: str, columns: tuple[str | None, ...], body: bytes, day: str, dateds: list[Dated]
    ) -> None:
        entry = _parsed(index, body)
        said = (_request(entry), *(entry.get(name) for name in ("subject", "time", "caller")), entry.get("recipient"))
        if entry.get("kind") != kind or tuple(text or None for text in said) != columns:
            raise bad_columns(index)
        self._told.append(entry)
        if kind == Kind.REUSED:
            dateds.append(self.recount.reader.parsed(entry, day))
        if kind in REGISTERED:
            self.registers.see(index, entry)
        if kind in KINDS:
            self.agreements.see(index, entry, whole=not self.unread)
        if kind == Kind.RECALL:
            self.recalled.add(str(entry.get("recall")))
        elif kind in {Kind.INTENT, Kind.OUTCOME} and "recall" in entry:
            self._notice(index, entry)
        elif kind in {Kind.INTENT, Kind.OUTCOME}:
            self._package(index, entry)
        elif kind == Kind.RECEIPT and "handover" in entry:
            self.handed.told(str(entry.get("handover")), entry)
        self.latest = latest_time(self.latest, entry)
        settled = entry.get("intent") if kind == Kind.CONTROL else None
        known = settled is None or self.unknown.pop(str(settled), None) is not None
        if not (known or self.unread):
            raise VerificationFailed(f"entry {index} settles a disclosure that is not unknown", index=index)
        if settled is not None:
            self.handed.told(str(settled), entry)


_FAST = {"intent": 'intent"', "outcome": 'outcome","result":"', "refusal": 'refusal"'}


def bad_columns(index: int) -> VerificationFailed:
    return VerificationFailed(f"entry {index}: its columns do not say what its body says", index=index)


def _parsed(index: int, body: bytes) -> dict[str, Any]:
    try:
        entry = orjson.loads(body)
    except orjson.JSONDecodeError:
        entry = None
    if isinstance(entry, dict) and "time" in entry and ("act" in entry or entry.get("kind") != Kind.CONTROL):
        return entry
    raise VerificationFailed(f"entry {index} is not an entry: Qaqpa did not write it", index=index)


def _request(entry: Mapping[str, Any]) -> object:
    """What the `request` column beside an entry must be."""
    kind = entry.get("kind")
    if kind == Kind.OUTCOME:
        return entry.get("intent")
    if kind == Kind.CONSENT:
        return entry.get("consent")
    if kind == Kind.WITHDRAWAL:
        return f"{entry.get('consent')}:{entry.get('state')}"
    return entry.get("subject" if kind == Kind.ERASURE else "id")


def from_file(index: int, leaf: bytes, body: bytes) -> Entry:
    """As a row of the table would be."""
    entry = _parsed(index, body)
    time = str(entry["time"])
    said = (_request(entry), entry.get("subject"), time, entry.get("caller"), entry.get("recipient") or None)
    texts = (None if each is None else str(each) for each in said)
    return (index, leaf, entry.get("kind"), *texts, int(time[:4] + time[5:7]), b"\x00" + body)
