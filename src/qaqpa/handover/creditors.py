"""The change of creditor: once claims were assigned, the credit bureaus that hold their contracts are to be told of it
(1.1(21); phase 8 of a contract), and nobody is to forget that.

What is owed is told from the books alone: which assignments left, which uploads name one of them. Neither register is
kept to compare them, so how many contracts went is told beside how many were assigned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qaqpa.errors import InvalidRequest, NotFound, NotPossible
from qaqpa.handover import records
from qaqpa.handover.orders import Order
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.policy import Policy
from qaqpa.store import Connection

ASSIGNMENT = "assignment"
"""The operation by which a buyer of claims gets them."""
UPLOAD = "contract_upload"
"""The operation by which a bureau is told of contracts."""
_LEFT = frozenset({HandoverState.SENT, HandoverState.ACKNOWLEDGED})
_FOLLOWING = "SELECT id, recipient, state, figures FROM handovers WHERE follows = ? ORDER BY since, id"
_ASSIGNED = (
    "SELECT id FROM handovers a WHERE operation = 'assignment' AND state IN ('sent', 'acknowledged') AND "
    "(SELECT count(DISTINCT f.recipient) FROM handovers f WHERE f.follows = a.id AND f.state = 'acknowledged' "
    "AND f.recipient IN ({marks})) < ? ORDER BY since, id"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What one bureau is to be told of an assignment, and how far that has come."""

    recipient: str
    upload: str | None = None
    """The handover that tells it, where one was handed in."""
    state: HandoverState | None = None
    """Of that."""
    contracts: int | None = None
    """Of how many contracts it tells; those that the bureau did not take are none."""

    @property
    def is_told(self) -> bool:
        """Whether the bureau has acknowledged it."""
        return self.state is HandoverState.ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class Owed:
    """An assignment of which not every bureau has been told."""

    assignment: Handover
    reports: tuple[Report, ...]

    @property
    def rows(self) -> int:
        """How many contracts have another creditor."""
        return int(self.assignment.figures.get("rows", 0))

    @property
    def untold(self) -> tuple[str, ...]:
        """Bureaus that have not acknowledged."""
        return tuple(each.recipient for each in self.reports if not each.is_told)


def bureaus(policy: Policy) -> tuple[str, ...]:
    """Recipients that the configuration has contracts reported to."""
    return tuple(sorted({str(asked.recipient) for asked in policy.routes if asked.operation == UPLOAD}))


def reports(connection: Connection, handover: Handover, to: Sequence[str]) -> tuple[Report, ...]:
    """Of each bureau; nothing where the handover is no assignment that left."""
    if handover.order.operation != ASSIGNMENT or handover.state not in _LEFT:
        return ()
    found = {recipient: Report(recipient) for recipient in to}
    for name, recipient, state, text in connection.execute(_FOLLOWING, (handover.id,)).all():
        known = found.get(recipient)
        if known is not None and not known.is_told:
            found[recipient] = Report(recipient, name, HandoverState(state), records.accepted(text))
    return tuple(found.values())


def owed(connection: Connection, to: Sequence[str]) -> Iterator[Owed]:
    """Every assignment of which one of these bureaus has not been told, the oldest first."""
    if not to:
        return
    sql = _ASSIGNED.format(marks=", ".join("?" * len(to)))
    for (name,) in connection.execute(sql, (*to, len(to))).all():
        found = records.find(connection, name)
        yield Owed(found, reports(connection, found, to))


def require_followed(connection: Connection, order: Order) -> None:
    """Raises InvalidRequest, NotPossible where what the order follows is no assignment that left."""
    if order.follows is None:
        return
    if order.operation != UPLOAD:
        raise InvalidRequest([f"follows: only {UPLOAD} follows an assignment; leave it out"])
    try:
        found = records.find(connection, order.follows)
    except NotFound:
        found = None
    if found is None or found.order.operation != ASSIGNMENT or found.state not in _LEFT:
        raise NotPossible(["follows: there is no assignment with this id that has left (`qaqpa handover list`)"])
