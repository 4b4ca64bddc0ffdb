"""The kinds of entry and what stands in the public part of each. Names and ids only: never a personal value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Extract, Intent, Message, Outcome
from qaqpa.model.identifiers import DisclosureId, HandoverId, SubjectId, uuid7
from qaqpa.model.naming import who
from qaqpa.model.words import OutcomeResult, SealKind, timestamp
from qaqpa.store import EntryRow
from qaqpa.tlog.merkle import leaf_hash

FORMAT = 1
PACKAGE = "package"
"""What stands for the endpoint of rows that leave in a package."""


class Kind(StrEnum):
    """What an entry tells."""

    INTENT = "intent"
    """Of one disclosure, of one row of a handover, or of the package that holds the rows."""
    OUTCOME = "outcome"
    """What came of an intent; that of a package is that of all its rows."""
    REUSED = "reused"
    """A report that was disclosed before served again; nothing left."""
    REFUSAL = "refusal"
    CONSENT = "consent"
    WITHDRAWAL = "withdrawal"
    ERASURE = "erasure"
    RECEIPT = "receipt"
    """What the recipient of a package acknowledged."""
    RECALL = "recall"
    """The recipient is asked to stop and destroy."""
    POLICY = "policy"
    REVIEW = "review"
    CONTROL = "control"


AUTHORISING = frozenset({Kind.INTENT, Kind.REUSED, Kind.CONSENT, Kind.WITHDRAWAL})
"""Kinds whose meaning hangs on a date being true: none is written while the clock is set back."""

DATING = AUTHORISING | {Kind.CONTROL}
"""Kinds that can move the time before which nothing authorising may lie."""

Public = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that is about to be appended."""

    kind: Kind
    request: str
    """What it belongs to; unique with the kind."""
    subject: SubjectId | None
    public: Mapping[str, Any]
    body: bytes

    def row(self) -> EntryRow:
        """As the store keeps it."""
        public = self.public
        time: str = public["time"]
        return (
            int(time[:4] + time[5:7]), self.request, self.kind.value, self.subject, public.get("caller"),
            public.get("recipient") or None, time, leaf_hash(self.body), self.body,
        )  # fmt: skip


def _head(kind: Kind, at: datetime, entry: str | None = None) -> Public:
    return {"format": FORMAT, "kind": kind.value, "id": entry or uuid7(), "time": timestamp(at)}


def _asked(asked: Asked) -> Public:
    return {
        "caller": asked.caller,
        "recipient": asked.recipient,
        "operation": asked.operation,
        "purpose": asked.purpose,
    }


def _policy(decision: Decision) -> Public:
    return {
        "policy": decision.policy,
        "ground": decision.ground.value if decision.ground else None,
        "clauses": list(decision.clauses),
    }


def _shadow(decision: Decision) -> Public:
    """What a draft of the policy would have decided, where that differs."""
    shadow = decision.shadow
    if shadow is None:
        return {}
    reasons = [{"guard": each.guard, "clause": each.clause, "result": each.result.value} for each in shadow.reasons]
    fields = {"added": list(shadow.added), "removed": list(shadow.removed), "changed": list(shadow.changed)}
    return {"shadow": {"config": shadow.config, "result": shadow.result.value, "reasons": reasons, "fields": fields}}


def intent(
    disclosure: DisclosureId,
    decision: Decision,
    extract: Extract,
    message: Message,
    subject: SubjectId,
    *,
    seal: SealKind,
    at: datetime,
) -> Public:
    """An intent: who is about to send what about whom to whom, and why that is allowed."""
    return {
        **_head(Kind.INTENT, at, disclosure),
        **_asked(decision.asked),
        **_policy(decision),
        "guards": [guard.guard for guard in decision.guards],
        "notes": [guard.clause for guard in decision.notes],
        "consent": decision.consent,
        "fields": list(extract.fields),
        "withheld": list(extract.withheld),
        "seal": seal.value,
        "endpoint": message.endpoint,
        **({} if extract.kdp is None else {"kdp": True}),
        **_shadow(decision),
        "subject": subject,
    }


