"""What is known of each handover beside the ledger: what was ordered, how far it has come, which rows stayed behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson

from qaqpa.errors import NotFound, NotPossible
from qaqpa.handover.manifest import Member
from qaqpa.ledger.handovers import MOVE, Finding
from qaqpa.model.decision import Asked
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import FINAL, HandoverState, RowResult
from qaqpa.model.identifiers import CallerId, HandoverId, RecipientId
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

_COLUMNS = "id, recipient, state, since, changed, ordered, figures, epoch, wrapped"
_ADD = (
    "INSERT INTO handovers "
    "(id, caller, recipient, state, since, changed, ordered, figures, epoch, wrapped, once, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (once) DO NOTHING"
)
_ONCE = "SELECT id, body FROM handovers WHERE once = ?"
_FIND = f"SELECT {_COLUMNS} FROM handovers WHERE id = ?"  # noqa: S608 - constants only
_ALL = f"SELECT {_COLUMNS} FROM handovers ORDER BY since DESC, id DESC LIMIT ?"  # noqa: S608
_OF_CALLER = f"SELECT {_COLUMNS} FROM handovers WHERE caller = ? ORDER BY since DESC, id DESC LIMIT ?"  # noqa: S608
_OF_STATES = f"SELECT {_COLUMNS} FROM handovers WHERE state IN ({{marks}}) ORDER BY since, id"  # noqa: S608
_CHANGED_SINCE = f"SELECT {_COLUMNS} FROM handovers WHERE recipient = ? AND changed >= ?"  # noqa: S608
_FORGET_KEY = "UPDATE handovers SET epoch = NULL, wrapped = NULL WHERE id = ?"
_FINDINGS = (
    "SELECT row, result, reasons FROM handover_findings WHERE handover = ? AND row > ? ORDER BY row, result LIMIT ?"
)
_NOTE = "UPDATE handovers SET figures = ? WHERE id = ? AND figures = ?"
_LAST = "SELECT figures FROM handover_chunks WHERE handover = ? ORDER BY number DESC LIMIT 1"
_PROGRESS = "SELECT count(*), coalesce(sum(length(results)), 0) FROM handover_chunks WHERE handover = ?"
_RESULTS = "SELECT results FROM handover_chunks WHERE handover = ? ORDER BY number"

WORKED_ON = tuple(sorted(state for state in HandoverState if state not in FINAL | {HandoverState.UNKNOWN}))
"""States in which a job has something to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that goes with a register."""

    kind: str
    type: str
    """Told from its content: pdf, png, jpeg."""
    bytes: int
    sha256: str

    def member(self, number: int) -> Member:
        """In the package; nothing of the name that it came with."""
        name = f"documents/{number}-{self.kind}.{self.type}"
        return Member(name, self.bytes, self.sha256, {"kind": self.kind, "type": self.type})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be handed over: names of the configuration and choices, nothing of a register."""

    caller: str
    recipient: str
    operation: str
    purpose: str
    format: str | None = None
    """What the register claims to be: csv, xlsx, jsonl, parquet; else told from its content."""
    encoding: str | None = None
    strict: bool = False
    """One row that may not go holds up all."""
    priority: int = 0
    """Of two that wait for the same recipient the higher goes first."""
    bytes: int = 0
    """Of the register."""
    documents: tuple[Document, ...] = ()

    @property
    def asked(self) -> Asked:
        """In the terms in which routes are found."""
        return Asked(CallerId(self.caller), RecipientId(self.recipient), self.operation, self.purpose)


@dataclass(frozen=True, slots=True)
class Handover:
    """A handover as it stands."""

    id: HandoverId
    order: Order
    state: HandoverState
    since: datetime
    changed: datetime
    figures: Mapping[str, Json]
    epoch: int | None = None
    wrapped: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rows of a handover have come."""

    chunks: int
    rows: int
    read: int = 0
    """Bytes of its register that were read for them."""


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key of one caller and what it stands for, as keyed hashes."""

    key: bytes
    body: bytes


def first(connection: Connection, key: bytes) -> tuple[str, bytes] | None:
    """The handover that was ordered with this key, and what it stood for."""
    row = connection.execute(_ONCE, (key,)).first()
    return None if row is None else (str(row[0]), bytes(row[1]))


def add(connection: Connection, handover: Handover, once: Once | None = None) -> bool:
    """A new one; False, and nothing is added, where its key was used meanwhile."""
    ordered = orjson.dumps(asdict(handover.order), option=orjson.OPT_SORT_KEYS).decode()
    at = timestamp(handover.since)
    order = handover.order
    values = (
        handover.id, order.caller, order.recipient, handover.state.value, at, at, ordered,
        orjson.dumps(handover.figures).decode(), handover.epoch, handover.wrapped,
        None if once is None else once.key, None if once is None else once.body,
    )  # fmt: skip
    return connection.execute_many(_ADD, [values]) == 1


