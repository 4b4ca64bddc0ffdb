"""The registers that decide what may leave, rebuilt from the entries: which consents stand (7.1(3)) and which
recipients are suspended (5.5). Whoever can write to the database can change a row; verification compares each with what
the entries say, so a withdrawal or a suspension cannot be made undone in silence. Reads no sealed part, needs no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.canonical import canonical
from qaqpa.ledger.entries import Kind
from qaqpa.model.consent import ConsentStatus

REGISTERED = frozenset({Kind.CONSENT, Kind.WITHDRAWAL, Kind.CONTROL})
"""Kinds of entry that a register repeats."""

_CONSENTS = "SELECT id, subject, terms, withdrawal_asked_at, withdrawn_at FROM consents ORDER BY id"
_SUSPENSIONS = "SELECT recipient, since, person, reason FROM suspensions ORDER BY recipient"


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row must hold beside its key, and for each column the entry that left it so."""

    values: tuple[object, ...]
    entries: tuple[int, ...]

    def set(self, column: int, value: object, index: int) -> _Row:
        values, entries = list(self.values), list(self.entries)
        values[column], entries[column] = value, index
        return replace(self, values=tuple(values), entries=tuple(entries))


@dataclass(frozen=True, slots=True)
class _Register:
    """A table, and what the entries make of it."""

    table: str
    noun: str
    columns: tuple[str, ...]
    rows: dict[str, _Row]
    removed: dict[str, int]
    """Keys whose row an entry took away, and that entry."""

    def compare(self, found: Iterable[tuple[Any, ...]]) -> None:
        """Hold the table against the entries, once: rows are let go of as they are met."""
        for key, *values in found:
            row = self.rows.pop(key, None)
            if row is None:
                raise self._changed(f"no entry says that {self.noun} {key} stands there", self.removed.get(key))
            for column, value, expected, index in zip(self.columns, values, row.values, row.entries, strict=True):
                if value != expected:
                    raise self._changed(f"{column} of {self.noun} {key} is not as entry {index} left it", index)
        for key, row in self.rows.items():
            index = row.entries[0]
            raise self._changed(f"{self.noun} {key} of entry {index} is missing", index)

    def _changed(self, how: str, index: int | None) -> VerificationFailed:
        return VerificationFailed(f"the register {self.table} was changed: {how}", index=index)


_ASKED, _WITHDRAWN = 2, 3


class Registers:
    """Collects what the entries say of the registers, in their order, to compare it at the end."""

    def __init__(self) -> None:
        columns = ("subject", "terms", "withdrawal_asked_at", "withdrawn_at")
        self._consents = _Register("consents", "consent", columns, {}, {})
        self._suspensions = _Register("suspensions", "recipient", ("since", "person", "reason"), {}, {})

    def see(self, index: int, entry: Mapping[str, Any]) -> None:
        """Take in an entry; only REGISTERED kinds tell anything. Raises VerificationFailed for one out of place."""
        kind = entry.get("kind")
        if kind == Kind.CONSENT:
            # A digest: terms are the long part of a row, and a register may hold a million of them.
            values = (entry.get("subject"), _digest(entry.get("terms")), None, None)
            self._consents.rows[str(entry.get("consent"))] = _Row(values, (index,) * len(values))
        elif kind == Kind.WITHDRAWAL:
            self._withdraw(index, entry)
        elif kind == Kind.CONTROL:
            self._control(index, entry)

    def _withdraw(self, index: int, entry: Mapping[str, Any]) -> None:
        consent, time = str(entry.get("consent")), entry.get("time")
        row = self._consents.rows.get(consent)
        if row is None:
            raise VerificationFailed(f"entry {index} withdraws a consent that is not given before it", index=index)
        # A withdrawal that was pending keeps the time at which it was asked for (7.1(3)).
        if row.values[_ASKED] is None:
            row = row.set(_ASKED, time, index)
        if entry.get("state") == ConsentStatus.WITHDRAWN:
            row = row.set(_WITHDRAWN, time, index)
        self._consents.rows[consent] = row

    def _control(self, index: int, entry: Mapping[str, Any]) -> None:
        act, recipient = entry.get("act"), str(entry.get("recipient"))
        if act == "suspend":
            # Suspended again: the later suspension replaces the row (5.5).
            values = (entry.get("time"), entry.get("person"), entry.get("reason"))
            self._suspensions.rows[recipient] = _Row(values, (index,) * len(values))
        elif act == "resume":
            self._suspensions.rows.pop(recipient, None)
            self._suspensions.removed[recipient] = index

    def compare(self, connection: Connection) -> None:
        """Compare with the tables, once, in the snapshot of the entries. Raises VerificationFailed."""
        consents = connection.exec_driver_sql(_CONSENTS)
        self._consents.compare((row[0], row[1], _digest_of_text(row[2]), *row[3:]) for row in consents)
        self._suspensions.compare(tuple(row) for row in connection.exec_driver_sql(_SUSPENSIONS))


def _digest(terms: Any) -> bytes:
    return hashlib.sha256(canonical(terms)).digest()


def _digest_of_text(terms: object) -> bytes | None:
    """The digest of terms as the table keeps them; None for what is not JSON that an entry could hold."""
    try:
        return _digest(orjson.loads(terms)) if isinstance(terms, str) else None
    except (orjson.JSONDecodeError, TypeError, RecursionError):
        return None
