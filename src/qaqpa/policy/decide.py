"""The decision: every guard of law and of the configuration, evaluated whole."""

from __future__ import annotations

from qaqpa import metrics
from qaqpa.model.consent import Need
from qaqpa.model.decision import Decision, GuardResult
from qaqpa.model.words import Ground
from qaqpa.policy import law
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.facts import Facts, variables
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
    need = Need(
        purpose=route.purpose,
        recipient=recipient.id,
        recipient_kind=recipient.kind,
        abroad=recipient.country != law.HOME_COUNTRY,
        operator_bin=policy.operator.bin,
        fields=frozenset(route.fields),
    )
    ground, consent = law.ground_holds(route.ground, route.service, facts, need)
    by_law: tuple[GuardResult, ...] = (
        law.route_known(known=True),
        law.policy_in_force(version),
        law.recipient_active(suspended=facts.suspended),
        law.agreement_in_force(recipient.agreement, day),
        law.jurisdiction(recipient.country, consent),
        ground,
        law.fields_present(route.operation.needs, facts.present),
    )
    if route.kdp and consent is not None and not route.asks_for_token(day):
        by_law += (law.token_on_record(on_record=consent.terms.kdp_token is True),)
    values = variables(
        facts,
        kind=recipient.kind,
        country=recipient.country,
        agreement_ends=recipient.agreement.expires_on if recipient.agreement else None,
        consent=consent,
        covers=consent is not None,
        today=day,
    )
    activation = ENVIRONMENT.Activation(values)
    # Where no consent covers, that is the reason; guards about the consent that is not there would only repeat it.
    without_consent = route.ground is Ground.CONSENT and consent is None
    by_config = tuple(
        guard.evaluate(activation, values)
        for guard in route.guards
        if guard.in_force(day) and not (without_consent and guard.speaks_of("consent."))
    )
    return Decision(
        asked=facts.asked,
        at=facts.now,
        guards=by_law + by_config,
        clauses=route.clauses,
        ground=route.ground,
        policy=version,
        fields=tuple(route.fields),
        consent=consent.id if consent else None,
    )
