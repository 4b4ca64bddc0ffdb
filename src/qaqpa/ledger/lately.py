"""The last entries of some kind, each disclosure with what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import Entry, Wanted, entries_of, latest
from qaqpa.store import Connection

LOOKED_THROUGH = 2_000
"""Entries that are read at most for one list."""
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Lately:
    """An entry."""

    index: int
    content: dict[str, Any]
    """What it says; `sealed` is still sealed."""
    outcome: dict[str, Any] | None
    """Of a disclosure, or of the package that its row left in; None where nothing is concluded yet."""
    rows: int = 0
    """So many rows of one handover stand for this line, of which the last is shown; 0 for what stands alone."""


def lately(connection: Connection, count: int, wanted: Wanted) -> list[Lately]:
    """The last `count` entries that are wanted, the latest first; rows of a handover together count as one of them.

    At most LOOKED_THROUGH entries are read, so that a register of a million rows delays nobody.
    """
    found: dict[str, Lately] = {}
    for content, entry in _contents(connection, wanted):
        handover = content.get("handover") if content["kind"] == Kind.INTENT else None
        key = str(entry.index) if handover is None else str(handover)
        if handover is not None and key in found:
            found[key] = replace(found[key], rows=found[key].rows + 1)
            continue
        if len(found) == count:
            break
        outcome = None
        if content["kind"] == Kind.INTENT:  # a package is concluded for all its rows at once
            outcome = _outcome(connection, str(handover or content["id"]))
        found[key] = Lately(entry.index, content, outcome, rows=0 if handover is None else 1)
    return list(found.values())


def _contents(connection: Connection, wanted: Wanted) -> Iterator[tuple[dict[str, Any], Entry]]:
    """What the last entries say, the latest first."""
    before, left = wanted.before, LOOKED_THROUGH
    while left:
        page = latest(connection, min(_PAGE, left), replace(wanted, before=before))
        for entry in reversed(page):
            yield entry.content, entry
        if len(page) < min(_PAGE, left):
            return
        before, left = page[0].index, left - len(page)


def _outcome(connection: Connection, request: str) -> dict[str, Any] | None:
    return next((entry.content for entry in entries_of(connection, kind=Kind.OUTCOME.value, request=request)), None)
