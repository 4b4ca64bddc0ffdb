"""How many handovers stand where, for metrics and for whoever looks after an installation: numbers, and nobody's data.

Only those that are not over are read; the others are counted by the index of states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from qaqpa.handover import records
from qaqpa.handover.records import WORKED_ON, Handover
from qaqpa.model.handover import HandoverState
from qaqpa.store import Connection

NOT_SENT = frozenset({HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.PACKAGED, HandoverState.SENDING})
"""States in which somebody waits for it to leave."""
_COUNTS = "SELECT state, count(*) FROM handovers GROUP BY state"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all of them."""

    counts: Mapping[HandoverState, int]
    """By state."""
    rows: Mapping[HandoverState, int]
    """Of those that are not over: rows that are decided, and of a package those that go."""
    oldest: datetime | None
    """When the oldest of those that have not left yet was taken in."""
    held_up: int
    """How many cannot go on as things stand, and are tried again."""
    late: int
    """Of how many the receipt is late."""


def figures(connection: Connection) -> Figures:
    """As they stand."""
    counts = dict.fromkeys(HandoverState, 0)
    counts.update({HandoverState(state): int(count) for state, count in connection.execute(_COUNTS).all()})
    found = open_ones(connection)
    rows = dict.fromkeys((*WORKED_ON, HandoverState.UNKNOWN), 0)
    for each in found:
        rows[each.state] += _rows(connection, each)
    return Figures(
        counts,
        rows,
        min((each.since for each in found if each.state in NOT_SENT), default=None),
        sum(bool(each.figures.get("waits")) for each in found),
        sum(bool(each.figures.get("receipt_late")) for each in found if each.state is HandoverState.SENT),
    )


def open_ones(connection: Connection) -> Sequence[Handover]:
    """Those that are not over, and those of which nobody knows; the oldest first."""
    return records.in_states(connection, *WORKED_ON, HandoverState.UNKNOWN)


def _rows(connection: Connection, handover: Handover) -> int:
    if "rows" in handover.figures:
        return int(handover.figures["rows"])
    return records.progress(connection, handover.id).rows if handover.state is HandoverState.DECIDING else 0
