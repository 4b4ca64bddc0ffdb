"""What entries say that disclosures are found and counted by: read once, and remembered for entries that say the same.

Keys of a body stand in order, so entries that differ in their ids, persons, times and sealed parts alone (the rows of a
handover, the requests of one route) share three stretches of text. Comparing those costs a tenth of parsing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import orjson

from qaqpa.ledger.entries import Kind
from qaqpa.model.words import OutcomeResult

DISCLOSED = frozenset({Kind.INTENT, Kind.REFUSAL, Kind.REUSED})
"""Kinds that, about a person, are found and counted as disclosures."""
RESULTS = (*(each.value for each in OutcomeResult), "deny", "gap", "reused")
"""What can stand behind `result:` in the index."""
HOUR = len("2026-11-23T10")
"""Of a time, its hour."""
_UUID = 36
_CONSENT, _ROW, _SEALED = ',"consent":', ',"row":', ',"sealed":"'
_MOST = 4_096
"""Stretches that are remembered; then they are learned anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a disclosure's entry says. Equal ones are the same object while they are remembered."""

    kind: str
    caller: str
    recipient: str
    operation: str
    purpose: str
    ground: str
    clauses: tuple[str, ...]
    fields: tuple[str, ...]
    reasons: tuple[str, ...]
    """Guards of a refusal, each once."""
    result: str
    """Of a refusal deny or gap, of a report that served again reused; an intent's comes later."""
    handover: str
    route: str
    """The operation, by which routes are counted; empty where counts hold none."""

    def terms(self) -> set[str]:
        """By what a block that holds such an entry is found; without its day, and without what came of it."""
        named = {"operation": self.operation, "purpose": self.purpose, "ground": self.ground, "handover": self.handover}
        made = {f"{name}:{value}" for name, value in named.items() if value}
        made.update(f"clause:{each}" for each in self.clauses)
        made.update(f"field:{each}" for each in self.fields)
        made.update(f"reason:{each}" for each in self.reasons)
        return made


def said_of(entry: Mapping[str, Any], *, routes: bool) -> Said:
    """What the content of an intent, a refusal or a reused says; `routes`: whether counts hold them."""

    def text(name: str) -> str:
        value = entry.get(name)
        return "" if value is None else str(value)

    kind = text("kind")
    return Said(
        kind, text("caller"), text("recipient"), text("operation"), text("purpose"), text("ground"),
        tuple(dict.fromkeys(map(str, entry.get("clauses") or ()))),
        tuple(dict.fromkeys(map(str, entry.get("fields") or ()))),
        tuple(dict.fromkeys(str(each["guard"]) for each in entry.get("reasons") or ())),
        "reused" if kind == Kind.REUSED else text("result"),
        text("handover"),
        text("operation") if routes else "",
    )  # fmt: skip


Key = tuple[str, str, str, str, str, str]
"""Of a row of `counts`: what, day, caller, recipient, purpose, name."""


@dataclass(frozen=True, slots=True, eq=False)
class Dated:
    """What an entry says, and the legal day of its time."""

    said: Said
    day: str

    def key(self, what: str, name: str) -> Key:
        """Of the count of that name."""
        said = self.said
        return (what, self.day, said.caller, said.recipient, said.purpose, name)

    def counts(self) -> list[Key]:
        """Keys of every count that such an entry is one more of."""
        said = self.said
        if said.kind == Kind.INTENT:
            return [self.key("intent", said.ground), *self.left()]
        if said.kind == Kind.REUSED:
            return [self.key("reused", said.ground)]
        return [self.key("refusal", said.result), *(self.key("reason", each) for each in said.reasons)]

    def left(self) -> list[Key]:
        """Keys of the counts of what left, unless it surely was not sent."""
        route = [self.key("route", self.said.route)] if self.said.route else []
        return [*route, *(self.key("field", each) for each in self.said.fields)]

    def kept(self) -> list[Key]:
        """Keys of the counts of what surely was not sent."""
        return [self.key("kept", self.said.route)] if self.said.route else []


class Days:
    """Legal days of moments: they begin at midnight in a zone that is so many hours east of UTC."""

    def __init__(self, zone: int) -> None:
        self._ahead = timedelta(hours=zone)
        self._known: dict[str, str] = {}

    def of(self, time: str) -> str:
        """The day of an entry's time, e.g. 2026-11-23. Raises ValueError for what is no time."""
        hour = time[:HOUR]
        day = self._known.get(hour)
        if day is None:
            day = self._known[hour] = (datetime.fromisoformat(f"{hour}:00") + self._ahead).date().isoformat()
        return day


