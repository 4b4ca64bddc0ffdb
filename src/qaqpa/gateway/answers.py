"""What callers see: decisions, disclosures and errors as JSON. The command line and the service say the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qaqpa.errors import AnswerAwaited, Blocked, ConfigError, InvalidRequest, QaqpaError, Rejected
from qaqpa.gateway.approvals import Approval, Done
from qaqpa.ledger.erasure import Erased
from qaqpa.model.actors import Actor
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Decision, GuardResult
from qaqpa.model.disclosure import Disclosure
from qaqpa.model.words import Language, timestamp
from qaqpa.recall.records import Recalled

Answer = dict[str, Any]


def guard_answer(guard: GuardResult, language: Language) -> Answer:
    """One guard's result."""
    answer: Answer = {
        "guard": guard.guard,
        "clause": guard.clause,
        "result": guard.result.value,
        "message": guard.message.in_language(language),
    }
    if guard.instrument:
        answer["instrument"] = guard.instrument
    if guard.findings:
        answer["findings"] = list(guard.findings)
    if guard.missing:
        answer["missing"] = list(guard.missing)
    return answer


def decision_answer(decision: Decision, language: Language) -> Answer:
    """A decision with every guard's result."""
    return {
        "result": decision.result.value,
        "at": timestamp(decision.at),
        "caller": decision.asked.caller,
        "recipient": decision.asked.recipient,
        "operation": decision.asked.operation,
        "purpose": decision.asked.purpose,
        "policy": decision.policy,
        "ground": decision.ground.value if decision.ground else None,
        "clauses": list(decision.clauses),
        "fields": list(decision.fields),
        "consent": decision.consent,
        "guards": [guard_answer(guard, language) for guard in decision.guards],
        "reasons": [guard_answer(guard, language) for guard in decision.reasons],
        "notes": [guard_answer(guard, language) for guard in decision.notes],
    }


def disclosure_answer(disclosure: Disclosure, language: Language) -> Answer:
    """A disclosure that was delivered, with its report."""
    return {
        "disclosure": disclosure.id,
        "decision": decision_answer(disclosure.decision, language),
        "sent": list(disclosure.sent),
        "withheld": list(disclosure.withheld),
        "report": disclosure.report,
        "cut": list(disclosure.cut),
        "reused": disclosure.reused,
        "ledger": {"intent": disclosure.intent_index, "outcome": disclosure.outcome_index},
    }


def awaiting_answer(waits: AnswerAwaited) -> Answer:
    """A disclosure whose answer comes later."""
    return {"disclosure": waits.disclosure, "status": "awaiting"}


def consent_answer(consent: Consent, status: str) -> Answer:
    """A consent on record; who gave it is not said."""
    return {
        "consent": consent.id,
        "status": status,
        "terms": consent.terms.model_dump(mode="json", exclude_none=True),
        "withdrawal_asked_at": consent.withdrawal_asked_at and timestamp(consent.withdrawal_asked_at),
        "withdrawn_at": consent.withdrawn_at and timestamp(consent.withdrawn_at),
    }


def recall_answer(recall: Recalled, way: str) -> Answer:
    """A recall as it stands: names, ids and codes; nothing of what was disclosed."""
    figures = recall.figures
    receipt = figures.get("receipt")
    return {
        "recall": recall.id,
        "of": recall.target,
        "scope": recall.scope.value,
        "handover": recall.handover,
        "recipient": recall.recipient,
        "reason": recall.reason.value,
        "state": recall.state.value,
        "way": way,
        "due_on": recall.due_on.isoformat(),
        "since": timestamp(recall.since),
        "changed": timestamp(recall.changed),
        "asked_by": figures.get("asked_by"),
        "person": figures.get("person"),
        "code": figures.get("code") or figures.get("held"),
        "notice": recall.notice,
        "disclosures": figures.get("disclosures"),
        "receipt": None if receipt is None else {name: receipt.get(name) for name in ("result", "signed", "code")},
    }


def approval_answer(approval: Approval, now: datetime) -> Answer:
    """Something that takes two persons, as it stands: ids and codes, nobody's data."""
    decided = approval.decided_by
    return {
        "approval": approval.id,
        "act": approval.act.value,
        "what": dict(approval.what),
        "reason": approval.reason,
        "state": approval.stands(now),
        "asked_by": _actor_answer(approval.asked_by),
        "asked_at": approval.asked_at,
        "expires": approval.expires,
        "decided_by": None if decided is None else _actor_answer(decided),
        "decided_at": approval.decided_at,
        "code": approval.code,
    }


def _actor_answer(actor: Actor) -> Answer:
    return {
        "person": actor.name, "issuer": actor.issuer, "account": actor.account, "system_user": actor.system_user,
    }  # fmt: skip


def erasure_answer(erased: Erased) -> Answer:
    """An erasure, which takes effect when the keys of its epoch are destroyed."""
    return {"subject": erased.subject, "entry": erased.index, "state": "pending", "epoch": erased.epoch}


def done_answer(done: Done, way: str) -> Answer:
    """What came of what takes two persons; `way` is that of a recall."""
    match done:
        case Erased():
            return erasure_answer(done)
        case Recalled():
            return recall_answer(done, way)
        case int():
            return {"entry": done}


def error_answer(error: QaqpaError, language: Language) -> Answer:
    """An error with its stable code and every reason (RFC 9457 members, our extensions)."""
    answer: Answer = {"code": error.code, "status": error.status, "detail": str(error)}
    if error.disclosure is not None:
        answer["disclosure"] = error.disclosure
    if isinstance(error, Blocked):
        answer["detail"] = " ".join(reason.message.in_language(language) for reason in error.decision.reasons)
        answer["refusal"] = error.refusal
        answer["decision"] = decision_answer(error.decision, language)
        answer["reasons"] = answer["decision"]["reasons"]
    elif isinstance(error, ConfigError | InvalidRequest):
        answer["problems"] = [str(problem) for problem in error.problems]
    elif isinstance(error, Rejected) and error.their_code is not None:
        answer["their_code"] = error.their_code
    return answer
