"""What is known of each recall beside the ledger: of what, why, until when, how far it has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import orjson

from qaqpa.errors import DecisionOutdated, NotFound
from qaqpa.model.disclosure import Json
from qaqpa.model.identifiers import is_our_id
from qaqpa.model.recall import UNDER_WAY, RecallReason, RecallScope, RecallState
from qaqpa.model.words import timestamp
from qaqpa.store import Connection, Row

_COLUMNS = (
    "id, notice, target, scope, handover, subject, caller, recipient, purpose, reason, state, since, changed, due_on, "
    "figures, sealed"
)
_ADD = f"INSERT INTO recalls ({_COLUMNS}) VALUES ({', '.join('?' * 16)})"  # noqa: S608 - constants only
_FIND = f"SELECT {_COLUMNS} FROM recalls WHERE id = ?"  # noqa: S608
_BY_NOTICE = f"SELECT {_COLUMNS} FROM recalls WHERE notice = ?"  # noqa: S608
_IN_STATE = (
    f"SELECT {_COLUMNS} FROM recalls WHERE state = ? AND (due_on, since, id) > (?, ?, ?) "  # noqa: S608
    "ORDER BY due_on, since, id LIMIT ?"
)
"""For each state by itself: no index gives several of them in order."""
_DUE = f"SELECT {_COLUMNS} FROM recalls WHERE state = ? AND due_on <= ? ORDER BY due_on, since, id"  # noqa: S608
_OF_HANDOVER = f"SELECT {_COLUMNS} FROM recalls WHERE target = ? OR handover = ? ORDER BY since, id LIMIT ?"  # noqa: S608
_OF = f"SELECT {_COLUMNS} FROM recalls WHERE target IN (?, ?)"  # noqa: S608
_OF_SUBJECT = f"SELECT {_COLUMNS} FROM recalls WHERE subject = ?"  # noqa: S608
_OF_TARGET = f"SELECT {_COLUMNS} FROM recalls WHERE target = ?"  # noqa: S608
_MOVE = (
    "UPDATE recalls SET notice = ?, state = ?, changed = ?, due_on = ?, figures = ?, sealed = ? "
    "WHERE id = ? AND state = ?"
)
_WORKED_ON = "SELECT id FROM recalls WHERE state IN (?, ?) OR (state IN (?, ?) AND figures LIKE ?) ORDER BY due_on, id"
_BUSY = (
    RecallState.ASKED.value, RecallState.SENDING.value, RecallState.SENT.value, RecallState.LATE.value,
    '%"package":{%',
)  # fmt: skip
_COUNT = "SELECT count(*) FROM recalls WHERE state = ?"
_ALL_STATES = tuple(RecallState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A recall as it stands."""

    id: str
    target: str
    """Id of the disclosure or handover."""
    scope: RecallScope
    handover: str | None
    """That a row belongs to."""
    subject: str | None
    """The random id of whom a single disclosure or row is about."""
    caller: str
    """On whose route the data left, and the notice leaves."""
    recipient: str
    purpose: str
    reason: RecallReason
    state: RecallState
    since: datetime
    changed: datetime
    due_on: date
    """The last day on which it must be destroyed."""
    figures: Mapping[str, Json] = field(default_factory=dict)
    notice: str | None = None
    """Id of the intent of its notice, and of the package that it is."""
    sealed: bytes | None = field(default=None, repr=False)
    """The contract's number while a notice waits that must name it, under the subject's key."""


def add(connection: Connection, recall: Recalled) -> None:
    """A new one."""
    connection.execute(_ADD, _values(recall))


def _values(recall: Recalled) -> tuple[object, ...]:
    return (
        recall.id, recall.notice, recall.target, recall.scope.value, recall.handover, recall.subject, recall.caller,
        recall.recipient, recall.purpose, recall.reason.value, recall.state.value, timestamp(recall.since),
        timestamp(recall.changed), recall.due_on.isoformat(), _text(recall.figures), recall.sealed,
    )  # fmt: skip


def _text(figures: Mapping[str, Json]) -> str:
    return orjson.dumps(figures, option=orjson.OPT_SORT_KEYS).decode()