def row_intent(
    handover: HandoverId,
    row: int,
    disclosure: str,
    decision: Decision,
    fields: Sequence[str],
    withheld: Sequence[str],
    subject: str,
    *,
    seal: SealKind,
    time: str,
) -> Public:
    """The intent of one row of a handover; `row` is its line in the register, counted from 1 with the heading.

    It says all that the intent of a single disclosure says, so that it can be shown alone.
    """
    return {
        "format": FORMAT,
        "kind": Kind.INTENT.value,
        "id": disclosure,
        "time": time,
        **_asked(decision.asked),
        **_policy(decision),
        "guards": [guard.guard for guard in decision.guards],
        "notes": [guard.clause for guard in decision.notes],
        "consent": decision.consent,
        "fields": list(fields),
        "withheld": list(withheld),
        "seal": seal.value,
        "endpoint": PACKAGE,
        "handover": handover,
        "row": row,
        **_shadow(decision),
        "subject": subject,
    }


def package_intent(
    handover: HandoverId, asked: Asked, policy: Public, *, seal: SealKind, rows: int, package: Public, at: datetime
) -> Public:
    """The intent to send a package; `package` holds the digest and size of the sealed file, and of its manifest."""
    return {
        **_head(Kind.INTENT, at, handover),
        **_asked(asked),
        **policy,
        "seal": seal.value,
        "endpoint": PACKAGE,
        "rows": rows,
        "package": package,
    }


def package_outcome(handover: HandoverId, result: OutcomeResult, code: str, rows: int, *, at: datetime) -> Public:
    """What came of a package, and with it of every row in it."""
    return {
        **_head(Kind.OUTCOME, at), "intent": handover, "result": result.value, "code": code, "rows": rows,
    }  # fmt: skip


def receipt(
    handover: HandoverId,
    recipient: str,
    *,
    result: str,
    rejected: int,
    sha256: str,
    signed: bool,
    at: datetime,
) -> Public:
    """A recipient's acknowledgement of a package; `sha256` is of its bytes, which tell the rejected rows."""
    return {
        **_head(Kind.RECEIPT, at),
        "handover": handover,
        "recipient": recipient,
        "result": result,
        "rejected": rejected,
        "sha256": sha256,
        "signed": signed,
    }


def outcome(intended: Intent, ended: Outcome, *, at: datetime) -> Public:
    """An outcome: what came of an intent."""
    return {
        **_head(Kind.OUTCOME, at),
        "intent": intended.id,
        "result": ended.result.value,
        "code": ended.code,
        "status": ended.reply.status if ended.reply is not None else None,
        "returned": list(ended.returned),
        "cut": list(ended.cut),
        "subject": intended.subject,
    }


def reused(
    decision: Decision,
    extract: Extract,
    disclosure: str,
    returned: Sequence[str],
    subject: SubjectId,
    *,
    at: datetime,
) -> Public:
    """A report of an earlier disclosure, given to the same caller for the same purpose again.

    It is decided like an intent and says what that says; `fields` are those that the earlier disclosure sent.
    """
    return {
        **_head(Kind.REUSED, at),
        **_asked(decision.asked),
        **_policy(decision),
        "guards": [guard.guard for guard in decision.guards],
        "notes": [guard.clause for guard in decision.notes],
        "consent": decision.consent,
        "fields": list(extract.fields),
        "withheld": list(extract.withheld),
        "disclosure": disclosure,
        "returned": list(returned),
        **_shadow(decision),
        "subject": subject,
    }


def refusal(decision: Decision, known: Asked, subject: SubjectId | None, *, at: datetime) -> Public:
    """A refusal: what was asked and every reason why it was not done; of a notice that is about nobody alone, without
    a subject.
    """
    return {
        **_head(Kind.REFUSAL, at),
        **_asked(known),
        **_policy(decision),
        "result": decision.result.value,
        "reasons": [
            {
                "guard": reason.guard,
                "clause": reason.clause,
                "result": reason.result.value,
                "findings": list(reason.findings),
                "missing": list(reason.missing),
            }
            for reason in decision.reasons
        ],
        **_shadow(decision),
        "subject": subject,
    }


