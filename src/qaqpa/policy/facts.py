"""What is known when a decision is made, and the names under which CEL guards see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import cel_expr_python.cel as cel  # the package has no __init__: a plain import is found by type checkers

from qaqpa.config.recipients import RecipientFile
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one request, gathered before it is decided."""

    now: datetime
    asked: Asked
    present: frozenset[FieldPath]
    """Fields that the caller handed in."""
    contract: ContractFacts
    """As stated by the caller."""
    consents: tuple[Consent, ...] = ()
    """The subject's consents on record; only the one that the request names, where it names one."""
    suspended: bool = False
    """The recipient is suspended."""


VARIABLES: Mapping[str, cel.Type] = {
    "now": cel.Type.TIMESTAMP,
    "request.caller": cel.Type.STRING,
    "request.recipient": cel.Type.STRING,
    "request.operation": cel.Type.STRING,
    "request.purpose": cel.Type.STRING,
    "recipient.id": cel.Type.STRING,
    "recipient.kind": cel.Type.STRING,
    "recipient.country": cel.Type.STRING,
    "recipient.agreement_days_left": cel.Type.INT,
    "recipient.legal_form": cel.Type.STRING,
    "recipient.state_majority": cel.Type.BOOL,
    "recipient.affiliated": cel.Type.BOOL,
    "recipient.cessions": cel.Type.List(cel.Type.STRING),
    "consent.status": cel.Type.STRING,
    "consent.covers": cel.Type.BOOL,
    "consent.cross_border": cel.Type.BOOL,
    "consent.given_at": cel.Type.TIMESTAMP,
    "consent.evidence": cel.Type.STRING,
    "contract.number": cel.Type.STRING,
    "contract.days_overdue": cel.Type.INT,
    "contract.breach_notified_on": cel.Type.TIMESTAMP,
    "contract.settlement_steps_done": cel.Type.BOOL,
    "contract.restructuring_pending": cel.Type.BOOL,
    "contract.collector_clause": cel.Type.BOOL,
    "contract.secured_by_home": cel.Type.BOOL,
    "contract.remedies_exhausted": cel.Type.BOOL,
    "contract.suit_filed": cel.Type.BOOL,
    "contract.cession": cel.Type.STRING,
    "contract.duties_met": cel.Type.BOOL,
}
"""Every variable that a guard may use, by type. Dates are midnight UTC of their day."""

STATED_OF_RECIPIENT = ("legal_form", "state_majority", "affiliated")
"""What a guard may ask of a recipient only where its configuration says it."""


def variables(
    facts: Facts,
    recipient: RecipientFile,
    *,
    consent: Consent | None,
    today: date,
) -> dict[str, Any]:
    """Values for `VARIABLES`; what is not known is left out, so that a guard that needs it is a gap."""
    values: dict[str, Any] = {
        "now": facts.now,
        "request.caller": facts.asked.caller,
        "request.recipient": facts.asked.recipient,
        "request.operation": facts.asked.operation,
        "request.purpose": facts.asked.purpose,
        "recipient.id": facts.asked.recipient,
        "recipient.kind": recipient.kind,
        "recipient.country": recipient.country,
        "recipient.cessions": [each.number for each in recipient.cessions if each.signed_on <= today],
        "consent.covers": consent is not None,
    }
    if recipient.agreement is not None and recipient.agreement.expires_on is not None:
        values["recipient.agreement_days_left"] = (recipient.agreement.expires_on - today).days
    for name in STATED_OF_RECIPIENT:
        stated = getattr(recipient, name)
        if stated is not None:
            values[f"recipient.{name}"] = stated
    if consent is not None:
        values["consent.status"] = consent.status(facts.now).value
        values["consent.cross_border"] = consent.terms.cross_border
        values["consent.given_at"] = consent.terms.given_at
        if consent.terms.evidence is not None:
            values["consent.evidence"] = consent.terms.evidence.value
    for name in ContractFacts.model_fields:
        value = getattr(facts.contract, name)
        if value is not None:
            is_day = isinstance(value, date)
            values[f"contract.{name}"] = datetime.combine(value, time(), UTC) if is_day else value
    return values
