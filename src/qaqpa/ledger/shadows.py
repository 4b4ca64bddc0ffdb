"""Decisions on which a draft of the policy differed, found where they stand: in the open part of their entries."""

from __future__ import annotations

from dataclasses import dataclass

from qaqpa.ledger.read import Entry, size_of
from qaqpa.store import Connection

STRETCH = 10_000
"""Entries that are looked through at once: none is indexed by its shadow, and a page must not take longer the longer
the ledger is.
"""
_MARK = b',"shadow":{'
_DECISIONS = (
    "SELECT idx, leaf, body FROM entries WHERE idx >= ? AND idx < ? AND kind IN ('intent', 'reused', 'refusal') "
    "ORDER BY idx DESC"
)


@dataclass(frozen=True, slots=True)
class Shadows:
    """What one stretch of the ledger tells of a draft."""

    first: int
    last: int
    """Indexes of the stretch, the last one not included."""
    decisions: int
    """Made in it, and not moved to a file."""
    differing: tuple[Entry, ...]
    """Those with a shadow, the latest first."""

    @property
    def more(self) -> bool:
        """Whether there are entries before it."""
        return self.first > 0


def shadows(connection: Connection, before: int | None = None, stretch: int = STRETCH) -> Shadows:
    """The stretch that ends before the index `before`, or at the end of the ledger."""
    size = size_of(connection)
    last = size if before is None else max(0, min(before, size))
    first = max(0, last - stretch)
    decisions, differing = 0, []
    for index, leaf, body in connection.stream(_DECISIONS, (first, last)):
        decisions += 1
        # Inside a JSON string a quotation mark never stands bare, so these bytes are the key.
        if _MARK in body:
            differing.append(Entry(index, leaf, body))
    return Shadows(first, last, decisions, tuple(differing))
