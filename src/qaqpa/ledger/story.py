"""What the entries tell, read quickly in their order: which disclosures are open, who is spoken of. The columns beside
a body are held against what the body says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.entries import Kind, latest_time
from qaqpa.ledger.registers import REGISTERED, Registers
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Row

# Nearly all entries are of these kinds, and parsing them would take most of the time. Keys of a body stand in order, so
# the id (of an outcome, the intent) stands right before the kind, and the subject right before the time; inside a JSON
# string a quotation mark never stands bare, so finding `","kind":"` in a body is finding that key.
_KIND, _TIME, _RECIPIENT, _CALLER = '","kind":"', '","time":"', ',"recipient":"', '\x00{"caller":"'
_KIND_AFTER_KDP = '","kdp":true,"kind":"'
_HANDOVER = ',"handover":"'
_UUID, _SUBJECT, _MOMENT = 36, 32, len("2026-11-23T10:00:00.000Z")
_UNKNOWN = f'"result":"{OutcomeResult.UNKNOWN}"'


Entry = Row
"""index, leaf, kind, request, subject, time, caller, recipient, month, hashed: the body stands as it is hashed."""


@dataclass(slots=True)
class Story:
    """What the entries tell, in their order."""

    registers: Registers = field(default_factory=Registers)
    kinds: Counter[str] = field(default_factory=Counter)
    open_intents: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    """Of each handover that is under way, so far."""
    packaged: set[str] = field(default_factory=set)
    """Handovers to which no row can be added any more."""
    recalled: set[str] = field(default_factory=set)
    """Recalls that somebody asked for."""
    latest: str = ""
    unread: int = 0
    """Entries that lie in files which were not given: what stands later may refer to them."""
    subjects: set[str] = field(default_factory=set)
    """Everybody whom an entry is about."""

    def follow(self, entries: list[Entry]) -> None:
        """Take in the next entries. Raises VerificationFailed for the first that does not fit what stands before it."""
        open_intents, index = self.open_intents, -1
        try:
            for index, _, kind, request, subject, time, caller, recipient, _, hashed in entries:
                if kind not in _FAST or subject is None:
                    self._parse(index, kind, (request, subject, time, caller, recipient), hashed[1:])
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
                    intended = open_intents.pop(request, None)
                    if caller is not None or recipient is not None:
                        raise bad_columns(index)
                    if intended is None and not self.unread:
                        raise VerificationFailed(
                            f"entry {index} concludes an intent that is not open before it", index=index
                        )
                    if _UNKNOWN in body:
                        self.unknown[request] = -1 if intended is None else intended
                else:
                    # Texts: put together with `+`, a number or bytes of the same look do not pass for one.
                    says = body.startswith(_CALLER + caller + '"') and _RECIPIENT + recipient + '"' in body
                    if not says:
                        raise bad_columns(index)
                    if kind == "intent":
                        if (row_of := body.find(_HANDOVER)) >= 0:
                            start = row_of + len(_HANDOVER)
                            self._row(index, body[start : start + _UUID])
                        elif open_intents.setdefault(request, index) != index:
                            raise VerificationFailed(f"entry {index} repeats an intent that is open", index=index)
                        self.latest = max(self.latest, time)
        except (TypeError, ValueError, AttributeError, LookupError):
            raise bad_columns(index) from None
        self.kinds.update([entry[2] for entry in entries])
        self.subjects.update([entry[4] for entry in entries if entry[4] is not None])

    def _row(self, index: int, handover: str) -> None:
        """A row of a handover: the first opens it, and the outcome of its package ends it."""
        if handover in self.packaged:
            raise VerificationFailed(f"entry {index} adds a row to a package that was whole before it", index=index)
        self.open_intents.setdefault(handover, index)
        self.rows[handover] = self.rows.get(handover, 0) + 1

    def _package(self, index: int, entry: Mapping[str, Any]) -> None:
        """The intent or the outcome of a whole package."""
        intent = entry.get("kind") == Kind.INTENT
        handover, rows = str(entry.get("id" if intent else "intent")), entry.get("rows")
        whole = handover in self.open_intents and (self.unread or rows == self.rows.get(handover))
        if not (whole or self.unread) or (intent and handover in self.packaged):
            raise VerificationFailed(
                f"entry {index} speaks of a package whose rows do not stand before it, or that is over", index=index
            )
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
        self.rows.pop(handover, None)
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

    def _parse(self, index: int, kind: str, columns: tuple[str | None, ...], body: bytes) -> None:
        entry = _parsed(index, body)
        said = (_request(entry), *(entry.get(name) for name in ("subject", "time", "caller")), entry.get("recipient"))
        if entry.get("kind") != kind or tuple(text or None for text in said) != columns:
            raise bad_columns(index)
        if kind in REGISTERED:
            self.registers.see(index, entry)
        if kind == Kind.RECALL:
            self.recalled.add(str(entry.get("recall")))
        elif kind in {Kind.INTENT, Kind.OUTCOME} and "recall" in entry:
            self._notice(index, entry)
        elif kind in {Kind.INTENT, Kind.OUTCOME}:
            self._package(index, entry)
        self.latest = latest_time(self.latest, entry)
        settled = entry.get("intent") if kind == Kind.CONTROL else None
        known = settled is None or self.unknown.pop(str(settled), None) is not None
        if not (known or self.unread):
            raise VerificationFailed(f"entry {index} settles a disclosure that is not unknown", index=index)


_FAST = {"intent": 'intent"', "outcome": 'outcome"', "refusal": 'refusal"'}


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
