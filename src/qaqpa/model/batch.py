"""What a third party says of a batch: a document of many rows that it takes at once and works off later."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BatchState(StrEnum):
    """Where a batch stands at the third party."""

    PENDING = "pending"
    """They have it and are not done with it: ask again later."""
    ACCEPTED = "accepted"
    """Every row was taken."""
    ACCEPTED_WITH_WARNINGS = "accepted_with_warnings"
    """It was taken, and something is said of single rows, which may be that they were not."""
    REJECTED = "rejected"
    """No row of it was taken."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What they say of one row."""

    row: int | None
    """As the caller numbers its rows; None where they name none, or one that was not in the batch."""
    code: str
    """Theirs: a code, never their free text."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One answer to the question what became of a batch."""

    state: BatchState
    code: str
    """Their own code of the state."""
    rejections: tuple[Remark, ...] = ()
    """Rows that were not taken; a remark whose kind is not known counts as one, for a person to look at."""
    warnings: tuple[Remark, ...] = ()
    """Rows that were taken, and what they say of them."""
    more: str | None = None
    """There is more to hear: ask once more at once with this in the place of the batch's id, and add up the remarks."""
