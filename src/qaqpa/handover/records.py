"""What is known of each handover beside the ledger: what was ordered, how far it has come, which rows stayed behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

import orjson

from qaqpa.errors import NotFound, NotPossible
from qaqpa.handover.orders import Document, Order
from qaqpa.ledger.handovers import MOVE
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import FINAL, Finding, HandoverState, RowResult
from qaqpa.model.identifiers import HandoverId, is_our_id
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

_COLUMNS = "id, recipient, state, since, changed, ordered, figures, epoch, wrapped"
_ADD = (
    "INSERT INTO handovers "
    "(id, caller, recipient, state, since, changed, ordered, figures, epoch, wrapped, once, body, operation, follows) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (once) DO NOTHING"
)
_ONCE = "SELECT id, body FROM handovers WHERE once = ?"
_FIND = f"SELECT {_COLUMNS} FROM handovers WHERE id = ?"  # noqa: S608 - constants only
_ALL = f"SELECT {_COLUMNS} FROM handovers ORDER BY since DESC, id DESC LIMIT ?"  # noqa: S608
_OF_CALLER = f"SELECT {_COLUMNS} FROM handovers WHERE caller = ? ORDER BY since DESC, id DESC LIMIT ?"  # noqa: S608
_OF_STATES = f"SELECT {_COLUMNS} FROM handovers WHERE state IN ({{marks}}) ORDER BY since, id"  # noqa: S608
_CHANGED_SINCE = f"SELECT {_COLUMNS} FROM handovers WHERE recipient = ? AND changed >= ?"  # noqa: S608
_WORK = "SELECT id FROM handovers WHERE state = ?"
_UNTOLD = "reminded IS NULL AND state IN ('sent', 'acknowledged', 'rejected', 'unknown')"
"""As the indexes of what is kept have it."""
_OF_AGE = f"SELECT {_COLUMNS} FROM handovers WHERE recipient = ? AND since <= ? AND {_UNTOLD}"  # noqa: S608
_PROMISED = f"SELECT {_COLUMNS} FROM handovers WHERE destroy_by <= ? AND {_UNTOLD}"  # noqa: S608
_REMINDED = "UPDATE handovers SET reminded = ? WHERE id = ?"
_FORGET_KEY = "UPDATE handovers SET epoch = NULL, wrapped = NULL WHERE id = ?"
_FINDINGS = (
    "SELECT row, result, reasons FROM handover_findings WHERE handover = ? AND row > ? ORDER BY row, result LIMIT ?"
)
_FINDINGS_OF = (
    "SELECT row, result, reasons FROM handover_findings WHERE handover = ? AND row > ? AND result = ? "
    "ORDER BY row LIMIT ?"
)
_FINDINGS_FOR = (
    "SELECT row, result, reasons FROM handover_findings WHERE handover = ? AND row > ? AND result = ? "
    "AND reasons LIKE ? ESCAPE '!' ORDER BY row LIMIT ?"
)
# Each duplicate names the row that it repeats, which says nothing of how many there are.
_ALIKE = (
    "SELECT result, min(row), count(*) FROM handover_findings WHERE handover = ? "
    "GROUP BY result, CASE WHEN result = 'duplicate' THEN '' ELSE reasons END"
)
_NOTE = "UPDATE handovers SET figures = ? WHERE id = ? AND figures = ?"
_LAST = "SELECT figures FROM handover_chunks WHERE handover = ? ORDER BY number DESC LIMIT 1"
_PROGRESS = "SELECT count(*), coalesce(sum(length(results)), 0) FROM handover_chunks WHERE handover = ?"
_RESULTS = "SELECT results FROM handover_chunks WHERE handover = ? ORDER BY number"

WORKED_ON = tuple(sorted(state for state in HandoverState if state not in FINAL | {HandoverState.UNKNOWN}))
"""States in which a job has something to do."""


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
        None if once is None else once.key, None if once is None else once.body, order.operation, order.follows,
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


def accepted(figures: str) -> int | None:
    """How many rows went and were not rejected, by the figures as they are kept; None before they are known."""
    known = orjson.loads(figures)
    return None if "rows" not in known else int(known["rows"]) - int((known.get("receipt") or {}).get("rejected", 0))


def find(connection: Connection, handover: str) -> Handover:
    """Raises NotFound."""
    row = connection.execute(_FIND, (handover,)).first() if is_our_id(handover) else None
    if row is None:
        raise NotFound("there is no handover with this id (`qaqpa handover list`)")
    return _handover(row)


def latest(connection: Connection, limit: int, caller: str | None = None) -> list[Handover]:
    """Newest first: of one caller, or of all."""
    found = connection.execute(_ALL, (limit,)) if caller is None else connection.execute(_OF_CALLER, (caller, limit))
    return [_handover(row) for row in found.all()]


def page(
    connection: Connection, count: int, state: HandoverState | None = None, before: str | None = None
) -> list[Handover]:
    """Newest first, in one state or any; those that are older than `before`. Raises NotFound for that."""
    fits, values = list[str](), list[object]()
    if state is not None:
        fits, values = ["state = ?"], [state.value]
    if before is not None:
        last = find(connection, before)
        fits, values = [*fits, "(since, id) < (?, ?)"], [*values, timestamp(last.since), last.id]
    where = f" WHERE {' AND '.join(fits)}" if fits else ""
    sql = f"SELECT {_COLUMNS} FROM handovers{where} ORDER BY since DESC, id DESC LIMIT ?"  # noqa: S608
    return [_handover(row) for row in connection.execute(sql, [*values, count]).all()]


def in_states(connection: Connection, *states: HandoverState) -> list[Handover]:
    """Oldest first."""
    sql = _OF_STATES.format(marks=", ".join("?" * len(states)))
    return [_handover(row) for row in connection.execute(sql, [state.value for state in states]).all()]


def worked_on(connection: Connection) -> list[str]:
    """Ids of those that a job has something to do for, the oldest first."""
    return sorted(str(row[0]) for state in WORKED_ON for row in connection.execute(_WORK, (state.value,)).all())


def to_be_destroyed(
    connection: Connection, kept_for: Mapping[str, datetime], promised_until: date
) -> dict[HandoverId, Handover]:
    """Those whose recipient may soon have to destroy what it got, and of which somebody may have to be reminded.

    `kept_for` says of each recipient until when a register must have been taken in to be that old; `promised_until` is
    the last day, by receipts that name one.
    """
    rows = connection.execute(_PROMISED, (promised_until.isoformat(),)).all()
    for recipient, until in kept_for.items():
        rows += connection.execute(_OF_AGE, (recipient, timestamp(until))).all()
    return {found.id: found for found in map(_handover, rows)}


def reminded(connection: Connection, handover: HandoverId, day: date) -> None:
    """Nobody need be reminded of it from this day on, until something else becomes known of it."""
    connection.execute(_REMINDED, (day.isoformat(), handover))


def given_up(connection: Connection, before: datetime) -> set[str]:
    """Ids of those that are being sent since then, or are to be cancelled: they end wherever their files are."""
    found = in_states(connection, HandoverState.SENDING)
    return {each.id for each in found if each.changed < before or each.figures.get("cancel")}


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
    values = (HandoverState.SENDING.value, timestamp(found.changed), text, None, handover, HandoverState.SENDING.value)
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


def findings(
    connection: Connection,
    handover: str,
    *,
    after: int = 0,
    limit: int = 2_000_000,
    result: RowResult | None = None,
    reason: Mapping[str, Json] | None = None,
) -> Iterator[Finding]:
    """Rows beyond `after` that did not go, or that the recipient rejected, in their order; at most `limit`.

    Of one result, and of it those for one reason: its code, and its column where it is about one.
    """
    if result is None:
        rows = connection.execute(_FINDINGS, (handover, after, limit)).all()
    elif reason is not None:
        # As `orjson` wrote it: inside a JSON string a quotation mark never stands bare, so this is the reason's.
        said = orjson.dumps({name: reason[name] for name in ("code", "column") if name in reason}).decode()[1:-1]
        fits = "%{" + "".join(f"!{each}" if each in "!%_" else each for each in said) + "%"
        rows = connection.execute(_FINDINGS_FOR, (handover, after, result.name.lower(), fits, limit)).all()
    else:
        rows = connection.execute(_FINDINGS_OF, (handover, after, result.name.lower(), limit)).all()
    for row, came, reasons in rows:
        yield Finding(row, RowResult[came.upper()], tuple(orjson.loads(reasons)))


def alike(connection: Connection, handover: str) -> Iterator[tuple[Finding, int]]:
    """Rows that stayed behind or came back for the same reasons: the first of them, and how many they are."""
    for result, row, count in connection.execute(_ALIKE, (handover,)).all():
        (first,) = findings(connection, handover, after=row - 1, limit=1, result=RowResult[result.upper()])
        yield first, int(count)
