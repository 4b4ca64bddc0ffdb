"""Handovers in the ledger: their rows are entered in chunks, each row as an intent or a refusal of its own.

A chunk's entries, the persons that it makes known and the note that it was decided are one transaction: a row is in
the ledger just once, whoever is killed when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from qaqpa.errors import DecisionOutdated, StoreUnavailable
from qaqpa.keys.keyring import Keyring
from qaqpa.ledger import entries
from qaqpa.ledger.appending import Appended
from qaqpa.ledger.entries import Draft, Kind, Public
from qaqpa.ledger.ledger import Ledger, StillHolds
from qaqpa.ledger.subjects import NewSubject, Person, Subject
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Intent, Json, Message
from qaqpa.model.handover import DecidedRow, Finding, HandoverState, PackageIntent, row_id
from qaqpa.model.identifiers import DisclosureId, HandoverId, SubjectId
from qaqpa.model.words import OutcomeResult, SealKind, timestamp
from qaqpa.store import Connection

_CHUNK = "INSERT INTO handover_chunks (handover, number, results, figures) VALUES (?, ?, ?, ?)"
_CHUNKS = "SELECT number, results, figures FROM handover_chunks WHERE handover = ? ORDER BY number"
_FINDING = "INSERT INTO handover_findings (handover, row, result, reasons) VALUES (?, ?, ?, ?)"
_SETTLE = "UPDATE handovers SET state = ?, changed = ?, epoch = NULL, wrapped = NULL WHERE id = ? AND state = ?"
MOVE = (
    "UPDATE handovers SET state = ?, changed = ?, figures = ?, destroy_by = ?, reminded = NULL "
    "WHERE id = ? AND state = ?"
)
_STATE = {
    "sqlite": "SELECT state FROM handovers WHERE id = ?",
    # Locked: whoever cancels the handover waits for the chunk, or the chunk for them.
    "postgresql": "SELECT state FROM handovers WHERE id = ? FOR UPDATE",
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are entered together."""

    handover: HandoverId
    number: int
    """From 0."""
    decided: Sequence[DecidedRow]
    findings: Sequence[Finding]
    results: bytes
    """A byte for each row, in order: see `RowResult`."""
    figures: Mapping[str, Json]
    """Counts and sums of the chunk."""


_WITH_KEYS = "SELECT id, epoch, wrapped FROM handovers WHERE wrapped IS NOT NULL"
_SET_KEY = "UPDATE handovers SET epoch = ?, wrapped = ? WHERE id = ?"


def wrap(keyring: Keyring, handover: HandoverId, key: bytes) -> tuple[int, bytes]:
    """The key of a handover's register under the current epoch's: that epoch, and the key."""
    keyring.refresh()  # under an epoch that another process has destroyed, it would be lost
    while True:
        epoch, wrapped = keyring.epoch, keyring.wrap(f"handover:{handover}", key)
        if epoch == keyring.epoch:  # else rotated at this very moment
            return epoch, wrapped


def unwrap(keyring: Keyring, handover: str, epoch: int, wrapped: bytes) -> bytes:
    """What `wrap` wrapped. Raises KeyringError."""
    if epoch not in keyring.epochs:
        keyring.refresh()
    return keyring.unwrap(f"handover:{handover}", epoch, wrapped)


def rewrap(connection: Connection, keyring: Keyring) -> None:
    """Registers that wait outlive a rotation of the keys. Those whose key is lost already stay as they are."""
    for name, epoch, wrapped in connection.execute(_WITH_KEYS).all():
        if epoch in keyring.epochs:
            key = unwrap(keyring, name, epoch, bytes(wrapped))
            connection.execute(_SET_KEY, (*wrap(keyring, HandoverId(name), key), name))


_SHAPES = 1_000
_SLOTS = {"consent": "@consent@", "id": "@id@", "subject": "@subject@", "time": "@time@"}
_ROW = 2**53 - 1
_MARK = re.compile(rf'"@(consent|id|subject|time)@"|(?<=:)({_ROW})(?=,)')


class _Template:
    """The canonical bytes of row intents that differ in id, row, subject, time and consent alone.

    Making each from nothing would cost more than everything else that is done for a row.
    """

    def __init__(self, public: Public) -> None:
        slotted = {**public, **{name: mark for name, mark in _SLOTS.items() if public[name] is not None}, "row": _ROW}
        slotted["sealed"] = "@sealed@"
        text = canonical(slotted).decode().replace("%", "%%")
        text = _MARK.sub(lambda found: f'"%({found[1]})s"' if found[1] else "%(row)d", text)
        self._before, _, self._after = text.partition('"sealed":"@sealed@",')

    def body(self, subject: Subject, private: bytes, values: dict[str, str | int | None]) -> bytes:
        """The entry with its sealed part."""
        before, after = self._before % values, self._after % values
        sealed = subject.seal_text(str(values["id"]), private, (before + after).encode())
        return f'{before}"sealed":"{sealed}",{after}'.encode()