def consent(consent_id: str, terms: Mapping[str, Any], method: str, subject: SubjectId, *, at: datetime) -> Public:
    """A consent as recorded. `terms` are its JSON values, which do not tell who gave it."""
    return {
        **_head(Kind.CONSENT, at),
        "consent": consent_id,
        "terms": dict(terms),
        "evidence": method,
        "subject": subject,
    }


def withdrawal(consent_id: str, state: str, caller: str, subject: SubjectId, *, at: datetime) -> Public:
    """A withdrawal: asked for (`withdrawal_pending`) or in effect (`withdrawn`), 7.1(3)."""
    return {
        **_head(Kind.WITHDRAWAL, at),
        "consent": consent_id,
        "state": state,
        "caller": caller,
        "subject": subject,
    }


def policy(versions: Sequence[Mapping[str, str]], config: str, *, at: datetime) -> Public:
    """The policy and configuration that decisions are made from, from here on."""
    return {**_head(Kind.POLICY, at), "versions": [dict(version) for version in versions], "config": config}


def interrupted(disclosure: str, subject: str, result: OutcomeResult, *, at: datetime) -> Public:
    """The outcome of an intent whose gateway died, or lost its database, before it could say what came of it."""
    return {
        **_head(Kind.OUTCOME, at),
        "intent": disclosure,
        "result": result.value,
        "code": "interrupted",
        "status": None,
        "returned": [],
        "cut": [],
        "subject": subject,
    }


def erasure(
    subject: SubjectId,
    caller: str,
    person: str,
    reason: str,
    *,
    instrument: str | None,
    epoch: int,
    approval: str,
    at: datetime,
) -> Public:
    """A subject's key deleted (7.1(3)); in effect when the keys of `epoch` are destroyed.

    `instrument` is what a forced erasure rests on; None where every duty is met. `approval` is by what two persons
    agreed to it.
    """
    return {
        **_head(Kind.ERASURE, at),
        "caller": caller,
        **who(person),
        "reason": reason,
        "instrument": instrument,
        "epoch": epoch,
        "approval": approval,
        "subject": subject,
    }


def review(caller: str, act: str, selection: Mapping[str, Any], *, person: str | None = None, at: datetime) -> Public:
    """A person looked: at what, and through which command; `person` is who, where several act as one caller."""
    named = {} if person is None else who(person)
    return {**_head(Kind.REVIEW, at), "caller": caller, **named, "act": act, "selection": dict(selection)}


ACCEPT_CLOCK = "accept_clock"
"""The act by which a person lets the ledger go on from the clock as it is."""
ROTATE_KEYS = "rotate_keys"
"""The act that puts pending erasures into effect."""
ARCHIVE = "archive"
"""The act by which the bodies of a month are moved to a file."""
RESTORE = "restore"
"""The act by which a person accepts that entries are lost."""
SETTLE = "settle"
"""The act by which two persons say what came of a disclosure that ended unknown."""


def control(
    act: str, recipient: str, caller: str, person: str, reason: str, *, at: datetime, **more: str | int
) -> Public:
    """An act of a person upon the gate: a recipient suspended, a clock accepted, a disclosure settled, keys rotated."""
    return {
        **_head(Kind.CONTROL, at),
        "act": act,
        "recipient": recipient,
        "caller": caller,
        **who(person),
        "reason": reason,
        **more,
    }


def latest_time(before: str, entry: Mapping[str, Any]) -> str:
    """The time before which no authorising entry may lie, once `entry` stands.

    Only authorising entries move it, so a refusal written while a clock ran ahead stops nothing later; a person can
    accept the clock as it is.
    """
    if entry["kind"] == Kind.CONTROL and entry["act"] == ACCEPT_CLOCK:
        return str(entry["time"])
    return max(before, str(entry["time"])) if entry["kind"] in AUTHORISING else before
