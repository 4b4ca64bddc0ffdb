"""What stands beside the entries about one person: packages, recalls, what is kept for a while, months in files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from qaqpa.errors import NotFound
from qaqpa.handover import records as handovers
from qaqpa.ledger.archive import Archived, archives
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.ledger.read import entries_of
from qaqpa.model.handover import RowResult
from qaqpa.model.recall import RecallState
from qaqpa.model.words import OutcomeResult
from qaqpa.policy import Policy
from qaqpa.recall import records
from qaqpa.recall.sources import destruction_due
from qaqpa.report.named import Names
from qaqpa.report.subject import Came, Held, Moved, RecallTold
from qaqpa.store import Connection

_TURNED_BACK = "SELECT 1 FROM handover_findings WHERE handover = ? AND row = ? AND result = ?"
_ANSWERS = "SELECT count(*), max(kept_until) FROM answers WHERE subject = ?"
_EVIDENCE = "SELECT count(*) FROM evidence WHERE subject = ?"
_AWAITED = "SELECT count(*) FROM awaited WHERE subject = ?"
_UNSETTLED = "SELECT disclosure FROM unsettled WHERE subject IN (?, '')"
_EPOCH = "SELECT value FROM meta WHERE name = 'epoch'"
_BLOCK = "SELECT 1 FROM terms WHERE term = ? AND block >= ? AND block <= ? LIMIT 1"
_UNASKED = frozenset({RecallState.UPCOMING, RecallState.PROPOSED})
"""Nobody has asked the recipient yet."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A package that held a row about the person, and what came of it."""

    result: OutcomeResult | None = None
    code: str | None = None
    kept_until: date | None = None


def handed(connection: Connection, policy: Policy, handover: str) -> Handed:
    """What came of a package; nothing is read of its other rows."""
    result, code = None, None
    for entry in entries_of(connection, kind=Kind.OUTCOME, request=handover):
        result, code = OutcomeResult(entry.content["result"]), entry.content.get("code")
    until = None
    if result is not OutcomeResult.NOT_SENT:
        with suppress(NotFound):
            until = destruction_due(policy, handovers.find(connection, handover))
    return Handed(result, code, until)


UNSETTLED = frozenset({Came.UNDER_WAY, Came.UNKNOWN})


def unsettled(connection: Connection, subject: str) -> frozenset[str]:
    """Disclosures about the person, and packages, of which nobody knows yet what came."""
    return frozenset(row[0] for row in connection.execute(_UNSETTLED, (subject,)).all())


def turned_back(connection: Connection, handover: str, row: int) -> bool:
    """Whether the recipient took the package and rejected this row."""
    values = (handover, row, RowResult.REJECTED.name.lower())
    return connection.execute(_TURNED_BACK, values).first() is not None


def recalls(connection: Connection, names: Names, subject: str, packages: Iterable[str]) -> tuple[RecallTold, ...]:
    """Recalls that somebody asked for: of the person's disclosures, and of whole packages that they stand in."""
    told = [
        RecallTold(
            id=each.id, of=each.target, scope=each.scope, recipient=names.party(each.recipient), reason=each.reason,
            state=each.state, asked_at=each.since, changed_at=each.changed, due_on=each.due_on,
        )
        for each in records.about(connection, subject, packages)
        if each.state not in _UNASKED and "asked_by" in each.figures
    ]  # fmt: skip
    return tuple(sorted(told, key=lambda one: (one.asked_at, one.id)))


def held(connection: Connection, subject: str) -> Held:
    """What is kept beside the ledger under the person's key."""
    answers, until = connection.execute(_ANSWERS, (subject,)).one()
    return Held(
        answers=int(answers),
        answers_until=None if until is None else datetime.fromisoformat(until),
        evidence=int(connection.execute(_EVIDENCE, (subject,)).scalar()),
        awaited=int(connection.execute(_AWAITED, (subject,)).scalar()),
    )


def epoch(connection: Connection) -> int:
    """Of the keys that subjects' keys are wrapped with now."""
    return int(connection.execute(_EPOCH).scalar() or 1)


def moved(connection: Connection, subject: str) -> tuple[Moved, ...]:
    """Months in files that hold an entry about the person, or may: the index by which entries are found tells blocks of
    them, and not yet of the last ones.
    """
    end = indexed(integrated(connection)[0])
    return tuple(
        Moved(date(month.month // 100, month.month % 100, 1), month.file)
        for month in archives(connection)
        if month.last >= end or connection.execute(_BLOCK, (f"subject:{subject}", *_blocks(month))).first() is not None
    )


def _blocks(month: Archived) -> tuple[int, int]:
    return month.first // BLOCK, month.last // BLOCK
