"""A recall: asking a recipient to stop and destroy what was disclosed to it. It names; it discloses nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Recall:
    """What a recipient must know to obey: ids, a code and a day, nobody's data."""

    of: str
    """Id of the disclosure that is recalled, as the recipient got it."""
    reason: RecallReason
    due_on: date
    """The last day on which it must be destroyed."""
