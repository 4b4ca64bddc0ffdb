"""A draft beside the policy in force: what differs, what is told of it, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_policy import HANDOVER, MATRIX, NOW, REPORT, WORDS, breach, consent, facts, policy, route

from harness import ROOT
from qaqpa.config.models import GuardConfig
from qaqpa.config.recipients import FieldRule
from qaqpa.gateway.setup import Drafted
from qaqpa.gateway.shadow import ShadowPolicy
from qaqpa.model.decision import Asked, Reason, Result, Shadow
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy import Facts, Policy, decide, shadow_of
from qaqpa.policy import replay as replaying
from qaqpa.policy.facts import VARIABLES
from qaqpa.policy.guards import compile_guard
from qaqpa.policy.replay import TOLD, Recorded, Replayed, replay
from qaqpa.policy.shadow import LARGEST

IIN, MOBILE, ADDRESS = (FieldPath(path) for path in ("identity.iin", "contact.mobile", "contact.registered_address"))


def draft(asked: Asked = HANDOVER, **changes: Any) -> Policy:
    """The shipped policy with one route changed."""
    return replace(policy(), routes={**policy().routes, asked: replace(route(asked), **changes)})


def with_guard(when: str, asked: Asked = HANDOVER, name: str = "extra") -> Policy:
    config = GuardConfig(when=when, clause="2.3(3)", expect=WORDS, otherwise=WORDS)
    return draft(asked, guards=(*route(asked).guards, compile_guard(name, config)))


def without_guard(name: str, asked: Asked = HANDOVER) -> Policy:
    return draft(asked, guards=tuple(guard for guard in route(asked).guards if guard.name != name))


def with_field(path: FieldPath, **rule: Any) -> Policy:
    return draft(fields={**route(HANDOVER).fields, path: FieldRule.model_validate({"path": path, **rule})})


def without_field(path: FieldPath) -> Policy:
    return draft(fields={each: rule for each, rule in route(HANDOVER).fields.items() if each != path})


def shadowed(other: Policy, known: Facts) -> Shadow | None:
    found = policy().find(known.asked)
    return shadow_of(decide(policy(), found, known), found, known, other, "digest")


EMAIL = FieldPath("contact.email")
SENT = frozenset(route(HANDOVER).fields)
STRICT = Reason("extra", "2.3(3)", Result.DENY)
OVERDUE = breach(days_overdue=0)
STATES: dict[str, tuple[Policy, Facts, Shadow | None]] = {
    "stricter": (
        with_guard("contract.days_overdue > 100"), facts(HANDOVER),
        Shadow("digest", Result.DENY, (STRICT,), removed=tuple(sorted(SENT))),
    ),
    "stricter, and it does not matter here": (with_guard("contract.days_overdue > 90"), facts(HANDOVER), None),
    "a fact that was not stated": (
        with_guard("contract.secured_by_home"), facts(HANDOVER),
        Shadow("digest", Result.GAP, (replace(STRICT, result=Result.GAP),), removed=tuple(sorted(SENT))),
    ),
    "looser": (
        without_guard("settlement_steps_done"), facts(HANDOVER, contract=breach(settlement_steps_done=False)),
        Shadow("digest", Result.PERMIT, added=tuple(sorted(SENT))),
    ),
    "another reason": (
        with_guard("contract.days_overdue > 100"), facts(HANDOVER, contract=breach(settlement_steps_done=False)),
        Shadow("digest", Result.DENY, (STRICT, Reason("settlement_steps_done", "2.3(3)", Result.DENY))),
    ),
    "a field more": (with_field(EMAIL), facts(HANDOVER), Shadow("digest", Result.PERMIT, added=(EMAIL,))),
    "a field more that nobody handed in": (with_field(EMAIL), facts(HANDOVER, present=SENT), None),
    "a field less": (without_field(MOBILE), facts(HANDOVER), Shadow("digest", Result.PERMIT, removed=(MOBILE,))),
    "a field masked": (
        with_field(MOBILE, **{"as": "mask"}), facts(HANDOVER), Shadow("digest", Result.PERMIT, changed=(MOBILE,))
    ),
    "no route any more": (
        replace(policy(), routes={}), facts(HANDOVER),
        Shadow("digest", Result.DENY, (Reason("route_known", "3.4(2)", Result.DENY),), removed=tuple(sorted(SENT))),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("other", "known", "expected"), STATES.values(), ids=STATES)
def test_what_differs_is_noted_by_name(other: Policy, known: Facts, expected: Shadow | None) -> None:
    assert shadowed(other, known) == expected


@pytest.mark.parametrize("case", MATRIX)
def test_the_policy_in_force_differs_from_itself_nowhere(case: str) -> None:
    assert shadowed(policy(), MATRIX[case][0]) is None


def test_a_route_that_is_new_in_the_draft_would_permit() -> None:
    asked = replace(HANDOVER, purpose="rights_protection")
    other = replace(policy(), routes={asked: route(HANDOVER)})
    found = shadowed(other, replace(facts(HANDOVER), asked=asked))
    assert found == Shadow("digest", Result.PERMIT, added=tuple(sorted(SENT)))


def test_no_draft_makes_an_entry_too_large() -> None:
    many = tuple(compile_guard(f"extra-{number}", GuardConfig(
        when="false", clause="2.3(3)", expect=WORDS, otherwise=WORDS)) for number in range(LARGEST + 9))  # fmt: skip
    found = shadowed(draft(guards=many), facts(HANDOVER))
    assert found is not None and len(found.reasons) == LARGEST


# --- beside the flow ---------------------------------------------------------------------------------


def beside(other: Policy | None) -> ShadowPolicy:
    return ShadowPolicy(Drafted(ROOT / "draft", "digest", other, ()))


def test_the_decision_is_the_same_but_for_the_note() -> None:
    known = facts(HANDOVER)
    decision = decide(policy(), route(HANDOVER), known)
    shadow = beside(with_guard("contract.days_overdue > 100"))
    noted = shadow(decision, route(HANDOVER), known)
    assert noted.shadow is not None and replace(noted, shadow=None) == decision
    assert noted.permits and shadow.differences == 1


@pytest.mark.parametrize("other", [None, policy()], ids=["none that works", "one that agrees"])
def test_without_a_difference_the_decision_is_the_very_same(other: Policy | None) -> None:
    decision = decide(policy(), route(HANDOVER), facts(HANDOVER))
    assert beside(other)(decision, route(HANDOVER), facts(HANDOVER)) is decision
    assert ShadowPolicy(None)(decision, route(HANDOVER), facts(HANDOVER)) is decision


def test_a_draft_that_raises_is_counted_by_type_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(dict[Asked, Any]):
        def get(self, *_given: Any) -> Any:
            raise ArithmeticError("900101300017")

    decision = decide(policy(), route(HANDOVER), facts(HANDOVER))
    shadow = beside(replace(policy(), routes=Broken()))
    for _ in range(3):
        assert shadow(decision, route(HANDOVER), facts(HANDOVER)) is decision
    assert shadow.failures == {"ArithmeticError": 3}
    said = capsys.readouterr()
    assert "900101300017" not in said.out + said.err


# --- replayed ----------------------------------------------------------------------------------------


def recorded(known: Facts, **changes: Any) -> Recorded:
    """What the ledger tells of the decision on `known` under the shipped policy."""
    found = policy().find(known.asked)
    decision = decide(policy(), found, known)
    left = known.present & frozenset(found.fields) if found is not None and decision.permits else frozenset()
    suspended = any(reason.guard == "recipient_active" for reason in decision.blocking)
    then = Recorded(
        decision.result, frozenset(decision.blocking), replace(known, suspended=suspended), left, names_kept=True,
        consents_told=True, in_force=policy(),
    )  # fmt: skip
    return replace(then, **changes)


@pytest.mark.parametrize("same_config", [True, False])
@pytest.mark.parametrize("case", MATRIX)
def test_replayed_under_itself_nothing_changes(case: str, same_config: bool) -> None:
    then = recorded(MATRIX[case][0], in_force=policy() if same_config else None)
    found = replay(policy(), then)
    assert (found.differs, found.cannot_be_told, found.new) == (False, False, then.result)


@pytest.mark.parametrize(("other", "known", "expected"), STATES.values(), ids=STATES)
def test_a_replay_says_what_the_shadow_said(other: Policy, known: Facts, expected: Shadow | None) -> None:
    found = replay(other, recorded(known))
    assert found.differs == (expected is not None)
    if expected is not None:
        assert (found.new, found.added, found.removed, found.changed) == (
            expected.result, expected.added, expected.removed, expected.changed,
        )  # fmt: skip
        then = decide(policy(), policy().find(known.asked), known).blocking
        assert set(found.appear) == set(expected.reasons) - set(then)
        assert set(found.vanish) == set(then) - set(expected.reasons)


def test_every_variable_of_guards_is_told_by_the_ledger_so_far() -> None:
    assert VARIABLES.keys() == TOLD


def test_a_guard_on_what_the_ledger_does_not_keep_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "TOLD", TOLD - {"contract.number"})
    other = with_guard("contract.number.startsWith('MK')")
    found = replay(other, recorded(facts(HANDOVER, contract=breach(number="XX-1"))))
    assert found == Replayed(Result.PERMIT, untold=("contract.number",))
    assert (found.differs, found.cannot_be_told) == (False, True)


def test_one_deny_outweighs_what_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "TOLD", TOLD - {"contract.number"})
    then = recorded(facts(HANDOVER, contract=OVERDUE))
    found = replay(with_guard("contract.number == 'MK-1'"), then)
    assert (found.new, found.differs, found.cannot_be_told) == (Result.DENY, False, False)


UNKNOWN = {
    "a recipient that the draft knows anew": ({"recipient": "unknown"}, {"recipient": "demo-buyer"}, True),
    "a purpose that the draft knows anew": ({"purpose": "unknown"}, {"purpose": "brand_new"}, True),
    "a recipient nobody knows": ({"recipient": "unknown"}, {}, False),
    "an operation nobody knows": ({"operation": "unknown"}, {}, False),
}


@pytest.mark.parametrize(("asked", "anew", "expected"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_name_that_was_not_kept_may_be_one_of_the_draft(
    asked: dict[str, str], anew: dict[str, Any], expected: bool
) -> None:
    routes = {**policy().routes, **({replace(HANDOVER, **anew): route(HANDOVER)} if anew else {})}
    then = recorded(replace(facts(HANDOVER), asked=replace(HANDOVER, **asked)))
    found = replay(replace(policy(), routes=routes), then)
    assert (found.cannot_be_told, found.differs) == (expected, False)
    # Of another configuration it is not on record which names it knew.
    assert replay(policy(), replace(then, in_force=None)).cannot_be_told


def test_a_consent_that_may_have_been_named_cannot_be_told() -> None:
    both = (consent(1), consent(2, given_at=NOW))
    then = recorded(facts(REPORT, consents=both), consents_told=False)
    found = replay(policy(), then)
    assert found.untold == ("consent named",) and found.cannot_be_told
    suspended = recorded(facts(REPORT, consents=both, suspended=True), consents_told=False)
    assert replay(policy(), suspended).new is Result.DENY


def test_fields_that_are_not_on_record_cannot_be_told() -> None:
    then = recorded(facts(REPORT, suspended=True), names_kept=False)
    assert replay(policy(), then).new is Result.DENY
    open_again = replace(then, facts=replace(then.facts, suspended=False))
    assert replay(policy(), open_again) == Replayed(Result.DENY, untold=("fields handed in",))


def test_whether_an_address_is_read_cannot_be_told_from_its_name() -> None:
    other = with_field(ADDRESS, **{"as": "region_of"})
    found = replay(other, recorded(facts(HANDOVER)))
    assert (found.untold, found.differs, found.cannot_be_told) == ((f"value of {ADDRESS}",), False, True)
    # Under the same rule it did what it would do, though the value was withheld.
    then = recorded(facts(HANDOVER), in_force=other, fields=SENT - {ADDRESS})
    assert replay(other, then) == Replayed(Result.PERMIT, Result.PERMIT)


def test_names_that_say_unknown_are_those_of_policy_known() -> None:
    asked = policy().known(Asked(CallerId("x"), RecipientId("x"), "x", "x"))
    assert {asked.caller, asked.recipient, asked.operation, asked.purpose} == {replaying.UNKNOWN}
