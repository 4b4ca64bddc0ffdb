"""What is known when a decision is made, and the names under which CEL guards see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any

import cel_expr_python.cel as cel  # the package has no __init__: a plain import is found by type checkers

from qaqpa.config.recipients import RecipientFile
from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath


class OnRecord(StrEnum):
    """What the system of record says of the contract that a request names."""

    AGREES = "agrees"
    """It has the contract, and nothing that was stated differs."""
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    """It has no such contract."""
    NOT_NAMED = "not_named"
    """No contract was named, so there was nothing to ask."""
    UNREACHABLE = "unreachable"
    """It did not answer."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Facts held against the system of record."""

    found: OnRecord
    differing: tuple[str, ...] = ()
    """Names of facts that were stated otherwise, e.g. `contract.days_overdue`."""


_COMPARED = tuple(name for name in ContractFacts.model_fields if name != "number")


def compared(
    stated: ContractFacts, number: str | None, recorded: Mapping[str, ContractFacts] | None
) -> tuple[ContractFacts, Checked]:
    """The facts that count, and what came of holding them against `recorded`, which is None where nothing answered.

    `number` is the contract's in the data. What the system of record knows counts, and what only the caller knows too.
    """
    name = stated.number or number
    if name is None:
        return stated, Checked(OnRecord.NOT_NAMED)
    if recorded is None:
        return stated, Checked(OnRecord.UNREACHABLE)
    known = recorded.get(name)
    if known is None:
        return stated, Checked(OnRecord.UNKNOWN)
    # Facts of one contract say nothing of the data of another.
    differing = ["contract.number"] if number is not None and number != name else []
    update: dict[str, Any] = {}
    for fact in _COMPARED:
        on_record = getattr(known, fact)
        if on_record is not None:
            said = getattr(stated, fact)
            if said is None:
                update[fact] = on_record
            elif said != on_record:
                update[fact] = on_record
                differing.append(f"contract.{fact}")
    counts = stated.model_copy(update=update) if update else stated
    return counts, Checked(OnRecord.DIFFERS if differing else OnRecord.AGREES, tuple(differing))


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one request, gathered before it is decided."""

    now: datetime
    asked: Asked
    present: frozenset[FieldPath]
    """Fields that the caller handed in."""
    contract: ContractFacts
    """As stated by the caller, or, where there is a system of record, as that has it."""
    consents: tuple[Consent, ...] = ()
    """The subject's consents on record; only the one that the request names, where it names one."""
    suspended: bool = False
    """The recipient is suspended."""
    checked: Checked | None = None
    """Of holding the contract's facts against the system of record; None where none was to be asked."""


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
    "recipient.legal_form": cel.Type.STRING,
    "recipient.state_majority": cel.Type.BOOL,
    "recipient.affiliated": cel.Type.BOOL,
    "recipient.cessions": cel.Type.List(cel.Type.STRING),
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
        if consent.terms.kdp_token:  # a token that is missing can be supplied: a gap, and no denial
            values[TOKEN] = True
    for name in ContractFacts.model_fields:
        value = getattr(facts.contract, name)
        if value is not None:
            is_day = isinstance(value, date)
            values[f"contract.{name}"] = datetime.combine(value, time(), UTC) if is_day else value
    return values
