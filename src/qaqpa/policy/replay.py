"""A recorded decision once more, under a draft. What the ledger does not tell is never guessed: then the outcome cannot
be told.

Pure: who reads the ledger stands in `gateway.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qaqpa.model.decision import Asked, Decision, Reason, Result
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.decide import decide
from qaqpa.policy.facts import Facts
from qaqpa.policy.law import HOME_COUNTRY

UNKNOWN = "unknown"
"""In the place of a name that the configuration did not know (`Policy.known`)."""

TOLD = frozenset(
    {
        "now",
        "request.caller",
        "request.recipient",
        "request.operation",
        "request.purpose",
        "recipient.id",
        "recipient.kind",
        "recipient.country",
        "recipient.agreement_days_left",
        "recipient.legal_form",
        "recipient.state_majority",
        "recipient.affiliated",
        "recipient.cessions",
        "consent.status",
        "consent.covers",
        "consent.cross_border",
        "consent.given_at",
        "consent.evidence",
        "consent.kdp_token",
        "contract.number",
        "contract.days_overdue",
        "contract.breach_notified_on",
        "contract.settlement_steps_done",
        "contract.restructuring_pending",
        "contract.collector_clause",
        "contract.secured_by_home",
        "contract.remedies_exhausted",
        "contract.suit_filed",
        "contract.cession",
        "contract.duties_met",
    }
)
"""Variables of guards that an entry tells, or the draft itself. A guard that names another one cannot be replayed."""

_MAY_WITHHOLD = frozenset({"age_band", "region_of"})
"""Transforms that withhold a value that they cannot read; of the value only the field's name is kept."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as the ledger has it."""

    result: Result
    reasons: frozenset[Reason]
    facts: Facts
    """`present` counts only where `names_kept`; `suspended` as it was found then."""
    fields: frozenset[FieldPath]
    """What left."""
    names_kept: bool
    """Whether the entry names every field that was handed in."""
    consents_told: bool
    """Whether it is known which consents were looked at."""
    in_force: Policy | None
    """The policy that it was made from, where that is the one in force now."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the draft makes of a recorded decision."""

    old: Result
    new: Result | None = None
    """None where it cannot be told."""
    untold: tuple[str, ...] = ()
    """What would have to be known to tell more."""
    appear: tuple[Reason, ...] = ()
    vanish: tuple[Reason, ...] = ()
    added: tuple[FieldPath, ...] = ()
    """Fields that would leave beside."""
    removed: tuple[FieldPath, ...] = ()
    changed: tuple[FieldPath, ...] = ()
    """Fields that would leave in another form; looked at only where the policy of then is the one in force now."""

    @property
    def differs(self) -> bool:
        """Whether the outcome changes, for certain."""
        return self.new is not None and (
            self.new is not self.old or bool(self.appear or self.vanish or self.added or self.removed or self.changed)
        )

    @property
    def cannot_be_told(self) -> bool:
        """Whether it may change, and nobody knows."""
        return self.new is None or (bool(self.untold) and not self.differs and self.new is Result.PERMIT)


def replay(draft: Policy, then: Recorded) -> Replayed:
    """Decide `then` under `draft`, from what is on record."""
    lost = _lost_names(draft, then)
    if lost:
        return Replayed(then.result, untold=lost)
    route = draft.find(then.facts.asked)
    decision = decide(draft, route, then.facts)
    untold = _untold(route, decision, then)
    result = _result(decision, frozenset(untold))
    if result is None:
        return Replayed(then.result, untold=tuple(sorted({fact for facts in untold.values() for fact in facts})))
    new = {reason for reason in decision.blocking if reason.guard not in untold}
    old = {reason for reason in then.reasons if reason.guard not in untold}
    added, removed, changed, unsure = _fields(route if result is Result.PERMIT else None, then)
    return Replayed(
        old=then.result,
        new=result,
        untold=unsure,
        appear=tuple(sorted(new - old)),
        vanish=tuple(sorted(old - new)),
        added=added,
        removed=removed,
        changed=changed,
    )


