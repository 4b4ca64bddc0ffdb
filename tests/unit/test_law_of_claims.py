"""Guards of law on claims: what a collector and a buyer may be given, on which day, and what is said when not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from harness import ROOT
from qaqpa.config.recipients import Agreement
from qaqpa.gateway import load_setup
from qaqpa.model.decision import Asked, Decision, Result
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import expand
from qaqpa.policy import BulkDecider, Checked, Facts, OnRecord, Policy, Route, decide
from qaqpa.policy.law import agreement_in_force

NOON = datetime(2026, 8, 3, 7, tzinfo=UTC)
"""Noon in Kazakhstan, after the moratorium and after the shipped agreement of cession."""
BUYER, COLLECTOR = RecipientId("demo-cession-buyer"), RecipientId("demo-collector")
COLLECTIONS = CallerId("collections")
ASSIGNMENT = Asked(COLLECTIONS, BUYER, "assignment", "cession")
PREVIEW = Asked(COLLECTIONS, BUYER, "portfolio_preview", "cession")
HANDOVER = Asked(COLLECTIONS, COLLECTOR, "handover", "debt_collection")
CLAIM: dict[str, Any] = {
    "number": "MK-1", "days_overdue": 900, "breach_notified_on": "2024-04-01", "settlement_steps_done": True,
    "restructuring_pending": False, "collector_clause": True, "secured_by_home": False, "remedies_exhausted": True,
    "suit_filed": False, "cession": "ДЦ-1/2026",
}  # fmt: skip


@cache
def policy() -> Policy:
    return load_setup(ROOT / "config", home=ROOT, environ={}).policy


def route(asked: Asked, **recipient: Any) -> Route:
    found = policy().routes[asked]
    return replace(found, recipient=found.recipient.model_copy(update=recipient))


def decided(asked: Asked, now: datetime = NOON, recipient: dict[str, Any] | None = None, **facts: Any) -> Decision:
    contract = ContractFacts.model_validate(CLAIM | facts)
    return decide(
        policy(),
        route(asked, **recipient or {}),
        Facts(now, asked, expand(["identity", "contact", "contract"]), contract),
    )


def blocking(decision: Decision) -> dict[str, str]:
    return {reason.guard: reason.result.value for reason in decision.reasons}


STATE_BANK = {"legal_form": "bank", "state_majority": True}
BANK = {"legal_form": "bank"}
OTHER = {"legal_form": "trading_company"}

CLAIMS: dict[str, tuple[Decision, dict[str, str]]] = {
    "assignment: all is well": (decided(ASSIGNMENT), {}),
    "assignment: not overdue": (
        decided(ASSIGNMENT, days_overdue=0),
        {"breach_on_record": "deny", "days_overdue_positive": "deny", "overdue_24_months_for_agencies": "deny"},
    ),
    "assignment: 730 days": (decided(ASSIGNMENT, days_overdue=730), {"overdue_24_months_for_agencies": "deny"}),
    "assignment: 731 days": (decided(ASSIGNMENT, days_overdue=731), {}),
    "assignment: 730 days, to a bank": (decided(ASSIGNMENT, recipient=BANK, days_overdue=730), {}),
    "assignment: remedies are left": (
        decided(ASSIGNMENT, remedies_exhausted=False), {"remedies_exhausted_for_agencies": "deny"}
    ),
    "assignment: nobody says whether remedies are left": (
        decided(ASSIGNMENT, remedies_exhausted=None), {"remedies_exhausted_for_agencies": "gap"}
    ),
    "assignment: remedies are left, to a bank": (decided(ASSIGNMENT, recipient=BANK, remedies_exhausted=False), {}),
    "assignment: to nobody that the law names": (
        decided(ASSIGNMENT, recipient=OTHER), {"buyer_may_take_claims": "deny"}
    ),
    "assignment: a home secures it": (
        decided(ASSIGNMENT, secured_by_home=True), {"home_loan_to_state_majority": "deny"}
    ),
    "assignment: a home secures it, to a bank": (
        decided(ASSIGNMENT, recipient=BANK, secured_by_home=True), {"home_loan_to_state_majority": "deny"}
    ),
    "assignment: a home secures it, to a bank of the state": (
        decided(ASSIGNMENT, recipient=STATE_BANK, secured_by_home=True), {}
    ),
    "assignment: nobody says whether a home secures it": (
        decided(ASSIGNMENT, secured_by_home=None), {"home_loan_to_state_majority": "gap"}
    ),
    "assignment: no agreement of cession": (decided(ASSIGNMENT, cession=None), {"cession_agreement_signed": "gap"}),
    "assignment: an agreement that is not on record": (
        decided(ASSIGNMENT, cession="ДЦ-2/2026"), {"cession_agreement_signed": "deny"}
    ),
    "assignment: notified 30 days ago": (
        decided(ASSIGNMENT, breach_notified_on="2026-07-04"), {"borrower_notified": "deny"}
    ),
    "assignment: settlement not finished": (
        decided(ASSIGNMENT, settlement_steps_done=False), {"settlement_steps_done": "deny"}
    ),
    "assignment: the borrower asks for new terms": (
        decided(ASSIGNMENT, restructuring_pending=True), {"no_restructuring_pending": "deny"}
    ),
    "assignment: a suit is no bar to it": (decided(ASSIGNMENT, suit_filed=True), {}),
    "preview: before any agreement of cession, and without it": (
        decided(PREVIEW, datetime(2026, 3, 2, 7, tzinfo=UTC), cession=None, remedies_exhausted=None), {}
    ),
    "preview: to nobody that the law names": (decided(PREVIEW, recipient=OTHER), {"buyer_may_take_claims": "deny"}),
    "handover: all is well": (decided(HANDOVER), {}),
    "handover: to an affiliate": (
        decided(HANDOVER, recipient={"affiliated": True}), {"recipient_not_affiliated": "deny"}
    ),
    "handover: a suit is pending": (decided(HANDOVER, suit_filed=True), {"no_suit_pending": "deny"}),
    "handover: nobody says whether a suit is pending": (decided(HANDOVER, suit_filed=None), {"no_suit_pending": "gap"}),
    "handover: no clause in the contract": (
        decided(HANDOVER, collector_clause=False), {"collector_clause_in_contract": "deny"}
    ),
    "handover: on commission, in the moratorium": (decided(HANDOVER, datetime(2026, 3, 2, 7, tzinfo=UTC)), {}),
    "handover: a home secures it": (decided(HANDOVER, secured_by_home=True), {}),
}  # fmt: skip


@pytest.mark.promise(3)
@pytest.mark.parametrize(("decision", "reasons"), CLAIMS.values(), ids=CLAIMS.keys())
def test_every_guard_of_law_that_blocks_is_a_reason(decision: Decision, reasons: dict[str, str]) -> None:
    assert blocking(decision) == reasons
    assert decision.permits is (not reasons)


MIDNIGHT = timedelta(hours=-5)
"""Midnight in Kazakhstan, in UTC."""
DAYS = {
    "the moratorium's last minute": (datetime(2026, 5, 2, tzinfo=UTC) + MIDNIGHT - timedelta(minutes=1), True),
    "the first minute after it": (datetime(2026, 5, 2, tzinfo=UTC) + MIDNIGHT, False),
}


def signed_early(**more: Any) -> dict[str, Any]:
    """The buyer with an agreement of cession of January."""
    cession = policy().recipients[BUYER].cessions[0]
    return {"cessions": (cession.model_copy(update={"signed_on": date(2026, 1, 1)}),)} | more


@pytest.mark.parametrize(("now", "in_moratorium"), DAYS.values(), ids=DAYS.keys())
def test_the_moratorium_ends_at_midnight_in_the_operators_time(now: datetime, in_moratorium: bool) -> None:
    whole = blocking(decided(ASSIGNMENT, now, recipient=signed_early()))
    assert whole == ({"moratorium_on_agencies": "deny"} if in_moratorium else {})
    young = blocking(decided(ASSIGNMENT, now, recipient=signed_early(), days_overdue=100, remedies_exhausted=False))
    after = {"overdue_24_months_for_agencies": "deny", "remedies_exhausted_for_agencies": "deny"}
    assert young == ({"moratorium_on_agencies": "deny"} if in_moratorium else after)
    bank = decided(ASSIGNMENT, now, recipient=signed_early(**BANK), days_overdue=100, remedies_exhausted=False)
    assert bank.permits


@pytest.mark.parametrize(
    ("now", "signed"),
    [
        (datetime(2026, 6, 15, tzinfo=UTC) + MIDNIGHT - timedelta(minutes=1), False),
        (datetime(2026, 6, 15, tzinfo=UTC) + MIDNIGHT, True),
    ],
)
def test_nothing_is_assigned_before_the_day_of_its_agreement(now: datetime, signed: bool) -> None:
    assert blocking(decided(ASSIGNMENT, now)) == ({} if signed else {"cession_agreement_signed": "deny"})


@pytest.mark.parametrize("asked", [ASSIGNMENT, PREVIEW, HANDOVER], ids=lambda asked: asked.operation)
def test_whoever_has_only_agreed_to_keep_a_secret_has_that_agreement_in_force(asked: Asked) -> None:
    ended = policy().routes[asked].recipient.agreement
    assert ended is not None
    gone = {"agreement": ended.model_copy(update={"expires_on": date(2026, 8, 2)})}
    assert blocking(decided(asked, recipient=gone)) == {"agreement_in_force": "deny"}


@pytest.mark.parametrize("recipient", [BUYER, COLLECTOR])
@pytest.mark.parametrize("ended", [False, True])
def test_a_recall_goes_though_nothing_is_overdue_and_the_agreement_has_ended(recipient: str, ended: bool) -> None:
    asked = next(each for each in policy().routes if each.recipient == recipient and each.operation == "recall")
    agreement = policy().recipients[recipient].agreement
    assert agreement is not None
    changed = {"agreement": agreement.model_copy(update={"expires_on": date(2026, 8, 2)})} if ended else {}
    decision = decided(asked, recipient=changed, days_overdue=0)
    assert decision.permits
    assert decision.fields == ("contract.number",)
    in_force = next(guard for guard in decision.guards if guard.guard == "agreement_in_force")
    assert in_force.clause == ("5.5" if ended else "2.3(4)")


def test_no_agreement_at_all_serves_no_recall_either() -> None:
    not_yet = Agreement(number="1", signed_on=date(2026, 8, 4), confidentiality=True)
    for agreement in (None, not_yet):
        assert agreement_in_force(agreement, date(2026, 8, 3), ended_serves=True).result is Result.DENY


@pytest.mark.promise(3)
def test_where_facts_are_to_be_checked_an_unchecked_row_is_a_gap() -> None:
    strict = replace(policy(), facts_of_record=True)
    contract = ContractFacts.model_validate(CLAIM)
    has = expand(["identity", "contact", "contract"])
    for checked, reasons in ((None, {"facts_agree": "gap"}), (Checked(OnRecord.AGREES), {})):
        facts = Facts(NOON, ASSIGNMENT, has, contract, checked=checked)
        assert blocking(decide(strict, route(ASSIGNMENT), facts)) == reasons
        many = BulkDecider(strict, route(ASSIGNMENT), ASSIGNMENT, now=NOON, suspended=False)
        assert blocking(many.decide(has, contract, checked=checked)) == reasons
    recall = next(asked for asked in strict.routes if asked.operation == "recall")
    assert decide(strict, strict.routes[recall], Facts(NOON, recall, has, contract)).permits
    assert [strict.guards_of_law(strict.routes[asked])[-1] for asked in (ASSIGNMENT, recall)] == [
        "facts_agree",
        "fields_present",
    ]


def test_every_guard_cites_its_clause_and_says_in_three_languages_what_to_do() -> None:
    law = {"56-V", "62-VI", "573-II", "94-V"}
    for asked, there in policy().routes.items():
        for guard in there.guards:
            config = guard.config
            assert config.clause in policy().clauses
            assert config.instrument is None or config.instrument.split()[0] in law
            for language in ("ru", "kk", "en"):
                said = config.otherwise.in_language(language)  # type: ignore[arg-type]
                assert ":" in said and said != config.expect.in_language(language), (asked, guard.name)  # type: ignore[arg-type]


def test_the_portfolio_shows_nobody_and_the_assignment_what_is_not_blocked_by_default() -> None:
    shown = policy().routes[PREVIEW].fields
    assert {path.partition(".")[0] for path in shown} <= {"identity", "contact", "contract"}
    assert {path for path, rule in shown.items() if rule.transform is None} == {"contract.currency"}
    assigned = policy().routes[ASSIGNMENT].fields
    blocked = expand(["related", "employment", "bank", "device", "family", "property", "solvency", "report"])
    assert not (blocked | {"contact.email", "identity.document.number"}) & assigned.keys()