class RowEntries:
    """Makes the entries of one handover's rows."""

    def __init__(self, ledger: Ledger, handover: HandoverId, seal: SealKind) -> None:
        self._ledger = ledger
        self._handover = handover
        self._seal = seal
        self._templates: dict[tuple[int, int, int, bool], tuple[DecidedRow, _Template]] = {}
        """By what the rows share; each with one of them, so that what it is known by lives as long."""

    def intent(self, row: DecidedRow, subject: Subject, time: str) -> Draft:
        """The intent of a row that is permitted."""
        decision = row.decision
        disclosure = row_id(self._handover, row.number)
        private = orjson.dumps(
            {"iin": row.iin, "sent": subject.digest(row.record), "stated": orjson.Fragment(row.stated)},
            option=orjson.OPT_SORT_KEYS,
        )
        template = self._template(row)
        values: dict[str, str | int | None] = {
            "id": disclosure, "row": row.number, "time": time, "consent": decision.consent, "subject": subject.id,
        }  # fmt: skip
        body = template.body(subject, private, values)
        asked = decision.asked
        public = {
            "kind": Kind.INTENT.value, "time": time, "caller": asked.caller, "recipient": asked.recipient,
            "handover": self._handover,
        }  # fmt: skip
        return Draft(Kind.INTENT, disclosure, subject.id, public, body)

    def _template(self, row: DecidedRow) -> _Template:
        decision = row.decision
        if decision.shadow is not None:
            return self._made(row)
        shape = (id(decision.guards), id(row.fields), id(row.withheld), decision.consent is None)
        known = self._templates.get(shape)
        if known is None:
            if len(self._templates) > _SHAPES:
                self._templates.clear()
            known = self._templates[shape] = (row, self._made(row))
        return known[1]

    def _made(self, row: DecidedRow) -> _Template:
        # Guards, fields and lists of what is withheld are shared by rows: each kind is looked at once.
        if not row.decision.permits:
            raise TypeError("an intent is made only from a permitting decision")
        return _Template(
            entries.row_intent(
                self._handover, row.number, "", row.decision, row.fields, row.withheld, "", seal=self._seal, time=""
            )
        )

    def refusal(self, row: DecidedRow, subject: Subject) -> Draft:
        """The refusal of a row that is not."""
        public = entries.refusal(row.decision, row.decision.asked, subject.id, at=self._ledger.clock())
        public |= {"handover": self._handover, "row": row.number}
        private = {"iin": row.iin, "stated": orjson.loads(row.stated)}
        return self._ledger.draft(Kind.REFUSAL, str(public["id"]), public, subject, private)


@dataclass(frozen=True, slots=True)
class ReadyChunk:
    """A chunk as it will stand in the ledger."""

    chunk: Chunk
    new: Sequence[NewSubject]
    drafts: Sequence[Draft]


def ready_chunk(ledger: Ledger, made: RowEntries, chunk: Chunk, people: Mapping[str, Person]) -> ReadyChunk:
    """Make a chunk's entries about `people`, by IIN. Nothing is entered yet; it takes milliseconds, and belongs in a
    thread.
    """
    time = timestamp(ledger.clock())
    subjects, new = ledger.subjects.made_for(people[row.iin] for row in chunk.decided)
    drafts = [
        made.intent(row, subjects[row.iin], time) if row.goes else made.refusal(row, subjects[row.iin])
        for row in chunk.decided
    ]
    return ReadyChunk(chunk, new, drafts)


async def enter_chunk(ledger: Ledger, ready: ReadyChunk, *, still_holds: StillHolds, state: HandoverState) -> None:
    """Enter a chunk's rows, all or none. They are durable when this returns, and may be written into the package.

    Raises DecisionOutdated where what they were decided on has changed, or the handover is not in `state` any more:
    then nothing was entered, and the chunk must be decided anew. Raises StoreError otherwise.
    """
    if ledger.closed_by is not None:
        raise ledger.closed_by
    chunk = ready.chunk
    findings = [
        (chunk.handover, each.number, each.result.name.lower(), orjson.dumps(list(each.reasons)).decode())
        for each in chunk.findings
    ]
    figures = orjson.dumps(chunk.figures, option=orjson.OPT_SORT_KEYS).decode()

    def unit(connection: Connection) -> None:
        found = connection.execute(_STATE[connection.dialect], (chunk.handover,)).scalar()
        if found != state or not still_holds(connection):
            raise DecisionOutdated("what these rows were decided on has changed; they are decided anew")
        ledger.subjects.add_all(connection, ready.new)
        connection.execute(_CHUNK, (chunk.handover, chunk.number, chunk.results, figures))
        if findings:
            connection.execute_many(_FINDING, findings)
        for draft in ready.drafts:
            ledger.append(connection, draft)

    await ledger.store.write(unit, long=True)


