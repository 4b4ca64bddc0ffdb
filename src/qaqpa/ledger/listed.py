"""What is asked for when people look for disclosures, and what they are shown: values, without a database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum

from qaqpa.ledger.read import Entry


class DisclosureResult(StrEnum):
    """What came of what was asked for."""

    OPEN = "open"
    """It is being sent, or its answer is awaited."""
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """The recipient answered no. What its receipt says of a row of a package is another thing (`rejected_row`)."""
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    """Nobody knows whether it left, and no person has settled it yet."""
    DENY = "deny"
    GAP = "gap"
    REUSED = "reused"
    """A report of before served again; nothing left."""


LISTED_KINDS = ("intent", "refusal", "reused")
"""Entries that are disclosures to whoever looks for them."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which disclosures: all that is set must fit."""

    since: date | None = None
    """Of these legal days in the operator's zone, both included."""
    until: date | None = None
    kind: str | None = None
    """`intent` (it was permitted), `refusal` or `reused`."""
    caller: str | None = None
    recipient: str | None = None
    operation: str | None = None
    purpose: str | None = None
    ground: str | None = None
    clause: str | None = None
    """A clause that the decision cites."""
    field: str | None = None
    """A path that left; of a report that served again, one that had left."""
    reason: str | None = None
    """A guard for which it was refused."""
    handover: str | None = None
    subject: str | None = None
    """The random id of a person."""
    result: DisclosureResult | None = None
    """What its outcome says, or the person who settled it: each disclosure has one result, and is counted by it."""
    rejected_row: bool | None = None
    """True: only rows that arrived and that the recipient's receipt rejects."""
    before: int | None = None
    """Only indexes below this one: the way on."""

    def said(self) -> dict[str, str | int]:
        """What is set, by name: for the entry of a look, it holds no IIN."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value if isinstance(value, int) else str(value) for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Listed:
    """A disclosure with what came of it."""

    entry: Entry
    """The intent, the refusal, or the entry that a report served again."""
    result: DisclosureResult | None
    """None where its outcome lies in a file."""
    outcome: Entry | None = None
    """Of a row of a handover, that of its package."""
    rejected: tuple[str, ...] | None = None
    """Codes with which the recipient's receipt rejects this row, which arrived; empty where it rejects the whole
    package, None where it rejects nothing."""
    settlement: Entry | None = None
    """The control by which a person said what came of an unknown one."""


@dataclass(frozen=True, slots=True)
class Page:
    """Disclosures, the latest first."""

    listed: tuple[Listed, ...]
    before: int | None
    """`Query.before` of the next page; None where nothing is left."""
    is_whole: bool = True
    """False: so many entries were looked through that the page ends here, though fewer were found than were asked
    for; `before` goes on from there."""
    behind: int = 0
    """How many of the last entries the catalogue does not hold yet: they are found all the same, but what came of
    an earlier disclosure meanwhile is not found by `result`."""
    in_files: tuple[str, ...] = ()
    """Files of months that the query reaches into: what they hold is not listed."""


@dataclass(frozen=True, slots=True)
class Context:
    """An entry, and the entries that belong to it; each is None or empty where there is none."""

    entry: Entry
    intent: Entry | None = None
    """Of an outcome, a settlement, a receipt, a recall, a report that served again: the intent that it is about."""
    outcome: Entry | None = None
    settlement: Entry | None = None
    receipt: Entry | None = None
    """Of the package."""
    package: Entry | None = None
    """The intent of the package that held this row."""
    recalls: tuple[Entry, ...] = ()
    """Recalls of it or of its handover, with what belongs to them: notices, receipts."""
    reuses: tuple[Entry, ...] = ()
    """Entries by which its report served again."""
    result: DisclosureResult | None = None
    """Where it is a disclosure."""
    rejected: tuple[str, ...] | None = None
    config: str | None = None
    """Digest of the configuration by which it was decided; None where the entry that says so lies in a file."""
    outside: tuple[str, ...] = ()
    """Ids of disclosures that belong to it and lie in a file."""
