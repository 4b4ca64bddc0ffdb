"""A recall: asking a recipient to stop and destroy what was disclosed to it. It names; it discloses nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

LETTER = "letter"
"""How a recipient is asked that is sent nothing from here: a person writes to it."""


class RecallReason(StrEnum):
    """Why a recipient is asked to stop and destroy."""

    WITHDRAWAL = "withdrawal"
    """The person withdrew the consent, and it took effect (7.1(3))."""
    ERROR = "error"
    """It should not have been disclosed."""
    REPAYMENT = "repayment"
    """The debt is paid: the purpose is reached."""
    AGREEMENT_ENDED = "agreement_ended"
    """The agreement with the recipient ended (2.3(4))."""
    ERASURE = "erasure"
    """The person was erased here, and is to be erased there too (7.1(3), 5.5)."""
    RETENTION = "retention"
    """The time for which it may keep the data is over: it owes the act of destruction (5.5)."""


class RecallScope(StrEnum):
    """What is recalled."""

    DISCLOSURE = "disclosure"
    """One person's data that left alone."""
    ROW = "row"
    """One row of a handover."""
    HANDOVER = "handover"
    """Every row of a handover."""


class RecallState(StrEnum):
    """Where a recall stands."""

    UPCOMING = "upcoming"
    """A reminder: the time for which the recipient may keep the data ends soon."""
    PROPOSED = "proposed"
    """It should be asked for; a person confirms or cancels it."""
    ASKED = "asked"
    """Somebody answers for it, and it stands in the ledger; a job decides and sends the notice."""
    BLOCKED = "blocked"
    """The notice may not or cannot be sent: nothing left. Confirmed anew when the cause is mended."""
    SENDING = "sending"
    """The notice is intended in the ledger; bytes of it may have left."""
    SENT = "sent"
    """The recipient has the notice; that it has destroyed the data is not known yet."""
    LATE = "late"
    """The due date is past and nobody knows that the data are destroyed: somebody must see to it."""
    CONFIRMED = "confirmed"
    """The recipient says that it has destroyed the data."""
    REFUSED = "refused"
    """The recipient says that it will not."""
    UNKNOWN = "unknown"
    """Nobody knows whether the notice arrived; a person settles it, and it is not sent again by itself."""
    CANCELLED = "cancelled"
    """It is not asked for (any more)."""


WAITING = frozenset({RecallState.UPCOMING, RecallState.PROPOSED, RecallState.BLOCKED})
"""Of these nothing has left, and a person may confirm or cancel them."""
UNDER_WAY = frozenset({RecallState.ASKED, RecallState.SENDING, RecallState.SENT, RecallState.LATE, RecallState.UNKNOWN})
"""What is recalled so is not recalled a second time."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What a recipient must know to obey: ids, a code and a day, nobody's data."""

    of: str
    """Id of the disclosure that is recalled, as the recipient got it."""
    reason: RecallReason
    due_on: date
    """The last day on which it must be destroyed."""