@dataclass(frozen=True, slots=True)
class Entered:
    """A chunk that is in the ledger."""

    number: int
    results: bytes
    figures: Mapping[str, Json]


def entered_chunks(connection: Connection, handover: HandoverId) -> list[Entered]:
    """Every chunk that is in the ledger, in order. Raises StoreUnavailable where one is missing."""
    rows = connection.execute(_CHUNKS, (handover,)).all()
    if [row[0] for row in rows] != list(range(len(rows))):
        raise StoreUnavailable("a chunk of this handover is missing from the database: run `qaqpa ledger verify`")
    return [Entered(row[0], bytes(row[1]), orjson.loads(row[2])) for row in rows]


Move = Callable[[Connection], None]
"""What else happens in the transaction of an entry: the handover's state, mostly. Raises to undo it."""


async def intend_package(
    ledger: Ledger,
    handover: HandoverId,
    asked: Asked,
    policy: Public,
    *,
    seal: SealKind,
    rows: int,
    package: Public,
    still_holds: StillHolds,
    move: Move,
) -> PackageIntent:
    """The intent to send the whole package, durable before a byte of it leaves. Raises as `Ledger.intend`."""
    if ledger.closed_by is not None:
        raise ledger.closed_by
    public = entries.package_intent(handover, asked, policy, seal=seal, rows=rows, package=package, at=ledger.clock())
    draft = ledger.draft(Kind.INTENT, handover, public)

    def unit(connection: Connection) -> Appended:
        if not still_holds(connection):
            raise DecisionOutdated("the recipient's state or the configuration changed; nothing was sent")
        move(connection)
        return ledger.append(connection, draft)

    appended = await ledger.store.write(unit)
    return PackageIntent(handover, appended.index, asked.recipient, seal, package["sha256"], package["bytes"])


def exchange_of_package(handover: HandoverId, decision: Decision, message: Message) -> Intent:
    """A package that was intended, with one message of its exchange: about nobody alone."""
    return Intent(DisclosureId(handover), -1, SubjectId(""), decision, message)


async def enter(ledger: Ledger, kind: Kind, request: str, public: Public, move: Move) -> int:
    """An outcome or a receipt of a package, with the change of its handover; returns the entry's index."""
    draft = ledger.draft(kind, request, public)

    def unit(connection: Connection) -> Appended:
        move(connection)
        return ledger.append(connection, draft)

    return (await ledger.store.write(unit)).index


async def conclude_package(
    ledger: Ledger, handover: HandoverId, result: OutcomeResult, code: str, rows: int, move: Move
) -> int:
    """The outcome of a package, and with it of every row in it; returns the entry's index."""
    public = entries.package_outcome(handover, result, code, rows, at=ledger.clock())
    return await enter(ledger, Kind.OUTCOME, handover, public, move)


def settled(connection: Connection, handover: str, result: OutcomeResult, now: str) -> None:
    """A person found out what came of an unknown one, and nobody reads its register again; of anything else but a
    handover nothing is changed.
    """
    after = {OutcomeResult.DELIVERED: HandoverState.SENT, OutcomeResult.REJECTED: HandoverState.REJECTED}
    state = after.get(result, HandoverState.CANCELLED)
    connection.execute(_SETTLE, (state.value, now, handover, HandoverState.UNKNOWN.value))


def moved(
    connection: Connection,
    handover: HandoverId,
    before: HandoverState,
    after: HandoverState,
    figures: Mapping[str, Json],
    now: str,
) -> None:
    """Change a handover's state from what it was. Raises DecisionOutdated where somebody was faster."""
    text = orjson.dumps(figures, option=orjson.OPT_SORT_KEYS).decode()
    destroy_by = (figures.get("receipt") or {}).get("destruction_due")
    if connection.execute_many(MOVE, [(after.value, now, text, destroy_by, handover, before.value)]) != 1:
        raise DecisionOutdated(f"this handover is not {before.value} any more")
