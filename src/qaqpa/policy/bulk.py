"""The same decision for many rows of one route: what no row changes is looked at once, the rest is remembered.

For the same facts `BulkDecider.decide` gives what `decide` gives, to the last word; it holds no rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from qaqpa.model.consent import Consent
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import Ground
from qaqpa.policy import law
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.decide import concluded, need_of, unchecked, values_for
from qaqpa.policy.facts import Checked, Facts
from qaqpa.policy.guards import ENVIRONMENT, Guard

REMEMBERED = 4_096
"""Results that one guard remembers at most; then it begins anew. A guard may name a fact that no two rows share."""

_CONTRACT, _CONSENT = "contract.", "consent."
_NOTHING = ContractFacts()


class _Remembering:
    """One guard of the configuration, asked again only for facts that it has not seen."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.of_consent = guard.speaks_of(_CONSENT)
        names = [name.removeprefix(_CONTRACT) for name in guard.needs if name.startswith(_CONTRACT)]
        self.key: Callable[[ContractFacts], Hashable] = attrgetter(*names) if names else _no_fact
        self.seen: dict[Hashable, GuardResult] = {}
        self._results: dict[tuple[Result, tuple[str, ...]], GuardResult] = {}

    def ask(self, key: Hashable, values: dict[str, Any]) -> GuardResult:
        found = self.guard.evaluate(ENVIRONMENT.Activation(values), values)
        # What a guard says follows from these two, so that equal results are one object.
        found = self._results.setdefault((found.result, found.missing), found)
        if len(self.seen) >= REMEMBERED:
            self.seen.clear()
        self.seen[key] = found
        return found


def _no_fact(_contract: ContractFacts) -> Hashable:
    return None


