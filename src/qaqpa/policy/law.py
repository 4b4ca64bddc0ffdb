"""What law always demands, whatever the configuration says. Each condition is one guard with its clause.

A configuration can add guards; it cannot remove these. What they say stands in `sentences`.
"""

from __future__ import annotations

from datetime import date

from qaqpa.config.recipients import Agreement
from qaqpa.model.consent import UNCOVERED_WORDS, Consent, ConsentStatus, Need, Uncovered, choose
from qaqpa.model.decision import GuardResult, Result
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import GROUND_CLAUSE, Ground, Words, joined
from qaqpa.policy import sentences as say
from qaqpa.policy.facts import TOKEN, Checked, Facts, OnRecord

HOME_COUNTRY = "KZ"

_GROUND_GUARD = {
    Ground.CONSENT: "consent_covers",
    Ground.LEGAL_PROTECTION: "breach_on_record",
    Ground.SERVICE: "service_named",
}

GUARDS = {
    "route_known": "3.4(2)",
    "policy_in_force": "9.2",
    "recipient_active": "5.5",
    "agreement_in_force": "2.3(4)",
    "jurisdiction": "3.4(5)",
    **{guard: GROUND_CLAUSE[ground] for ground, guard in _GROUND_GUARD.items()},
    "fields_present": "3.2",
    "facts_agree": "2.2",
    "token_on_record": "2.3(1)",
}
"""Clause by name. No guard of the configuration may take one of these names."""

CLAUSES = (*GUARDS.values(), "7.1(3)")
"""Clauses that are cited here; the configured policy must have them all."""


def names_for(ground: Ground) -> tuple[str, ...]:
    """Names of the guards here that every route on `ground` meets, in their order.

    `facts_agree` and `token_on_record` are not among them: the first is met where there is a system of record and the
    route asks of a contract, the second where the call carries the consent's token.
    """
    others = {guard for each, guard in _GROUND_GUARD.items() if each is not ground} | {"facts_agree", "token_on_record"}
    return tuple(name for name in GUARDS if name not in others)


def _permit_if(
    holds: bool, guard: str, clause: str, *, so: Words, otherwise: Words, instrument: str | None = None
) -> GuardResult:
    return GuardResult(guard, clause, so if holds else otherwise, Result.PERMIT if holds else Result.DENY, instrument)


def route_known(*, known: bool) -> GuardResult:
    """3.4(2): transfer only under 2.3, so what no route allows is denied."""
    return _permit_if(known, "route_known", "3.4(2)", so=say.ROUTE, otherwise=say.NO_ROUTE)


def policy_in_force(version: str | None) -> GuardResult:
    """9.2: a version is in force from its publication."""
    so = say.NO_POLICY if version is None else say.policy(version)
    return _permit_if(version is not None, "policy_in_force", "9.2", so=so, otherwise=say.NO_POLICY)


def recipient_active(*, suspended: bool) -> GuardResult:
    """5.5: harm is limited by sending nothing to a recipient that is suspended."""
    return _permit_if(not suspended, "recipient_active", "5.5", so=say.ACTIVE, otherwise=say.SUSPENDED)


def agreement_in_force(agreement: Agreement | None, day: date, *, ended_serves: bool = False) -> GuardResult:
    """2.3(4), 4.2: a third party is bound by an agreement in force that demands confidentiality.

    `ended_serves` for a recall, which discloses nothing new: 5.5 binds the third party until the data are destroyed.
    """
    in_force = (
        agreement is not None
        and agreement.signed_on <= day
        and (agreement.expires_on is None or day <= agreement.expires_on)
    )
    if ended_serves and not in_force and agreement is not None and agreement.signed_on <= day:
        return GuardResult("agreement_in_force", "5.5", say.AGREEMENT_ENDED, Result.PERMIT, "94-V")
    return _permit_if(
        in_force, "agreement_in_force", "2.3(4)", so=say.AGREEMENT, otherwise=say.NO_AGREEMENT, instrument="94-V"
    )


def jurisdiction(country: str, consent: Consent | None) -> GuardResult:
    """3.4(5), 94-V art. 16: across the border only as the covering consent allows."""
    allowed = country == HOME_COUNTRY or (consent is not None and consent.terms.cross_border)
    otherwise = UNCOVERED_WORDS[Uncovered.NO_CROSS_BORDER]
    return _permit_if(
        allowed, "jurisdiction", "3.4(5)", so=say.WITHIN_BORDERS, otherwise=otherwise, instrument="94-V art. 16"
    )


