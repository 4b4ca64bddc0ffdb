"""The kinds of entry and what stands in the public part of each. Names and ids only: never a personal value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Extract, Intent, Message, Outcome
from qaqpa.model.identifiers import DisclosureId, SubjectId, uuid7
from qaqpa.model.words import SealKind, timestamp

FORMAT = 1


class Kind(StrEnum):
    """What an entry tells. Receipts, recalls, erasures and reviews come with the parts that write them."""

    INTENT = "intent"
    OUTCOME = "outcome"
    REFUSAL = "refusal"
    CONSENT = "consent"
    WITHDRAWAL = "withdrawal"
    POLICY = "policy"
    CONTROL = "control"


AUTHORISING = frozenset({Kind.INTENT, Kind.CONSENT, Kind.WITHDRAWAL})
"""Kinds whose meaning hangs on a date being true: none is written while the clock is set back."""

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
        "subject": subject,
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


def refusal(decision: Decision, known: Asked, subject: SubjectId, *, at: datetime) -> Public:
    """A refusal: what was asked and every reason why it was not done."""
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


ACCEPT_CLOCK = "accept_clock"
"""The act by which a person lets the ledger go on from the clock as it is."""


def control(act: str, recipient: str, caller: str, person: str, reason: str, *, at: datetime) -> Public:
    """An act of a person upon the gate: a recipient suspended or resumed, a clock accepted."""
    return {
        **_head(Kind.CONTROL, at),
        "act": act,
        "recipient": recipient,
        "caller": caller,
        "person": person,
        "reason": reason,
    }


def latest_time(before: str, entry: Mapping[str, Any]) -> str:
    """The time before which no authorising entry may lie, once `entry` stands.

    Only authorising entries move it, so a refusal written while a clock ran ahead stops nothing later; a person can
    accept the clock as it is.
    """
    if entry["kind"] == Kind.CONTROL and entry["act"] == ACCEPT_CLOCK:
        return str(entry["time"])
    return max(before, str(entry["time"])) if entry["kind"] in AUTHORISING else before
