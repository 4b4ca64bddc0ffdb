"""What waits for somebody, and how the ledger stands: a few counts."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.ledger.verifications import Verification, last_verification
from qaqpa.store import Connection

_UNSETTLED = "SELECT state, count(*) FROM unsettled GROUP BY state"
_CHECKPOINT = "SELECT size, time FROM checkpoints ORDER BY size DESC LIMIT 1"
_SIZE = "SELECT size FROM tree WHERE id = 1"


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits, and how the ledger stands."""

    open: int
    """Disclosures and packages without an outcome yet."""
    unknown: int
    """Those that a person must settle."""
    size: int
    """Entries in the ledger."""
    checkpoint: int
    """Entries under the last checkpoint."""
    checkpoint_at: str | None
    verification: Verification | None
    """The last one that anybody told of."""


def standing(connection: Connection) -> Standing:
    """As of now."""
    states: dict[str, int] = dict(connection.execute(_UNSETTLED).all())
    last = connection.execute(_CHECKPOINT).first()
    return Standing(
        open=int(states.get("open", 0)),
        unknown=int(states.get("unknown", 0)),
        size=int(connection.execute(_SIZE).scalar() or 0),
        checkpoint=0 if last is None else int(last[0]),
        checkpoint_at=None if last is None else str(last[1]),
        verification=last_verification(connection),
    )