def _recalled(row: Row) -> Recalled:
    since, changed = (datetime.fromisoformat(each) for each in row[11:13])
    return Recalled(
        id=row[0], notice=row[1], target=row[2], scope=RecallScope(row[3]), handover=row[4], subject=row[5],
        caller=row[6], recipient=row[7], purpose=row[8], reason=RecallReason(row[9]), state=RecallState(row[10]),
        since=since, changed=changed, due_on=date.fromisoformat(row[13]), figures=orjson.loads(row[14]),
        sealed=None if row[15] is None else bytes(row[15]),
    )  # fmt: skip


def find(connection: Connection, recall: str) -> Recalled:
    """Raises NotFound."""
    row = connection.execute(_FIND, (recall,)).first() if is_our_id(recall) else None
    if row is None:
        raise NotFound("there is no recall with this id (`qaqpa recall list`)")
    return _recalled(row)


def by_notice(connection: Connection, notice: str) -> Recalled | None:
    """The recall whose notice went under this id; None where none did."""
    row = connection.execute(_BY_NOTICE, (notice,)).first()
    return None if row is None else _recalled(row)


def in_states(
    connection: Connection,
    states: Iterable[RecallState] = _ALL_STATES,
    limit: int = 10_000,
    after: Recalled | None = None,
) -> list[Recalled]:
    """The most urgent first; only those that follow `after`, where it is given."""
    last = ("", "", "") if after is None else (after.due_on.isoformat(), timestamp(after.since), after.id)
    found = [
        _recalled(row) for state in states for row in connection.execute(_IN_STATE, (state.value, *last, limit)).all()
    ]
    return sorted(found, key=lambda each: (each.due_on, each.since, each.id))[:limit]


def due(connection: Connection, state: RecallState, until: date) -> list[Recalled]:
    """Those in this state whose day is `until` or before, the most urgent first."""
    return [_recalled(row) for row in connection.execute(_DUE, (state.value, until.isoformat())).all()]


def of_handover(connection: Connection, handover: str, limit: int) -> list[Recalled]:
    """Of a whole handover and of its rows, the earliest first."""
    return [_recalled(row) for row in connection.execute(_OF_HANDOVER, (handover, handover, limit)).all()]


def of(connection: Connection, target: str, handover: str | None) -> list[Recalled]:
    """Recalls of a disclosure, and of the handover that it is a row of."""
    return [_recalled(row) for row in connection.execute(_OF, (target, handover or target)).all()]


def about(connection: Connection, subject: str, handovers: Iterable[str]) -> list[Recalled]:
    """Recalls about one person alone, and those of whole handovers."""
    rows = connection.execute(_OF_SUBJECT, (subject,)).all()
    for handover in handovers:
        rows += connection.execute(_OF_TARGET, (handover,)).all()
    return [_recalled(row) for row in rows]


def worked_on(connection: Connection) -> list[str]:
    """Ids of those that a job has something to do for: notices to send, and packages whose receipts may come."""
    return [str(row[0]) for row in connection.execute(_WORKED_ON, _BUSY).all()]


def counts(connection: Connection, states: Iterable[RecallState] = _ALL_STATES) -> dict[RecallState, int]:
    """How many there are in each of these states."""
    return {state: int(connection.execute(_COUNT, (state.value,)).scalar()) for state in states}


def move(connection: Connection, before: Recalled, after: Recalled, now: datetime) -> Recalled:
    """Change a recall from the state that it was in. Raises DecisionOutdated where somebody was faster."""
    after = replace(after, changed=now)
    values = (
        after.notice, after.state.value, timestamp(now), after.due_on.isoformat(), _text(after.figures), after.sealed,
        before.id, before.state.value,
    )  # fmt: skip
    if connection.execute_many(_MOVE, [values]) != 1:
        raise DecisionOutdated(f"this recall is not {before.state.value} any more")
    return after


def standing_against(found: Iterable[Recalled]) -> Recalled | None:
    """Of the recalls of one thing the one because of which it is not recalled again: under way, or obeyed."""
    return next((each for each in found if each.state in UNDER_WAY | {RecallState.CONFIRMED}), None)