def consent_covers(facts: Facts, need: Need) -> tuple[GuardResult, Consent | None]:
    """2.3(1), 6.1: the newest consent that covers route, recipient, fields, border and date."""
    consent, why = choose(facts.consents, need, facts.now, duties_met=facts.contract.duties_met)
    guard = "consent_covers"
    if consent is None:
        message = joined(tuple(UNCOVERED_WORDS[reason] for reason in why))
        findings = tuple(reason.value for reason in why)
        return GuardResult(guard, "2.3(1)", message, Result.DENY, "94-V art. 8", findings=findings), None
    if consent.status(facts.now) is ConsentStatus.WITHDRAWAL_PENDING:
        return GuardResult(guard, "7.1(3)", say.PENDING, Result.PERMIT, "94-V art. 8(2)", note=True), consent
    return GuardResult(guard, "2.3(1)", say.COVERED, Result.PERMIT, "94-V art. 8"), consent


def breach_on_record(facts: Facts) -> GuardResult:
    """2.3(3): protection of rights presupposes that the subject is in breach."""
    guard, law, overdue = "breach_on_record", "56-V art. 9-2", facts.contract.days_overdue
    if overdue is None:
        missing = ("contract.days_overdue",)
        return GuardResult(guard, "2.3(3)", say.lacking(missing), Result.GAP, law, missing=missing)
    return _permit_if(overdue > 0, guard, "2.3(3)", so=say.BREACH, otherwise=say.NO_BREACH, instrument=law)


def service_named(service: str | None) -> GuardResult:
    """2.3(2): the route names the service that needs the transfer."""
    so = say.NO_SERVICE if service is None else say.service(service)
    return _permit_if(bool(service), "service_named", "2.3(2)", so=so, otherwise=say.NO_SERVICE)


def ground_holds(ground: Ground, service: str | None, facts: Facts, need: Need) -> tuple[GuardResult, Consent | None]:
    """2.3: the ground's own condition; the consent found, where the ground is consent."""
    if ground is Ground.CONSENT:
        return consent_covers(facts, need)
    if ground is Ground.LEGAL_PROTECTION:
        return breach_on_record(facts), None
    return service_named(service), None


def fields_present(needs: frozenset[FieldPath], present: frozenset[FieldPath]) -> GuardResult:
    """3.2: the message needs these fields; without one it cannot serve its purpose."""
    missing = tuple(sorted(needs - present))
    if missing:
        return GuardResult("fields_present", "3.2", say.lacking_fields(missing), Result.GAP, missing=missing)
    return GuardResult("fields_present", "3.2", say.FIELDS, Result.PERMIT)


def token_on_record(*, on_record: bool) -> GuardResult:
    """94-V art. 8(1): where a call carries the token of the consent's state service, there must be one."""
    guard, law = "token_on_record", "94-V art. 8(1)"
    if on_record:
        return GuardResult(guard, "2.3(1)", say.TOKEN, Result.PERMIT, law)
    return GuardResult(guard, "2.3(1)", say.NO_TOKEN, Result.GAP, law, missing=(TOKEN,))


_ASK_AGAIN = {
    OnRecord.UNREACHABLE: say.RECORD_UNREACHABLE,
    OnRecord.UNKNOWN: say.RECORD_UNKNOWN,
    OnRecord.NOT_NAMED: say.lacking(("contract.number",)),
}


def facts_agree(checked: Checked) -> GuardResult:
    """2.2: what is stated may be checked, and where a system of record says otherwise nothing leaves on hearsay."""
    guard, clause, found = "facts_agree", "2.2", checked.found
    if found is OnRecord.AGREES:
        return GuardResult(guard, clause, say.RECORD_AGREES, Result.PERMIT)
    if found is OnRecord.DIFFERS:
        message = say.record_differs(checked.differing)
        return GuardResult(guard, clause, message, Result.DENY, findings=checked.differing)
    missing = ("contract.number",) if found is OnRecord.NOT_NAMED else ()
    return GuardResult(
        guard, clause, _ASK_AGAIN[found], Result.GAP, missing=missing, findings=(f"contract_{found.value}",)
    )
