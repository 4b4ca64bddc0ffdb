"""What left and may be asked back, as the ledger tells it. Public parts only: no key, and nobody's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from qaqpa.errors import NotFound, NotPossible
from qaqpa.handover import records as handovers
from qaqpa.handover.deciding import lines_of
from qaqpa.handover.records import Handover
from qaqpa.ledger.entries import SETTLE, Kind
from qaqpa.ledger.handovers import Entered
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject
from qaqpa.model.decision import Asked
from qaqpa.model.handover import HandoverState, RowResult, row_id
from qaqpa.model.identifiers import CallerId, HandoverId, RecipientId, is_our_id
from qaqpa.model.recall import RecallScope
from qaqpa.model.words import OutcomeResult
from qaqpa.policy import Policy, Route
from qaqpa.store import Connection

NEVER_LEFT = OutcomeResult.NOT_SENT
_LEFT = frozenset({HandoverState.SENT, HandoverState.ACKNOWLEDGED, HandoverState.REJECTED, HandoverState.UNKNOWN})
"""States of a handover whose package left, or may have. A recipient that rejects it has it all the same."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that left, or may have."""

    id: str
    scope: RecallScope
    handover: str | None
    subject: str | None
    asked: Asked
    at: datetime
    consent: str | None
    result: OutcomeResult | None
    """None while it is under way."""


def left(connection: Connection, target: str) -> Left:
    """What has this id: a handover, a row of one, or a disclosure alone. Raises NotFound, NotPossible."""
    if is_our_id(target):
        with suppress(NotFound):
            return of_handover(handovers.find(connection, target))
        for entry in entries_of(connection, kind=Kind.INTENT, request=target):
            content = entry.content
            if content.get("subject") is not None:
                return _of_intent(connection, content)
    raise NotFound(
        "no disclosure or handover with this id left from here (`qaqpa ledger show --kind intent`, `qaqpa handover "
        "list`); one whose month was moved to a file is recalled by letter"
    )


def of_handover(handover: Handover) -> Left:
    """A whole handover. Raises NotPossible where nothing of it left."""
    if handover.state not in _LEFT:
        raise NotPossible([f"handover: is {handover.state.value}, so nothing of it left; cancel it instead"])
    at = str(handover.figures.get("intended_at") or handover.changed.isoformat())
    result = OutcomeResult.UNKNOWN if handover.state is HandoverState.UNKNOWN else OutcomeResult.DELIVERED
    return Left(
        handover.id, RecallScope.HANDOVER, None, None, handover.order.asked, datetime.fromisoformat(at), None, result
    )


def destruction_due(policy: Policy, handover: Handover) -> date | None:
    """When a package must be destroyed: as agreed, or earlier where the recipient's receipt says so."""
    known = policy.recipients.get(RecipientId(handover.order.recipient))
    keep_for = None if known is None or known.packages is None else known.packages.keep_for
    days = []
    if keep_for is not None and handover.state in _LEFT:
        days.append(policy.day(of_handover(handover).at + keep_for))
    promised = (handover.figures.get("receipt") or {}).get("destruction_due")
    if promised is not None:
        days.append(date.fromisoformat(promised))
    return min(days, default=None)


def of_subject(connection: Connection, subject: str, consent: str | None = None) -> Iterator[Left]:
    """What left about one person, or rested on one consent of theirs, and may not have been without effect."""
    for entry in entries_of(connection, subject=subject, kind=Kind.INTENT):
        content = entry.content
        if consent is None or content.get("consent") == consent:
            found = _of_intent(connection, content)
            if found.result is not NEVER_LEFT:
                yield found


def of_entry(connection: Connection, content: Mapping[str, Any]) -> Left | None:
    """The disclosure that an entry intends; None for what is no disclosure about one person alone, or never left."""
    if content.get("kind") != Kind.INTENT or content.get("subject") is None or "handover" in content:
        return None
    found = _of_intent(connection, content)
    return None if found.result is NEVER_LEFT else found


def _of_intent(connection: Connection, content: Mapping[str, Any]) -> Left:
    handover = content.get("handover")
    return Left(
        id=str(content["id"]),
        scope=RecallScope.DISCLOSURE if handover is None else RecallScope.ROW,
        handover=handover,
        subject=content.get("subject"),
        asked=Asked(
            CallerId(content["caller"]), RecipientId(content["recipient"]), content["operation"], content["purpose"]
        ),
        at=datetime.fromisoformat(content["time"]),
        consent=content.get("consent"),
        result=outcome(connection, str(handover or content["id"])),
    )


def outcome(connection: Connection, intent: str) -> OutcomeResult | None:
    """What came of an intent, settled by a person where nobody knew; None while it is under way."""
    found = None
    for entry in entries_of(connection, kind=Kind.OUTCOME, request=intent):
        found = OutcomeResult(entry.content["result"])
    if found is OutcomeResult.UNKNOWN:
        for entry in entries_of(connection, kind=Kind.CONTROL):
            content = entry.content
            if content.get("act") == SETTLE and content.get("intent") == intent:
                found = OutcomeResult(content["result"])
    return found


def route_back(policy: Policy, found: Left) -> Route | None:
    """The route of the notice: of the same caller, recipient and purpose as what left; None where there is none."""
    asked = found.asked
    return next(
        (
            route
            for route in policy.routes.values()
            if route.operation.recalls
            and (route.caller, route.recipient.id, route.purpose) == (asked.caller, asked.recipient, asked.purpose)
        ),
        None,
    )


def may_be_asked_back(policy: Policy, found: Left) -> bool:
    """Whether it is somebody's data: neither a notice of recall itself nor rows that are nobody's."""
    route = policy.find(found.asked)
    return route is None or not (route.operation.recalls or route.operation.deidentified)


def rows_of(entered: Sequence[Entered]) -> Iterator[tuple[int, int]]:
    """Of each row that went: its number in the package, from 1, and its line in the register that was handed in."""
    number = 0
    for chunk in entered:
        for line, result in zip(lines_of(chunk), chunk.results, strict=True):
            if result == RowResult.PERMIT:
                number += 1
                yield number, line


def named(
    entered: Sequence[Entered], scope: RecallScope, target: str, handover: str | None
) -> Iterator[tuple[str, int | None, str]]:
    """What a notice names: handover, number of the row in its package, disclosure. Nothing of anybody's data.

    `entered` are the chunks of the handover, where there is one.
    """
    if scope is RecallScope.DISCLOSURE:
        yield "", None, target
        return
    whole = HandoverId(target if handover is None else handover)
    for number, line in rows_of(entered):
        disclosure = row_id(whole, line)
        if scope is RecallScope.HANDOVER or disclosure == target:
            yield whole, number, disclosure


def stated_contract(connection: Connection, subject: Subject, disclosure: str) -> str | None:
    """The number of the contract that this disclosure stated, opened with the key of the person it is about."""
    for entry in entries_of(connection, kind=Kind.INTENT, request=disclosure):
        number = (subject.open(entry.content).get("stated", {}).get("contract") or {}).get("number")
        if number is not None:
            return str(number)
    return None
