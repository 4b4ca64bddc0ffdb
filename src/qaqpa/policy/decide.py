"""The decision: every guard of law and of the configuration, evaluated whole."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from qaqpa import metrics
from qaqpa.model.consent import Consent, Need
from qaqpa.model.decision import Asked, Decision, GuardResult
from qaqpa.model.words import Ground
from qaqpa.policy import law
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.facts import Checked, Facts, OnRecord, variables
from qaqpa.policy.guards import ENVIRONMENT


@metrics.timed("decide")
def decide(policy: Policy, route: Route | None, facts: Facts) -> Decision:
    """Permit, deny or gap for what `facts.asked` asks, with every guard's result.

    Dates of law, agreements and policy versions are read in the operator's time zone.
    """
    day = policy.day(facts.now)
    version = policy.version_on(day)
    if route is None:
        guards = (law.route_known(known=False), law.policy_in_force(version))
        return Decision(facts.asked, facts.now, guards, policy=version)

    recipient = route.recipient
    ground, consent = law.ground_holds(route.ground, route.service, facts, need_of(policy, route))
    by_law: tuple[GuardResult, ...] = (
        law.route_known(known=True),
        law.policy_in_force(version),
        law.recipient_active(suspended=facts.suspended),
        law.agreement_in_force(recipient.agreement, day, ended_serves=route.operation.recalls),
        law.jurisdiction(recipient.country, consent),
        ground,
        law.fields_present(route.operation.needs, facts.present),
    )
    if route.kdp and consent is not None and not route.asks_for_token(day):
        by_law += (law.token_on_record(on_record=consent.terms.kdp_token is True),)
    checked = facts.checked or unchecked(policy, route)
    if checked is not None:
        by_law += (law.facts_agree(checked),)
    values = values_for(route, facts, consent, day)
    activation = ENVIRONMENT.Activation(values)
    # Where no consent covers, that is the reason; guards about the consent that is not there would only repeat it.
    without_consent = route.ground is Ground.CONSENT and consent is None
    by_config = tuple(
        guard.evaluate(activation, values)
        for guard in route.guards
        if guard.in_force(day) and not (without_consent and guard.speaks_of("consent."))
    )
    return concluded(route, facts.asked, facts.now, version, by_law + by_config, consent)


def concluded(
    route: Route,
    asked: Asked,
    at: datetime,
    version: str | None,
    guards: tuple[GuardResult, ...],
    consent: Consent | None,
) -> Decision:
    """The decision that `guards` make on `route`; `version` is that of the policy in force."""
    return Decision(
        asked=asked,
        at=at,
        guards=guards,
        clauses=route.clauses,
        ground=route.ground,
        policy=version,
        fields=route.paths,
        consent=consent.id if consent else None,
    )


def unchecked(policy: Policy, route: Route) -> Checked | None:
    """What stands in the place of a check that was not made: where one is due, nothing answered; it never passes."""
    return Checked(OnRecord.UNREACHABLE) if policy.checks_facts(route) else None


def need_of(policy: Policy, route: Route) -> Need:
    """What a consent must cover for `route`."""
    recipient = route.recipient
    return Need(
        purpose=route.purpose,
        recipient=recipient.id,
        recipient_kind=recipient.kind,
        abroad=recipient.country != law.HOME_COUNTRY,
        operator_bin=policy.operator.bin,
        fields=frozenset(route.fields),
    )


def values_for(route: Route, facts: Facts, consent: Consent | None, day: date) -> dict[str, Any]:
    """What guards of the configuration see of `facts` on `route`, `consent` being the one that covers it."""
    return variables(facts, route.recipient, consent=consent, today=day)
