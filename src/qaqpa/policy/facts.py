"""What is known when a decision is made, and the names under which CEL guards see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import cel_expr_python.cel as cel  # the package has no __init__: a plain import is found by type checkers

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


TOKEN = "consent.kdp_token"  # noqa: S105 - the name of a fact
"""A КДП token is on record with the consent. Never false: what is not on record is absent."""
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
    "consent.status": cel.Type.STRING,
    "consent.covers": cel.Type.BOOL,
    "consent.cross_border": cel.Type.BOOL,
    "consent.given_at": cel.Type.TIMESTAMP,
    "consent.evidence": cel.Type.STRING,
    TOKEN: cel.Type.BOOL,
    "contract.number": cel.Type.STRING,
    "contract.days_overdue": cel.Type.INT,
    "contract.breach_notified_on": cel.Type.TIMESTAMP,
    "contract.settlement_steps_done": cel.Type.BOOL,
    "contract.restructuring_pending": cel.Type.BOOL,
    "contract.collector_clause": cel.Type.BOOL,
    "contract.secured_by_home": cel.Type.BOOL,
    "contract.duties_met": cel.Type.BOOL,
}
"""Every variable that a guard may use, by type. Dates are midnight UTC of their day."""


def variables(
    facts: Facts,
    *,
    kind: str,
    country: str,
    agreement_ends: date | None,
    consent: Consent | None,
    covers: bool,
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
        "recipient.kind": kind,
        "recipient.country": country,
        "consent.covers": covers,
    }
    if agreement_ends is not None:
        values["recipient.agreement_days_left"] = (agreement_ends - today).days
    if consent is not None:
        values["consent.status"] = consent.status(facts.now).value
        values["consent.cross_border"] = consent.terms.cross_border
        values["consent.given_at"] = consent.terms.given_at
        if consent.terms.evidence is not None:
            values["consent.evidence"] = consent.terms.evidence.value
        if consent.terms.kdp_token:  # a token that is missing can be supplied: a gap, and no denial
            values[TOKEN] = True
    for name in ContractFacts.model_fields:
        value = getattr(facts.contract, name)
        if value is not None:
            is_day = isinstance(value, date)
            values[f"contract.{name}"] = datetime.combine(value, time(), UTC) if is_day else value
    return values