class BulkDecider:
    """Decides rows of `route` at one moment. Not safe for several threads."""

    def __init__(self, policy: Policy, route: Route, asked: Asked, *, now: datetime, suspended: bool) -> None:
        """`asked` is what found `route`; `now` (aware) and `suspended` are as in `Facts`, of every row."""
        self.policy, self.route = policy, route
        self._facts = Facts(now, asked, frozenset(), _NOTHING, suspended=suspended)
        self._day = policy.day(now)
        self._need = need_of(policy, route)
        self._version = policy.version_on(self._day)
        self._law = (
            law.route_known(known=True),
            law.policy_in_force(self._version),
            law.recipient_active(suspended=suspended),
            law.agreement_in_force(route.recipient.agreement, self._day, ended_serves=route.operation.recalls),
        )
        self._guards = tuple(_Remembering(guard) for guard in route.guards if guard.in_force(self._day))
        # Where no consent covers, guards about it are passed over, as in `decide`.
        self._without_consent = tuple(guard for guard in self._guards if not guard.of_consent)
        self._jurisdiction: dict[bool, GuardResult] = {}
        self._breach: dict[bool | None, GuardResult] = {}
        self._service = law.service_named(route.service)
        self._wants_token = route.kdp and not route.asks_for_token(self._day)
        self._tokens = {held: law.token_on_record(on_record=held) for held in (False, True)}
        self._present: dict[frozenset[FieldPath], GuardResult] = {}
        self._unchecked = unchecked(policy, route)
        self._checked: dict[Checked | None, tuple[GuardResult, ...]] = {}
        self._shared: dict[tuple[int, ...], tuple[GuardResult, ...]] = {}

    def at(self, now: datetime, *, suspended: bool) -> BulkDecider:
        """The decider for the rows of a later moment; what does not follow from the time is remembered on."""
        later = BulkDecider(self.policy, self.route, self._facts.asked, now=now, suspended=suspended)
        later._present, later._breach = self._present, self._breach
        if later._day == self._day:
            for old, new in zip(self._guards, later._guards, strict=True):
                if "now" not in new.guard.needs:
                    new.seen, new._results = old.seen, old._results
        return later

    def decide(
        self,
        present: frozenset[FieldPath],
        contract: ContractFacts,
        consents: tuple[Consent, ...] = (),
        checked: Checked | None = None,
    ) -> Decision:
        """What `decide` decides on these facts of one row; decisions of equal guards share one tuple of them."""
        consent = None
        if self.route.ground is Ground.CONSENT:
            ground, consent = law.consent_covers(self._row(present, contract, consents), self._need)
        elif self.route.ground is Ground.LEGAL_PROTECTION:
            ground = self._breach_of(contract)
        else:
            ground = self._service
        guards = [
            *self._law,
            self._jurisdiction_of(consent),
            ground,
            self._present.get(present) or self._present_of(present),
            *self._token_of(consent),
            *self._agreeing(checked or self._unchecked),
            *self._configured(present, contract, consent),
        ]
        key = tuple(map(id, guards))
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) >= REMEMBERED:
                self._shared.clear()
            # What stands in a shared tuple lives as long as it, so its id is nobody else's.
            shared = self._shared[key] = tuple(guards)
        return concluded(self.route, self._facts.asked, self._facts.now, self._version, shared, consent)

    def package(self) -> Decision:
        """Whether a package may leave now, of rows that were decided before: what follows from no row is asked again,
        because a package may wait for its recipient's hours.
        """
        return concluded(self.route, self._facts.asked, self._facts.now, self._version, self._law, None)

    def _row(self, present: frozenset[FieldPath], contract: ContractFacts, consents: tuple[Consent, ...] = ()) -> Facts:
        return replace(self._facts, present=present, contract=contract, consents=consents)

    def _jurisdiction_of(self, consent: Consent | None) -> GuardResult:
        abroad_allowed = consent is not None and consent.terms.cross_border
        found = self._jurisdiction.get(abroad_allowed)
        if found is None:
            found = self._jurisdiction[abroad_allowed] = law.jurisdiction(self.route.recipient.country, consent)
        return found

    def _token_of(self, consent: Consent | None) -> tuple[GuardResult, ...]:
        if not self._wants_token or consent is None:
            return ()
        return (self._tokens[consent.terms.kdp_token is True],)

    def _breach_of(self, contract: ContractFacts) -> GuardResult:
        # Of the days it matters whether there are any; all else that the guard says is the same.
        overdue = None if contract.days_overdue is None else contract.days_overdue > 0
        found = self._breach.get(overdue)
        if found is None:
            found = self._breach[overdue] = law.breach_on_record(self._row(frozenset(), contract))
        return found

    def _present_of(self, present: frozenset[FieldPath]) -> GuardResult:
        if len(self._present) >= REMEMBERED:
            self._present.clear()
        found = self._present[present] = law.fields_present(self.route.operation.needs, present)
        return found

    def _agreeing(self, checked: Checked | None) -> tuple[GuardResult, ...]:
        # As many as there are sets of facts that may differ: few, in the rows of one register.
        found = self._checked.get(checked)
        if found is None:
            found = self._checked[checked] = () if checked is None else (law.facts_agree(checked),)
        return found

    def _configured(
        self, present: frozenset[FieldPath], contract: ContractFacts, consent: Consent | None
    ) -> list[GuardResult]:
        of_consent: Hashable = None
        guards = self._guards
        if consent is not None:
            terms = consent.terms
            of_consent = (
                consent.status(self._facts.now), terms.cross_border, terms.given_at, terms.evidence,
            )  # fmt: skip
        elif self.route.ground is Ground.CONSENT:
            guards = self._without_consent
        values: dict[str, Any] | None = None
        found = []
        for guard in guards:
            key = guard.key(contract)
            if guard.of_consent:
                key = (key, of_consent)
            result = guard.seen.get(key)
            if result is None:
                if values is None:
                    values = values_for(self.route, self._row(present, contract), consent, self._day)
                result = guard.ask(key, values)
            found.append(result)
        return found
