"""The decision as a pure function: what each fact does to it, and that nothing passes by default."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qaqpa.config.models import GuardConfig, PolicyVersion
from qaqpa.config.recipients import Agreement
from qaqpa.gateway import load_setup
from qaqpa.model.consent import Consent, ConsentTerms, Need
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.identifiers import CallerId, ConsentId, RecipientId, SubjectId
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath, expand
from qaqpa.model.words import Ground, Words
from qaqpa.policy import Facts, Policy, Route, decide
from qaqpa.policy.guards import compile_guard
from qaqpa.policy.law import agreement_in_force, names_for

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MICRO = timedelta(microseconds=1)
OPERATOR_BIN, OTHER_BIN = "230340000017", "190540000222"
WORDS = Words(ru="да", kk="иә", en="yes")
REPORT = Asked(CallerId("loan-scoring"), RecipientId("first-credit-bureau"), "credit_report", "application_review")
PENSION = Asked(CallerId("loan-scoring"), RecipientId("pension-center"), "contributions", "application_review")
HANDOVER = Asked(CallerId("collections"), RecipientId("demo-collector"), "handover", "debt_collection")


@cache
def policy() -> Policy:
    return load_setup(ROOT / "config", home=ROOT, environ={}).policy


def route(asked: Asked) -> Route:
    found = policy().find(asked)
    assert found is not None
    return found


def consent(number: int = 1, *, asked_to_withdraw: bool = False, withdrawn: bool = False, **changes: Any) -> Consent:
    terms = {
        "operator_bin": changes.pop("bin", OPERATOR_BIN),
        "given_at": NOW - DAY,
        "expires_at": NOW + DAY,
        "purposes": ["application_review"],
        "third_parties": ["credit_bureau"],
        "cross_border": False,
        "publication": False,
        "fields": ["identity"],
        "policy": "2025-01",
    } | changes
    return Consent(
        ConsentId(f"00000000-0000-7000-8000-{number:012}"),
        SubjectId("s"),
        ConsentTerms.model_validate(terms),
        withdrawal_asked_at=NOW - timedelta(hours=2) if asked_to_withdraw or withdrawn else None,
        withdrawn_at=NOW - timedelta(hours=1) if withdrawn else None,
    )


NEED = Need("application_review", "first-credit-bureau", "credit_bureau", abroad=False, operator_bin=OPERATOR_BIN,
            fields=frozenset({FieldPath("identity.iin"), FieldPath("identity.last_name")}))  # fmt: skip
BREACH = ContractFacts(
    days_overdue=95,
    breach_notified_on=(NOW - 60 * DAY).date(),
    settlement_steps_done=True,
    restructuring_pending=False,
    collector_clause=True,
    suit_filed=False,
)
ALL_FIELDS = expand(["identity", "contact", "contract"])


def facts(asked: Asked = REPORT, **changes: Any) -> Facts:
    """Facts that every guard of the route permits."""
    contract = BREACH if asked == HANDOVER else ContractFacts()
    consents = (consent(),) if asked == REPORT else ()
    return replace(Facts(NOW, asked, ALL_FIELDS, contract, consents), **changes)


def breach(**changes: Any) -> ContractFacts:
    return BREACH.model_copy(update=changes)


def blocking(decision: Decision) -> set[tuple[str, str]]:
    return {(reason.guard, reason.result.value) for reason in decision.reasons}


# --- a matrix of facts -----------------------------------------------------------------------------

MATRIX: dict[str, tuple[Facts, set[tuple[str, str]]]] = {
    "report: all is well": (facts(), set()),
    "report: no consent": (facts(consents=()), {("consent_covers", "deny")}),
    "report: suspended": (facts(suspended=True), {("recipient_active", "deny")}),
    "report: no IIN": (facts(present=frozenset()), {("fields_present", "gap")}),
    "report: no IIN and suspended": (
        facts(present=frozenset(), suspended=True), {("fields_present", "gap"), ("recipient_active", "deny")}
    ),
    "report: consent of 181 days ago": (
        facts(consents=(consent(given_at=NOW - 181 * DAY),)), {("consent_recent", "deny")}
    ),
    "report: consent of 180 days ago": (facts(consents=(consent(given_at=NOW - 180 * DAY),)), set()),
    "pension: a consent through the state's service": (
        facts(PENSION, consents=(consent(third_parties=["pension_center"], evidence="kdp", kdp_token=True),)), set()
    ),
    "pension: such a consent, and its token is not on record": (
        facts(PENSION, consents=(consent(third_parties=["pension_center"], evidence="kdp"),)),
        {("consent_by_kdp", "gap")},
    ),
    "pension: a consent of another kind": (
        facts(PENSION, consents=(consent(third_parties=["pension_center"], evidence="otp"),)),
        {("consent_by_kdp", "deny")},
    ),
    "pension: a consent of which nobody knows how it was given": (
        facts(PENSION, consents=(consent(third_parties=["pension_center"]),)), {("consent_by_kdp", "gap")}
    ),
    "report: before the policy": (
        facts(now=datetime(2024, 12, 31, 12, tzinfo=UTC)),
        {("policy_in_force", "deny"), ("agreement_in_force", "deny"), ("consent_covers", "deny")},
    ),
    "report: after the agreement": (
        facts(now=datetime(2028, 1, 1, tzinfo=UTC), consents=(consent(expires_at=None, given_at=NOW + 660 * DAY),)),
        {("agreement_in_force", "deny")},
    ),
    "handover: all is well": (facts(HANDOVER), set()),
    "handover: a consent makes no difference": (facts(HANDOVER, consents=(consent(),)), set()),
    "handover: not overdue": (
        facts(HANDOVER, contract=breach(days_overdue=0)),
        {("breach_on_record", "deny"), ("days_overdue_positive", "deny")},
    ),
    "handover: overdue not stated": (
        facts(HANDOVER, contract=breach(days_overdue=None)),
        {("breach_on_record", "gap"), ("days_overdue_positive", "gap")},
    ),
    "handover: notified 31 days ago": (facts(HANDOVER, contract=breach(breach_notified_on=date(2026, 1, 30))), set()),
    "handover: notified 30 days ago": (
        facts(HANDOVER, contract=breach(breach_notified_on=date(2026, 1, 31))), {("borrower_notified", "deny")}
    ),
    "handover: restructuring pending": (
        facts(HANDOVER, contract=breach(restructuring_pending=True)), {("no_restructuring_pending", "deny")}
    ),
    "handover: nothing stated": (
        facts(HANDOVER, contract=ContractFacts()),
        {(guard, "gap") for guard in ("breach_on_record", "days_overdue_positive", "borrower_notified",
         "settlement_steps_done", "no_restructuring_pending", "collector_clause_in_contract", "no_suit_pending")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_facts", "reasons"), MATRIX.values(), ids=MATRIX.keys())
def test_every_guard_that_blocks_is_a_reason(given_facts: Facts, reasons: set[tuple[str, str]]) -> None:
    decision = decide(policy(), route(given_facts.asked), given_facts)
    assert blocking(decision) == reasons
    assert decision.permits is (not reasons)
    assert decision.result is (
        Result.PERMIT if not reasons else Result.DENY if "deny" in dict(reasons).values() else Result.GAP
    )


@pytest.mark.parametrize("asked", list(policy().routes), ids=lambda asked: asked.operation)
@pytest.mark.parametrize("guards", ["shipped", "none"])
@pytest.mark.parametrize("ground", Ground)
def test_laws_guards_are_on_every_route_whatever_the_configuration(asked: Asked, guards: str, ground: Ground) -> None:
    changed = replace(route(asked), ground=ground)
    changed = replace(changed, guards=()) if guards == "none" else changed
    decision = decide(policy(), changed, facts(asked))
    names = tuple(guard.guard for guard in decision.guards)
    assert names[:7] == names_for(ground)
    clauses = policy().clauses
    assert all(guard.clause in clauses for guard in decision.guards)


def test_without_a_route_the_decision_is_deny_and_says_so() -> None:
    decision = decide(policy(), None, facts())
    assert decision.result is Result.DENY
    assert blocking(decision) == {("route_known", "deny")}
    assert (decision.fields, decision.clauses, decision.ground) == ((), (), None)


@pytest.mark.parametrize("country", ["NL", "RU", "kz", ""])
@pytest.mark.parametrize("asked", [REPORT, HANDOVER], ids=["consent", "legal_protection"])
def test_across_the_border_only_a_consent_that_allows_it_leads(country: str, asked: Asked) -> None:
    there = route(asked)
    abroad = replace(there, recipient=there.recipient.model_copy(update={"country": country}))
    assert ("jurisdiction", "deny") in blocking(decide(policy(), abroad, facts(asked)))
    allowing = facts(asked, consents=(consent(cross_border=True),))
    assert decide(policy(), abroad, allowing).permits is (asked is REPORT)


# --- what passes by default ------------------------------------------------------------------------


def said(result: Any) -> GuardResult:
    return GuardResult("g", "2.3(1)", WORDS, result)


RESULTS = {
    "nothing was checked": ((), Result.DENY),
    "permit": ((Result.PERMIT,), Result.PERMIT),
    "gap": ((Result.GAP,), Result.GAP),
    "gap among permits": ((Result.PERMIT, Result.GAP, Result.PERMIT), Result.GAP),
    "deny outweighs gap": ((Result.GAP, Result.DENY, Result.PERMIT), Result.DENY),
    "deny first": ((Result.DENY, Result.GAP), Result.DENY),
    "what is no result at all": ((None,), Result.DENY),
    "what is no result among permits": ((Result.PERMIT, True), Result.DENY),
}


@pytest.mark.parametrize(("results", "result"), RESULTS.values(), ids=RESULTS.keys())
def test_a_decision_permits_only_if_every_guard_does(results: tuple[Any, ...], result: Result) -> None:
    decision = Decision(REPORT, NOW, tuple(said(each) for each in results))
    assert (decision.result, decision.permits) == (result, result is Result.PERMIT)


def test_the_zero_value_is_deny_everywhere() -> None:
    assert next(iter(Result)) is Result.DENY
    assert GuardResult("g", "2.3(1)", WORDS).result is Result.DENY
    assert Decision(REPORT, NOW, ()).result is Result.DENY


# --- guards of the configuration -------------------------------------------------------------------


def with_guard(when: str, asked: Asked = REPORT, **dates: Any) -> Route:
    document = {"when": when, "clause": "3.2", "expect": WORDS, "otherwise": WORDS} | dates
    return replace(route(asked), guards=(compile_guard("extra", GuardConfig.model_validate(document)),))


def extra(when: str, given_facts: Facts, **dates: Any) -> GuardResult | None:
    decision = decide(policy(), with_guard(when, given_facts.asked, **dates), given_facts)
    return next((guard for guard in decision.guards if guard.guard == "extra"), None)


INSTANTS = {
    "a minute before midnight in Kazakhstan": (datetime(2026, 3, 9, 18, 59, tzinfo=UTC), date(2026, 3, 9)),
    "midnight in Kazakhstan, still the day before in UTC": (datetime(2026, 3, 9, 19, 0, tzinfo=UTC), date(2026, 3, 10)),
    "the last minute of the day there": (datetime(2026, 3, 10, 18, 59, 59, tzinfo=UTC), date(2026, 3, 10)),
    "tomorrow there, today in UTC": (datetime(2026, 3, 10, 19, 0, tzinfo=UTC), date(2026, 3, 11)),
}


@pytest.mark.parametrize(("instant", "day"), INSTANTS.values(), ids=INSTANTS.keys())
def test_a_guard_holds_from_its_first_day_to_its_last_in_the_operators_time(instant: datetime, day: date) -> None:
    at = facts(now=instant)
    march_10 = date(2026, 3, 10)
    assert (extra("false", at, **{"from": march_10}) is not None) is (day >= march_10)
    assert (extra("false", at, until=march_10) is not None) is (day <= march_10)
    assert (extra("false", at, **{"from": march_10}, until=march_10) is not None) is (day == march_10)


@pytest.mark.parametrize(
    ("day", "in_force"),
    [
        (date(2025, 1, 14), False),
        (date(2025, 1, 15), True),  # the day on which it was signed
        (date(2027, 12, 31), True),  # its last day
        (date(2028, 1, 1), False),
    ],
)
def test_an_agreement_holds_from_its_first_day_to_its_last(day: date, in_force: bool) -> None:
    agreement = Agreement(number="1", signed_on=date(2025, 1, 15), expires_on=date(2027, 12, 31), confidentiality=True)
    assert (agreement_in_force(agreement, day).result is Result.PERMIT) is in_force
    assert agreement_in_force(None, day).result is Result.DENY


def test_an_agreement_without_an_end_goes_on() -> None:
    agreement = Agreement(number="1", signed_on=date(2025, 1, 15), confidentiality=True)
    assert agreement_in_force(agreement, date(2099, 1, 1)).result is Result.PERMIT


@pytest.mark.parametrize(("instant", "day"), INSTANTS.values(), ids=INSTANTS.keys())
def test_the_days_left_of_an_agreement_are_counted_in_the_operators_time(instant: datetime, day: date) -> None:
    left = (date(2027, 12, 31) - day).days
    found = extra(f"recipient.agreement_days_left == {left}", facts(now=instant))
    assert found is not None
    assert found.result is Result.PERMIT


@pytest.mark.parametrize(("instant", "day"), INSTANTS.values(), ids=INSTANTS.keys())
def test_the_version_of_the_policy_is_that_of_the_day(instant: datetime, day: date) -> None:
    next_one = PolicyVersion.model_validate(
        {"id": "2026-03", "from": date(2026, 3, 10), "sha256": "0" * 64, "title": WORDS}
    )
    changed = replace(policy(), versions=(*policy().versions, next_one))
    decision = decide(changed, route(REPORT), facts(now=instant))
    assert decision.policy == ("2026-03" if day >= date(2026, 3, 10) else "2025-01")


ABSENT = {
    "a comparison": ("contract.days_overdue > 0", "contract.days_overdue"),
    "a method of it": ("contract.number.startsWith('MK')", "contract.number"),
    "beside an or that holds": ("contract.days_overdue > 0 || recipient.kind != ''", "contract.days_overdue"),
    "negated, beside an or": ("!contract.restructuring_pending || true", "contract.restructuring_pending"),
    "written with spaces": ("contract . days_overdue > 0", "contract.days_overdue"),
    "in a conditional": ("contract.duties_met ? true : true", "contract.duties_met"),
}  # fmt: skip


@pytest.mark.promise(3)
@pytest.mark.parametrize(("when", "missing"), ABSENT.values(), ids=ABSENT.keys())
def test_a_guard_whose_fact_is_absent_is_a_gap_that_names_it(when: str, missing: str) -> None:
    found = extra(when, facts())
    assert found is not None and (found.result, found.missing) == (Result.GAP, (missing,))
    assert missing in found.message.en


@pytest.mark.parametrize(
    "when",
    [
        "10 / contract.days_overdue > 1",
        "contract.number.matches('(')",
        "contract.days_overdue + 9223372036854775807 > 0",
    ],
)
def test_a_guard_that_errs_is_a_gap(when: str) -> None:
    stated = ContractFacts(days_overdue=0 if "/" in when else 5, number="MK-1")
    found = extra(when, facts(contract=stated))
    assert found is not None and (found.result, found.missing) == (Result.GAP, ())


def test_a_text_that_looks_like_a_fact_is_none() -> None:
    found = extra("recipient.kind != 'contract.number'", facts())
    assert found is not None and found.result is Result.PERMIT


@pytest.mark.parametrize("when", ["consent.cross_border", "consent.given_at.getFullYear() == 2026"])
def test_where_no_consent_covers_the_guards_about_it_do_not_repeat_that(when: str) -> None:
    assert blocking(decide(policy(), with_guard(when), facts(consents=()))) == {("consent_covers", "deny")}


# --- promise 3 -------------------------------------------------------------------------------------

FLAW = {
    "bin": OTHER_BIN, "expires_at": NOW, "given_at": NOW + MICRO, "purposes": ["cession"], "fields": ["bank"],
    "third_parties": ["collector"], "withdrawn": True,
}  # fmt: skip
FLAWED = st.lists(st.sampled_from(sorted(FLAW)), unique=True).map(lambda names: {name: FLAW[name] for name in names})
CONTRACTS = st.builds(
    ContractFacts,
    days_overdue=st.none() | st.integers(0, 400),
    breach_notified_on=st.none() | st.dates(date(2025, 1, 1), date(2026, 6, 1)),
    settlement_steps_done=st.none() | st.booleans(),
    restructuring_pending=st.none() | st.booleans(),
    collector_clause=st.none() | st.booleans(),
    duties_met=st.none() | st.booleans(),
)


@pytest.mark.promise(3)
@settings(max_examples=300, deadline=None)
@given(
    asked=st.sampled_from([REPORT, HANDOVER]),
    flaws=st.lists(FLAWED, max_size=3),
    contract=CONTRACTS | st.just(BREACH),
    present=st.sets(st.sampled_from(sorted(ALL_FIELDS))) | st.just(ALL_FIELDS),
    suspended=st.booleans(),
    guarded=st.booleans(),
)
def test_no_combination_of_facts_permits_what_one_of_them_forbids(
    asked: Asked,
    flaws: list[dict[str, Any]],
    contract: ContractFacts,
    present: set[Any],
    suspended: bool,
    guarded: bool,
) -> None:
    consents = tuple(consent(number, **flaw) for number, flaw in enumerate(flaws))
    there = route(asked) if guarded else replace(route(asked), guards=())
    given_facts = Facts(NOW, asked, frozenset(present), contract, consents, suspended)
    decision = decide(policy(), there, given_facts)
    ground_holds = any(not flaw for flaw in flaws) if asked is REPORT else bool(contract.days_overdue)
    law_permits = ground_holds and not suspended and there.operation.needs <= present
    assert law_permits or not decision.permits
    assert guarded or decision.permits is law_permits
    assert not decision.permits or asked is HANDOVER or decision.consent in {each.id for each in consents}
