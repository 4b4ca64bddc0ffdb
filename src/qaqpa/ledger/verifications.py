"""What verifications of the whole ledger found, remembered for people.

They stand beside the ledger and not in it: one that does not verify takes no entry, and whoever verifies needs no key.
So they are told by whoever may write to the database, and nothing holds them against anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qaqpa.model.identifiers import uuid7
from qaqpa.store import Connection

_ADD = "INSERT INTO verifications (id, time, person, result, size, seconds, first_bad) VALUES (?, ?, ?, ?, ?, ?, ?)"
_LAST = "SELECT time, person, result, size, seconds, first_bad FROM verifications ORDER BY time DESC, id DESC LIMIT 1"


class VerificationResult(StrEnum):
    """What came of one."""

    VERIFIED = "verified"
    PARTLY = "partly"
    """All that was read verifies; bodies that lie in files were not read."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verification:
    """One run."""

    time: str
    """When it ended."""
    person: str
    result: VerificationResult
    size: int
    """Entries that stood there."""
    seconds: int
    first_bad: int | None = None
    """Index of the first entry that is not what it should be, where one is known."""


def remember(connection: Connection, verification: Verification) -> None:
    """Keep what one found."""
    found = verification
    values = (found.time, found.person, found.result.value, found.size, found.seconds, found.first_bad)
    connection.execute(_ADD, (uuid7(), *values))


def last_verification(connection: Connection) -> Verification | None:
    """The last one that anybody told of."""
    row = connection.execute(_LAST).first()
    if row is None:
        return None
    time, person, result, size, seconds, first_bad = row
    return Verification(time, person, VerificationResult(result), size, seconds, first_bad)