@dataclass(slots=True)
class _Shape:
    """Three stretches of the text of a body, and what a body says that has them."""

    first: str
    """Up to the consent."""
    at: int
    """Where the second begins: after the consent."""
    second: str
    """Up to the id."""
    third: str
    """From the id up to the number of a row, or the sealed part."""
    dated: Dated


@dataclass(slots=True)
class Reader:
    """Reads what intents and refusals say; their bodies begin at `lead` of what it is given."""

    days: Days
    lead: int = 0
    routes: bool = True
    """Whether counts hold them."""
    _shapes: dict[tuple[str | None, str | None, int], list[_Shape]] = field(default_factory=dict)
    _said: dict[tuple[Any, ...], Said] = field(default_factory=dict)
    _dated: dict[tuple[Said, str], Dated] = field(default_factory=dict)
    _count: int = 0

    def of(self, body: str, end: int, caller: str | None, recipient: str | None, day: str) -> Dated:
        """What a body says whose id ends at `end`, on this day.

        `caller` and `recipient` are the columns beside it: raises ValueError where it says others, or is no entry.
        """
        for shape in self._shapes.get((caller, recipient, end), ()):
            if (
                body.startswith(shape.second, shape.at)
                and body.startswith(shape.third, end)
                and body.startswith(shape.first, self.lead)
            ):
                if shape.dated.day != day:
                    shape.dated = self.on(shape.dated.said, day)
                return shape.dated
        return self._learn(body, end, caller, recipient, day)

    def on(self, said: Said, day: str) -> Dated:
        """The same object for the same day, while it is remembered."""
        return self._dated.setdefault((said, day), Dated(said, day))

    def parsed(self, entry: Mapping[str, Any], day: str) -> Dated:
        """What an entry's content says on this day."""
        said = said_of(entry, routes=self.routes)
        content = tuple(getattr(said, name) for name in said.__slots__)
        return self.on(self._said.setdefault(content, said), day)

    def _learn(self, body: str, end: int, caller: str | None, recipient: str | None, day: str) -> Dated:
        entry = orjson.loads(body[self.lead :])
        dated = self.parsed(entry, day)
        if entry.get("caller") != caller or (entry.get("recipient") or None) != recipient:
            raise ValueError("the columns beside the body say otherwise")
        consent, start = body.find(_CONSENT, 0, end), end - _UUID
        first = start if consent < 0 else consent + len(_CONSENT)
        second = start if consent < 0 else first + len(orjson.dumps(entry.get("consent")))
        ends = [at for mark in (_ROW, _SEALED) if (at := body.find(mark, end)) >= 0]
        if not ends or body[start - 6 : start] != '"id":"':
            return dated
        self._count += 1
        if self._count > _MOST:
            self._shapes.clear()
            self._said.clear()
            self._dated.clear()
            self._count = 1
        shape = _Shape(body[self.lead : first], second, body[second:start], body[end : min(ends)], dated)
        self._shapes.setdefault((caller, recipient, end), []).append(shape)
        return dated


@dataclass(frozen=True)
class Act:
    """What an entry says that is no disclosure: of a consent, a recall, a look, a person's act."""

    entry: Mapping[str, Any]
    day: str

    @cached_property
    def terms(self) -> set[str]:
        """By what it is found beside its columns: the recall that it belongs to, the earlier entry that it is about."""
        kind, said = self.entry.get("kind"), self.entry.get
        about = {said("of"), said("handover")} if kind in {Kind.RECALL, Kind.RECEIPT} else set()
        if kind in {Kind.CONTROL, Kind.REUSED}:
            about = {said("intent" if kind == Kind.CONTROL else "disclosure")}
        made = {f"of:{each}" for each in about if each}
        if said("recall") and kind != Kind.OUTCOME:  # what came of a notice is found by the notice
            made.add(f"recall:{said('recall')}")
        return made

    def counts(self) -> dict[Key, int]:
        """What it adds to the counts."""
        kind, entry = str(self.entry.get("kind")), self.entry
        name = entry.get(_NAMES[kind]) if kind in _NAMES else None
        if kind not in _COUNTED:
            return {}
        made = {self._key(kind, "" if name is None else str(name)): 1}
        if kind == Kind.RECEIPT and (rejected := int(entry.get("rejected") or 0)):
            made[self._key("rejected_row", "")] = rejected
        return made

    def _key(self, what: str, name: str) -> Key:
        return (what, self.day, str(self.entry.get("caller") or ""), str(self.entry.get("recipient") or ""), "", name)


_NAMES: dict[str, str] = {
    Kind.CONSENT: "evidence", Kind.WITHDRAWAL: "state", Kind.RECEIPT: "result", Kind.RECALL: "reason",
    Kind.REVIEW: "act", Kind.CONTROL: "act",
}  # fmt: skip
_COUNTED: frozenset[str] = frozenset({*_NAMES, Kind.ERASURE, Kind.POLICY})
