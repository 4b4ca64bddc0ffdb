"""What a decision rested on, looked at once more in the transaction of what is entered on it."""

from __future__ import annotations

from collections.abc import Callable

from qaqpa.ledger import StillHolds
from qaqpa.model.decision import Decision
from qaqpa.store import Connection

_STILL = (
    "SELECT (SELECT value FROM meta WHERE name = 'config'), EXISTS (SELECT 1 FROM suspensions WHERE recipient = ?), "
    "EXISTS (SELECT 1 FROM consents WHERE id = ? AND withdrawn_at IS NULL)"
)


def standing_recipient(digest: str) -> Callable[[str], StillHolds]:
    """The same of a recipient alone: configuration and suspension."""

    def of(recipient: str) -> StillHolds:
        def holds(connection: Connection) -> bool:
            config, suspended, _ = connection.execute(_STILL, (recipient, "")).one()
            return config == digest and not suspended

        return holds

    return of


def standing(digest: str) -> Callable[[Decision], StillHolds]:
    """For a gateway whose configuration has this digest: whether what a decision rested on is as it was."""

    def of(decision: Decision) -> StillHolds:
        recipient, consent = decision.asked.recipient, decision.consent

        def holds(connection: Connection) -> bool:
            config, suspended, consented = connection.execute(_STILL, (recipient, consent or "")).one()
            # Another gateway may have entered another configuration meanwhile; then ours is entered anew first.
            return config == digest and not suspended and (consent is None or bool(consented))

        return holds

    return of
