"""Recalls in the ledger: that somebody asked for one, the notice that left, and what the recipient says of it.

A notice that names ids alone is about nobody: its intent has no subject and refers to the entry by which somebody asked
for it. One that has to name a contract is a disclosure like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

from qaqpa.errors import DecisionOutdated
from qaqpa.ledger import entries
from qaqpa.ledger.appending import Appended
from qaqpa.ledger.entries import FORMAT, PACKAGE, Kind, Public
from qaqpa.ledger.ledger import Ledger, StillHolds
from qaqpa.ledger.subjects import Subject
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.handover import PackageIntent
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.model.naming import who
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.words import OutcomeResult, SealKind, timestamp
from qaqpa.store import Connection

_SETTLE = "UPDATE recalls SET state = ?, changed = ? WHERE notice = ? AND state = ?"
Move = Callable[[Connection], None]
"""What else happens in the transaction of an entry; raises to undo it."""


def _head(kind: Kind, at: datetime, entry: str | None = None) -> Public:
    return {"format": FORMAT, "kind": kind.value, "id": entry or uuid7(), "time": timestamp(at)}


def recall_entry(
    recall: str,
    *,
    of: str,
    scope: RecallScope,
    handover: str | None,
    recipient: str,
    reason: RecallReason,
    due_on: date,
    caller: str | None,
    person: str | None,
    subject: str | None,
    at: datetime,
    approval: str | None = None,
) -> Public:
    """That a recall is asked for, and by whom; `caller` is None where the configuration lets it go by itself, and
    `approval` is by what two persons agreed to that of a whole handover.
    """
    return {
        **_head(Kind.RECALL, at),
        "recall": recall,
        "of": of,
        "scope": scope.value,
        **({} if handover is None else {"handover": handover}),
        "recipient": recipient,
        "reason": reason.value,
        "due_on": due_on.isoformat(),
        "caller": caller,
        **who(person),
        **({} if approval is None else {"approval": approval}),
        "subject": subject,
    }


def notice_intent(
    notice: str,
    recall: str,
    decision: Decision,
    *,
    seal: SealKind,
    disclosures: int,
    package: Mapping[str, object],
    at: datetime,
) -> Public:
    """The intent to send a notice that names `disclosures` by their ids, and holds no field of anybody's data."""
    asked = decision.asked
    return {
        **_head(Kind.INTENT, at, notice),
        "caller": asked.caller,
        "recipient": asked.recipient,
        "operation": asked.operation,
        "purpose": asked.purpose,
        "policy": decision.policy,
        "ground": decision.ground.value if decision.ground else None,
        "clauses": list(decision.clauses),
        "guards": [guard.guard for guard in decision.guards],
        "fields": [],
        "seal": seal.value,
        "endpoint": PACKAGE,
        "recall": recall,
        "disclosures": disclosures,
        "package": dict(package),
    }


def notice_outcome(notice: str, recall: str, result: OutcomeResult, code: str, *, at: datetime) -> Public:
    """What came of such a notice."""
    return {**_head(Kind.OUTCOME, at), "intent": notice, "recall": recall, "result": result.value, "code": code}


def destruction(
    recall: str,
    recipient: str,
    *,
    result: str,
    code: str | None,
    sha256: str | None,
    signed: bool,
    caller: str | None,
    person: str | None,
    act: str | None,
    at: datetime,
) -> Public:
    """What the recipient says of a recall: in a file with that digest, or by an act that a person has seen."""
    return {
        **_head(Kind.RECEIPT, at),
        "recall": recall,
        "recipient": recipient,
        "result": result,
        "code": code,
        "sha256": sha256,
        "signed": signed,
        "caller": caller,
        **who(person),
        "act": act,
    }


async def enter(ledger: Ledger, kind: Kind, public: Public, move: Move, subject: Subject | None = None) -> int:
    """Enter one of the above, with the change that it makes to the recall; returns the entry's index."""
    request = str(public["intent"] if kind is Kind.OUTCOME else public["id"])
    draft = ledger.draft(kind, request, public, subject)

    def unit(connection: Connection) -> Appended:
        move(connection)
        return ledger.append(connection, draft)

    return (await ledger.store.write(unit, alone=True)).index


async def refuse_notice(ledger: Ledger, decision: Decision, known: Asked, recall: str, move: Move) -> str:
    """The refusal of a notice that is about nobody alone; returns the entry's id."""
    public = entries.refusal(decision, known, None, at=ledger.clock()) | {"recall": recall}
    await enter(ledger, Kind.REFUSAL, public, move)
    return str(public["id"])


async def intend_notice(ledger: Ledger, public: Public, *, still_holds: StillHolds, move: Move) -> PackageIntent:
    """The intent to send a notice, durable before a byte of it leaves. Raises as `Ledger.intend`."""
    if ledger.closed_by is not None:
        raise ledger.closed_by
    draft = ledger.draft(Kind.INTENT, str(public["id"]), public)

    def unit(connection: Connection) -> Appended:
        if not still_holds(connection):
            raise DecisionOutdated("the recipient's state or the configuration changed; nothing was sent")
        move(connection)
        return ledger.append(connection, draft)

    index = (await ledger.store.write(unit)).index
    package = public["package"]
    return PackageIntent(
        HandoverId(str(public["id"])), index, public["recipient"], SealKind(public["seal"]), package["sha256"],
        package["bytes"],
    )  # fmt: skip


def settled(connection: Connection, notice: str, result: OutcomeResult, now: str) -> None:
    """A person found out what came of an unknown notice; of anything else nothing is changed."""
    after = {OutcomeResult.DELIVERED: RecallState.SENT, OutcomeResult.REJECTED: RecallState.REFUSED}
    # Surely not sent: it waits for a person, who lets it go again or not.
    state = after.get(result, RecallState.BLOCKED)
    connection.execute(_SETTLE, (state.value, now, notice, RecallState.UNKNOWN.value))
