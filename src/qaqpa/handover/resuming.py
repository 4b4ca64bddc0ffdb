"""Rows that were decided before a kill, held against the ledger before any of them goes into a package (3.4(2)).

What was decided of each stands in a table that whoever can write to the database can change, and `qaqpa ledger verify`
would say so only afterwards. So nothing goes on with rows whose intents are not just the entries that stand there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice

from qaqpa.errors import VerificationFailed
from qaqpa.handover.deciding import HeldUp, lines_of
from qaqpa.handover.standing import CONSENTS
from qaqpa.ledger.entered import RowEntry, are_entered, rows_entered
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.handovers import Entered
from qaqpa.ledger.read import entries_of
from qaqpa.model.handover import RowResult
from qaqpa.model.identifiers import HandoverId
from qaqpa.store import Connection


def require_entered(connection: Connection, handover: HandoverId, entered: Sequence[Entered], config: str) -> None:
    """The rows of `entered` that go are just those that have an intent, in their order, and rest on the consents that
    are noted of them. Raises VerificationFailed; HeldUp where they were entered under another configuration than
    `config`, whatever is noted of that.
    """
    policies = [(entry.index, entry.content.get("config")) for entry in entries_of(connection, kind=Kind.POLICY)]
    rows = rows_entered(connection, handover)
    for chunk in entered:
        going = _going(chunk)
        found = list(islice(rows, len(going)))
        if [row.line for row in found] != going:
            raise _changed(found)
        consents = {row.content.get("consent") for row in found} - {None}
        if consents != set(chunk.figures.get(CONSENTS, ())):
            raise _changed(found)
        if found and not _under(policies, found[0].index, config):
            raise HeldUp("changed_meanwhile")
    if more := next(rows, None):
        raise _changed([more])


def require_packed(connection: Connection, handover: HandoverId, lines: Sequence[int]) -> None:
    """The rows that were written into a package, by their lines, are just those that have an intent.

    Raises VerificationFailed: the package must not be sealed.
    """
    if not are_entered(connection, handover, lines):
        raise _changed([])


def _going(chunk: Entered) -> list[int]:
    try:
        lines = zip(lines_of(chunk), chunk.results, strict=True)
        return [line for line, result in lines if result == RowResult.PERMIT]
    except (LookupError, TypeError, ValueError):  # it is not what we wrote there
        raise _changed([]) from None


def _under(policies: Sequence[tuple[int, object]], index: int, config: str) -> bool:
    """Whether the configuration in force at that entry was this one; also where its month lies in a file by now."""
    at = bisect_left(policies, index, key=lambda each: each[0])
    return at == 0 or policies[at - 1][1] == config


def _changed(found: Sequence[RowEntry]) -> VerificationFailed:
    return VerificationFailed(
        "the rows that are noted to go are not those that the ledger has: nothing goes on; run `qaqpa ledger verify`",
        index=found[0].index if found else None,
    )