def _result(decision: Decision, untold: frozenset[str]) -> Result | None:
    """One deny outweighs whatever is not told; otherwise what is not told decides."""
    if any(guard.result is Result.DENY for guard in decision.guards if guard.guard not in untold):
        return Result.DENY
    return None if untold else decision.result


# --- what the ledger does not tell -----------------------------------------------------------------


def _lost_names(draft: Policy, then: Recorded) -> tuple[str, ...]:
    """Names that were not kept, where a route of the draft may be the one that was asked for."""
    asked, known = then.facts.asked, _names(then.in_force)
    lost = tuple(name for name in known if getattr(asked, name) == UNKNOWN)

    def may_be(route: Asked) -> bool:
        # A name that was not kept is none that the configuration of then knew.
        return all(
            getattr(route, name) not in known[name] if name in lost else getattr(route, name) == getattr(asked, name)
            for name in known
        )

    return tuple(f"request.{name}" for name in lost) if lost and any(map(may_be, draft.routes)) else ()


def _names(policy: Policy | None) -> Mapping[str, frozenset[str]]:
    """Names that the policy knows, as `Policy.known` has it; none where it is not on record any more."""
    if policy is None:
        return dict.fromkeys(("caller", "recipient", "operation", "purpose"), frozenset())
    return {
        "caller": frozenset(policy.callers),
        "recipient": frozenset(policy.recipients),
        "operation": frozenset(route.operation.name for route in policy.routes.values()),
        "purpose": frozenset(policy.purposes),
    }


def _untold(route: Route | None, decision: Decision, then: Recorded) -> dict[str, tuple[str, ...]]:
    """Guards whose result is not to be relied on, and what each lacks."""
    if route is None:
        return {}
    evaluated = {guard.guard for guard in decision.guards}
    no_consents: tuple[str, ...] = () if then.consents_told else ("consent named",)
    lacking: dict[str, tuple[str, ...]] = {
        "fields_present": () if then.names_kept else ("fields handed in",),
        "consent_covers": no_consents,
        "facts_agree": () if then.facts.checked is not None else ("contract on record",),
        "jurisdiction": no_consents if route.recipient.country != HOME_COUNTRY else (),
    }
    found: dict[str, tuple[str, ...]] = {name: lacks for name, lacks in lacking.items() if lacks and name in evaluated}
    for guard in route.guards:
        of_consent = guard.speaks_of("consent.")
        lacks = tuple(name for name in guard.needs if name not in TOLD) + (no_consents if of_consent else ())
        # Where no consent was found to cover, guards about it were passed over; with another consent they might not be.
        if lacks and (guard.name in evaluated or of_consent):
            found[guard.name] = lacks
    return found


# --- fields ------------------------------------------------------------------------------------------

_Paths = tuple[FieldPath, ...]


def _fields(route: Route | None, then: Recorded) -> tuple[_Paths, _Paths, _Paths, tuple[str, ...]]:
    """What would leave beside, what would not, what in another form, and what of this cannot be told.

    `route` is None where the draft does not permit; where it does, the names of what was handed in are on record.
    """
    if route is None:
        return (), tuple(sorted(then.fields)), (), ()
    before = None if then.in_force is None else then.in_force.find(then.facts.asked)
    added, changed, unsure = list[FieldPath](), list[FieldPath](), list[str]()
    for path in sorted(then.facts.present & route.fields.keys()):
        rule, left = route.fields[path], path in then.fields
        old = None if before is None else before.fields.get(path)
        if then.result is Result.PERMIT and old == rule:
            continue  # it did what it would do
        if rule.transform in _MAY_WITHHOLD:
            unsure.append(f"value of {path}")
        elif not left:
            added.append(path)
        elif before is not None:
            changed.append(path)
    removed = tuple(sorted(then.fields - route.fields.keys()))
    return tuple(added), removed, tuple(changed), tuple(unsure)