def _handover(row: Row) -> Handover:
    ordered: dict[str, Any] = orjson.loads(row[5])
    ordered["documents"] = tuple(Document(**each) for each in ordered["documents"])
    since, changed = (datetime.fromisoformat(each) for each in row[3:5])
    wrapped = None if row[8] is None else bytes(row[8])
    return Handover(
        HandoverId(row[0]),
        Order(**ordered),
        HandoverState(row[2]),
        since,
        changed,
        orjson.loads(row[6]),
        row[7],
        wrapped,
    )


def find(connection: Connection, handover: str) -> Handover:
    """Raises NotFound."""
    row = connection.execute(_FIND, (handover,)).first()
    if row is None:
        raise NotFound("there is no handover with this id (`qaqpa handover list`)")
    return _handover(row)


def latest(connection: Connection, limit: int, caller: str | None = None) -> list[Handover]:
    """Newest first: of one caller, or of all."""
    found = connection.execute(_ALL, (limit,)) if caller is None else connection.execute(_OF_CALLER, (caller, limit))
    return [_handover(row) for row in found.all()]


def in_states(connection: Connection, *states: HandoverState) -> list[Handover]:
    """Oldest first."""
    sql = _OF_STATES.format(marks=", ".join("?" * len(states)))
    return [_handover(row) for row in connection.execute(sql, [state.value for state in states]).all()]


def worked_on(connection: Connection) -> list[str]:
    """Ids of those that a job has something to do for."""
    return [each.id for each in in_states(connection, *WORKED_ON)]


def forget_key(connection: Connection, handover: HandoverId) -> None:
    """Of its register, which nobody can read from now on."""
    connection.execute(_FORGET_KEY, (handover,))


def sent_since(connection: Connection, recipient: str, since: str) -> int:
    """How many packages left for `recipient`, or perhaps did, since then."""
    found = (_handover(row) for row in connection.execute(_CHANGED_SINCE, (recipient, since)).all())
    return sum(each.state is HandoverState.SENDING or str(each.figures.get("left_at", "")) >= since for each in found)


def ask_to_cancel(connection: Connection, handover: HandoverId) -> None:
    """Whoever sends it will see. Raises NotPossible where it is not being sent any more."""
    found = find(connection, handover)
    figures = {name: value for name, value in found.figures.items() if name != "waits"}
    text = orjson.dumps({**figures, "cancel": True}).decode()
    values = (HandoverState.SENDING.value, timestamp(found.changed), text, handover, HandoverState.SENDING.value)
    if connection.execute_many(MOVE, [values]) != 1:
        raise NotPossible(["handover: is not being sent any more, so it cannot be stopped; recall it instead"])


def note(connection: Connection, handover: HandoverId, **figures: Json) -> None:
    """Note something beside its state, for people who look; a None takes it away.

    Lost where somebody changes the handover at that very moment, and never the other way round.
    """
    row = connection.execute("SELECT figures FROM handovers WHERE id = ?", (handover,)).first()
    if row is not None:
        noted = {**orjson.loads(row[0]), **figures}
        text = orjson.dumps({name: value for name, value in noted.items() if value is not None}).decode()
        connection.execute(_NOTE, (text, handover, row[0]))


def set_state(connection: Connection, handover: HandoverId, state: HandoverState, now: str) -> None:
    """A person says where it stands, and not its job."""
    connection.execute("UPDATE handovers SET state = ?, changed = ? WHERE id = ?", (state.value, now, handover))


def progress(connection: Connection, handover: str) -> Progress:
    """How many rows are decided and entered."""
    chunks, rows = connection.execute(_PROGRESS, (handover,)).one()
    last = connection.execute(_LAST, (handover,)).first()
    return Progress(chunks, rows, 0 if last is None else orjson.loads(last[0]).get("read", 0))


def counts(connection: Connection, handover: str) -> dict[RowResult, int]:
    """Rows by what became of them."""
    found = dict.fromkeys(RowResult, 0)
    for (results,) in connection.execute(_RESULTS, (handover,)).all():
        for result in RowResult:
            found[result] += bytes(results).count(result)
    return found


def findings(connection: Connection, handover: str, *, after: int = 0, limit: int = 2_000_000) -> Iterator[Finding]:
    """Rows beyond `after` that did not go, or that the recipient rejected, in their order; at most `limit`."""
    for row, result, reasons in connection.execute(_FINDINGS, (handover, after, limit)).all():
        yield Finding(row, RowResult[result.upper()], tuple(orjson.loads(reasons)))
