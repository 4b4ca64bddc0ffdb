"""The registers that decide what may leave, rebuilt from the entries: which consents stand (7.1(3)) and which
recipients are suspended (5.5). Whoever can write to the database can change a row; verification compares each with what
the entries say, so a withdrawal or a suspension cannot be made undone in silence. Reads no sealed part, needs no key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.entries import ROTATE_KEYS, Kind
from qaqpa.model.canonical import canonical
from qaqpa.model.consent import ConsentStatus
from qaqpa.model.words import timestamp
from qaqpa.store import Connection

REGISTERED = frozenset({Kind.CONSENT, Kind.WITHDRAWAL, Kind.CONTROL, Kind.ERASURE, Kind.POLICY})
"""Kinds of entry that a register repeats."""

_CONSENTS = "SELECT id, subject, terms, withdrawal_asked_at, withdrawn_at, expires_at FROM consents ORDER BY id"
_UNSETTLED = "SELECT disclosure, state, subject, recipient, since FROM unsettled ORDER BY disclosure"
_INTENT = "SELECT request, subject, recipient, time FROM entries WHERE idx = ?"
_IS_MOVED = "SELECT 1 FROM archives WHERE ? BETWEEN first AND last AND NOT EXISTS (SELECT 1 FROM entries WHERE idx = ?)"
_KEYS = "SELECT subject FROM subject_keys"
_UNINDEXED = (
    "SELECT subject FROM subjects s WHERE NOT EXISTS (SELECT 1 FROM subject_keys k WHERE k.subject = s.subject) "
    "UNION ALL "
    "SELECT subject FROM subject_keys k WHERE NOT EXISTS (SELECT 1 FROM subjects s WHERE s.subject = k.subject) LIMIT 1"
)
_ARCHIVES = "SELECT month, entries, sha256, file FROM archives ORDER BY month"
_ERASURES = "SELECT subject, epoch FROM erasures ORDER BY subject"
_META = "SELECT name, value FROM meta"
_LATEST_EPOCH = "SELECT max(epoch) FROM subject_keys"
_NAMES = {"keyring", "config", "epoch", "rotated", "loss"}
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


@dataclass(frozen=True, slots=True)
class _Said:
    """What the last entry of a kind says, and which one it is."""

    value: str
    index: int


_ASKED, _WITHDRAWN = 2, 3


class Registers:
    """Collects what the entries say of the registers, in their order, to compare it at the end."""

    def __init__(self) -> None:
        columns = ("subject", "terms", "withdrawal_asked_at", "withdrawn_at", "expires_at")
        self._consents = _Register("consents", "consent", columns, {}, {})
        self._suspensions = _Register("suspensions", "recipient", ("since", "person", "reason"), {}, {})
        self._archives = _Register("archives", "month", ("entries", "sha256", "file"), {}, {})
        self._erasures = _Register("erasures", "subject", ("epoch",), {}, {})
        self._erased: dict[str, int] = {}
        self._config: _Said | None = None
        self._rotated: _Said | None = None

    def see(self, index: int, entry: Mapping[str, Any]) -> None:
        """Take in an entry; only REGISTERED kinds tell anything. Raises VerificationFailed for one out of place."""
        kind = entry.get("kind")
        if kind == Kind.CONSENT:
            consent = str(entry.get("consent"))
            if consent in self._consents.rows:  # given once more, a withdrawn one would stand again
                raise VerificationFailed(f"entry {index} gives a consent that was given before it", index=index)
            # A digest: terms are the long part of a row, and a register may hold a million of them.
            values = (entry.get("subject"), _digest(entry.get("terms")), None, None, _end(entry.get("terms")))
            self._consents.rows[consent] = _Row(values, (index,) * len(values))
        elif kind == Kind.WITHDRAWAL:
            self._withdraw(index, entry)
        elif kind == Kind.CONTROL:
            self._control(index, entry)
        elif kind == Kind.ERASURE:
            subject = str(entry.get("subject"))
            self._erased[subject] = index
            self._erasures.rows[subject] = _Row((entry.get("epoch"),), (index,))
        elif kind == Kind.POLICY:
            self._config = _Said(str(entry.get("config")), index)

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
        elif act == ROTATE_KEYS:
            self._rotated = _Said(str(entry.get("epoch")), index)
        elif act == "archive":
            values = (entry.get("entries"), entry.get("sha256"), entry.get("file"))
            self._archives.rows[str(entry.get("month"))] = _Row(values, (index,) * len(values))
        elif act == "resume":
            self._suspensions.rows.pop(recipient, None)
            self._suspensions.removed[recipient] = index

    def compare_archives(self, connection: Connection) -> None:
        """Nobody deletes entries and says that they were moved. Raises VerificationFailed."""
        self._archives.compare((str(row[0]), *row[1:]) for row in connection.execute(_ARCHIVES).all())

    def compare(self, connection: Connection, unsettled: Mapping[str, tuple[str, int]]) -> None:
        """Compare with the tables, once, in the snapshot of the entries. Raises VerificationFailed.

        `unsettled` are disclosures, each with its state and the index of its intent.
        """
        consents = connection.stream(_CONSENTS)
        self._consents.compare((row[0], row[1], _digest_of_text(row[2]), *row[3:]) for row in consents)
        self._suspensions.compare(connection.stream(_SUSPENSIONS))
        self._erasures.compare(connection.stream(_ERASURES))
        rows = {row[0]: row[1:] for row in connection.stream(_UNSETTLED)}
        for disclosure in sorted(rows.keys() | unsettled.keys()):
            state, index = unsettled.get(disclosure, ("settled", None))
            found, *told = rows.get(disclosure, ("settled",))
            if found != state:
                raise VerificationFailed(
                    f"the register unsettled was changed: disclosure {disclosure} is {found} there, by the entries it "
                    f"is {state}"
                )
            if index is None or connection.execute(_IS_MOVED, (index, index)).first() is not None:
                continue  # its body lies in a file
            if not _tells(disclosure, tuple(told), connection.execute(_INTENT, (index,)).first()):
                raise VerificationFailed(
                    f"the register unsettled was changed: disclosure {disclosure} is not to whom, about whom or of "
                    f"when entry {index} says",
                    index=index,
                )

    def compare_meta(self, connection: Connection, size: int) -> None:
        """What is noted beside the ledger is what the entries say, as far as they say it. Raises VerificationFailed."""
        noted: dict[str, str] = dict(connection.execute(_META).all())
        if unknown := noted.keys() - _NAMES:
            raise _noted(f"it holds {', '.join(sorted(unknown))}, which Qaqpa does not write there")
        for name, said in (("config", self._config), ("rotated", self._rotated)):
            if noted.get(name) != (None if said is None else said.value):
                raise _noted(f"{name} is not as the entries say", None if said is None else said.index)
        latest = connection.execute(_LATEST_EPOCH).scalar()
        if latest is not None and not {"keyring", "epoch"} <= noted.keys():
            raise _noted("it does not say to which keyring and epoch the subjects' keys belong")
        # Not held against an upper bound: a keyring may be some epochs ahead of a back-up that was restored.
        lowest = max(latest or 1, int(noted.get("rotated", 1)))
        if "epoch" in noted and not (noted["epoch"].isdecimal() and int(noted["epoch"]) >= lowest):
            raise _noted(f"epoch is no epoch from {lowest} on")
        if "loss" in noted and parse_loss(noted["loss"])["size"] != size:
            raise _noted("loss is not of a ledger of this size, and nobody has entered it")

    def compare_keys(self, connection: Connection, subjects: set[str]) -> None:
        """Everybody whom an entry is about has a key, and nobody who was erased. Raises VerificationFailed."""
        for (subject,) in connection.stream(_KEYS):
            if subject in self._erased:
                index = self._erased[subject]
                raise VerificationFailed(f"the subject that entry {index} erased has a key again", index=index)
            subjects.discard(subject)
        lost = subjects - self._erased.keys()
        if lost:
            first = min(lost)
            raise VerificationFailed(f"the key of subject {first} is gone and no entry says that it was erased")
        if (alone := connection.execute(_UNINDEXED).scalar()) is not None:
            raise VerificationFailed(f"subject {alone} has a key and no place in the index, or the other way round")


def _tells(disclosure: str, row: tuple[object, ...], intent: tuple[object, ...] | None) -> bool:
    """Whether the row is what its intent says; a handover, opened by its first row, is about nobody alone, nor is a
    notice of recall.
    """
    if intent is None:
        return False
    request, subject, *rest = intent
    return row == ((subject or "") if request == disclosure else "", *rest)


def _noted(how: str, index: int | None = None) -> VerificationFailed:
    return VerificationFailed(f"the table meta was changed: {how}", index=index)


_LOSS: dict[str, type] = {
    "caller": str, "person": str, "reason": str, "size": int, "lost_size": int, "lost_root": str,
}  # fmt: skip


def parse_loss(text: str) -> dict[str, Any]:
    """Which loss a person accepted, as it waits in `meta` to be entered. Raises VerificationFailed."""
    try:
        loss = orjson.loads(text)
    except orjson.JSONDecodeError:
        loss = None
    if (
        not isinstance(loss, dict)
        or {name: type(value) for name, value in loss.items()} != _LOSS
        or min(loss["size"], loss["lost_size"]) < 1
        or not re.fullmatch(r"[0-9a-f]{64}", loss["lost_root"])
    ):
        raise _noted("loss does not say who accepted which loss")
    return loss


def _end(terms: Any) -> str | None:
    """When a consent with these terms ends, as the table keeps it."""
    text = terms.get("expires_at")
    return None if text is None else timestamp(datetime.fromisoformat(text))


def _digest(terms: Any) -> bytes:
    return hashlib.sha256(canonical(terms)).digest()


def _digest_of_text(terms: object) -> bytes | None:
    """The digest of terms as the table keeps them; None for what is not JSON that an entry could hold."""
    try:
        return _digest(orjson.loads(terms)) if isinstance(terms, str) else None
    except (orjson.JSONDecodeError, TypeError, RecursionError):
        return None
