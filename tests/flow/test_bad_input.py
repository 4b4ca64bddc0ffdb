"""What bad input gets: a table of cases, each with result, reason and exit code, through the command line.

Where nothing may leave, the third parties' own call logs must be empty, and so must their listeners: not even a
connection was made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from harness import DEBTOR_FACTS, PEOPLE, House, give_consent, handover_document, request_document
from qaqpa.gateway import Gateway

PERSON = PEOPLE[0]
FCB, COLLECTOR = "recipients/first-credit-bureau.toml", "recipients/demo-collector.toml"
Prepare = Callable[[House, Gateway], Awaitable[None]]


def consents(*changes: dict[str, Any], ago: timedelta = timedelta(0), withdraw: bool | None = None) -> Prepare:
    """Record these consents, given `ago` before now for a year; withdraw the last with duties met or open."""

    async def prepare(house: House, gateway: Gateway) -> None:
        given_at = house.clock() - ago
        dates = {"given_at": given_at.isoformat(), "expires_at": (given_at + timedelta(days=365)).isoformat()}
        for change in changes:
            consent = await give_consent(house, gateway, PERSON, **(dates | change if ago else change))
        if withdraw is not None:
            await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=withdraw)

    return prepare


async def suspended(house: House, gateway: Gateway) -> None:
    await give_consent(house, gateway, PERSON)
    await gateway.suspend("compliance", "first-credit-bureau", person="a.compliance", reason="incident 7")


def report(**changes: Any) -> dict[str, Any]:
    return request_document(PERSON, **changes)


def handover(*, without: str | None = None, **facts: Any) -> dict[str, Any]:
    stated = {key: value for key, value in {**DEBTOR_FACTS, **facts}.items() if key != without}
    return handover_document(PERSON, stated)


def data(**groups: Any) -> dict[str, Any]:
    """The person's data with groups changed; a group given as None is left out."""
    changed = {**PERSON.data, **groups}
    return report(data={name: group for name, group in changed.items() if group is not None})


def wrong_iin() -> dict[str, Any]:
    digit = str((int(PERSON.iin[11]) + 1) % 10)
    return data(identity={**PERSON.data["identity"], "iin": PERSON.iin[:11] + digit})


@dataclass(frozen=True)
class Case:
    """One bad request."""

    request: dict[str, Any] = field(default_factory=report)
    prepare: Prepare = field(default_factory=lambda: consents({}))
    caller: str = "loan-scoring"
    edits: tuple[tuple[str, tuple[str, str]], ...] = ()
    code: str = "denied"
    reason: str = ""
    exit_code: int = 1
    entered: bool = True
    """A refusal entry is in the ledger."""


YEAR = timedelta(days=366)
NO_SURNAME = {key: value for key, value in PERSON.data["identity"].items() if key != "last_name"}
CASES = {
    "no consent": Case(prepare=consents(), reason="consent_absent"),
    "consent expired": Case(prepare=consents({}, ago=YEAR), reason="consent_expired"),
    "consent not yet given": Case(prepare=consents({}, ago=timedelta(minutes=-4)), reason="consent_not_yet_given"),
    "consent withdrawn": Case(prepare=consents({}, withdraw=True), reason="consent_withdrawn"),
    "withdrawal pending and duties met meanwhile": Case(
        request=report(facts={"contract": {"duties_met": True}}),
        prepare=consents({}, withdraw=False),
        reason="consent_withdrawn",
    ),
    "consent for another purpose": Case(
        prepare=consents({"purposes": ["cession"]}), reason="consent_for_other_purpose"
    ),
    "consent for another recipient": Case(
        prepare=consents({"third_parties": ["pension_center", "demo-collector"]}),
        reason="consent_for_other_recipient",
    ),
    "consent to another operator": Case(
        prepare=consents({"operator": {"name": "ТОО «Другая»", "bin": "190540000222"}}),
        reason="consent_for_other_operator",
    ),
    "consent without the field that the route needs": Case(
        prepare=consents({"fields": ["identity.last_name", "contact"]}), reason="consent_without_field"
    ),
    "consent older than the operator allows": Case(
        prepare=consents({"expires_at": None}, ago=timedelta(days=200)), reason="consent_recent"
    ),
    "another person's consent is named": Case(
        request=report(consent="00000000-0000-7000-8000-000000000000"), reason="consent_absent"
    ),
    "recipient abroad, consent without cross-border": Case(
        edits=((FCB, ('country = "KZ"', 'country = "NL"')),), reason="consent_without_cross_border"
    ),
    "agreement expired": Case(
        edits=((FCB, ("expires_on = 2027-12-31", "expires_on = 2025-12-31")),), reason="agreement_in_force"
    ),
    "agreement not yet in force": Case(
        edits=((FCB, ("signed_on = 2025-01-15", "signed_on = 2027-01-15")),), reason="agreement_in_force"
    ),
    "policy not yet in force": Case(
        edits=(("policy/policy.toml", ("from = 2025-01-01", "from = 2036-01-01")),), reason="policy_in_force"
    ),
    "caller not of the route": Case(caller="collections", reason="route_known"),
    "caller unknown": Case(caller="marketing", reason="route_known"),
    "recipient unknown": Case(request=report(recipient="shadow-bureau"), reason="route_known"),
    "operation unknown": Case(request=report(operation="contract_download"), reason="route_known"),
    "purpose of no route": Case(request=report(purpose="service_advertising"), reason="route_known"),
    "recipient suspended": Case(prepare=suspended, reason="recipient_active"),
    "caller lacks the role": Case(caller="compliance", code="not_allowed", reason="disclose", entered=False),
    "IIN with a wrong check digit": Case(
        request=wrong_iin(), code="request_invalid", reason="check digit", exit_code=2, entered=False
    ),
    "unknown field": Case(
        request=data(hobbies={"chess": True}),
        code="request_invalid",
        reason="data.hobbies: unknown field",
        exit_code=2,
        entered=False,
    ),
    "unknown field whose name is personal": Case(
        request=data(**{PERSON.iin: "x"}),
        code="request_invalid",
        reason="data.?: unknown field",
        exit_code=2,
        entered=False,
    ),
    "control character in a name": Case(
        request=data(identity={**PERSON.data["identity"], "last_name": "A\u0000B"}),
        code="request_invalid",
        reason="data.identity.last_name",
        exit_code=2,
        entered=False,
    ),
    "missing required field": Case(
        request=report(operation="debt_burden", data={**PERSON.data, "identity": NO_SURNAME}),
        code="gap",
        reason="identity.last_name",
        exit_code=3,
    ),
    "guard that divides by zero": Case(
        request=report(facts={"contract": {"days_overdue": 0}}),
        edits=(("policy/guards.toml", ("\"recipient.kind == 'credit_bureau'\"", '"10 / contract.days_overdue > 1"')),),
        code="gap",
        reason="recipient_is_credit_bureau",
        exit_code=3,
    ),
    "no breach on record": Case(
        request=handover(days_overdue=0), caller="collections", prepare=consents(), reason="breach_on_record"
    ),
    "breach not stated": Case(
        request=handover(without="days_overdue"),
        caller="collections",
        prepare=consents(),
        code="gap",
        reason="contract.days_overdue",
        exit_code=3,
    ),
    "stated fact missing": Case(
        request=handover(without="settlement_steps_done"),
        caller="collections",
        prepare=consents(),
        code="gap",
        reason="contract.settlement_steps_done",
        exit_code=3,
    ),
    "deny outweighs gap": Case(
        request=handover(without="settlement_steps_done", collector_clause=False),
        caller="collections",
        prepare=consents(),
        reason="collector_clause_in_contract",
    ),
    "a fact nobody may state": Case(
        request=report(facts={"consent": {"covers": True}}),
        code="request_invalid",
        reason="facts.consent: unknown field",
        exit_code=2,
        entered=False,
    ),
    "not configured": Case(
        edits=((FCB, ('password = "env:QAQPA_FCB_PASSWORD"', 'password = "env:QAQPA_FCB_NOWHERE"')),),
        code="not_configured",
        reason="qaqpa check",
        exit_code=2,
        entered=False,
    ),
}


@pytest.mark.promise(3)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_nothing_leaves(house: House, case: Case) -> None:
    for file, replacement in case.edits:
        house.edit(file, replacement)
    async with house.gateway() as gateway:
        await case.prepare(house, gateway)
        before = sum(entry["kind"] != "policy" for entry in house.entries(gateway))

    ran = await house.cli("disclose", house.write("request.json", case.request), "--caller", case.caller, "--json")

    assert (ran.json["code"], ran.code) == (case.code, case.exit_code), ran.out
    said = [
        found
        for reason in ran.json.get("reasons", [])
        for found in (reason["guard"], *reason.get("findings", ()), *reason.get("missing", ()))
    ]
    assert case.reason in said or case.reason in ran.json["detail"], ran.out
    assert PERSON.iin not in ran.out + ran.err
    assert house.fcb.calls == [] and house.collector.calls == []
    assert house.fcb.connections == 0 and house.collector.connections == 0
    async with house.gateway() as gateway:
        after = [entry for entry in house.entries(gateway) if entry["kind"] != "policy"]
        refusals = [entry for entry in after[before:] if entry["kind"] == "refusal"]
        assert len(refusals) == (1 if case.entered else 0)
        assert len(after) == before + len(refusals)
        house.verified(gateway)


async def test_gap_and_deny_are_told_apart_by_exit_code_and_words_for_people(house: House) -> None:
    path = house.write("request.json", handover(without="days_overdue"))
    ran = await house.cli("disclose", path, "--caller", "collections")
    assert ran.code == 3
    assert "gap: nothing left. Refusal" in ran.err
    assert "State it and ask again" in ran.err


async def test_a_made_up_name_is_not_repeated_in_the_ledger(house: House) -> None:
    ran = await house.cli(
        "disclose", house.write("r.json", report(recipient="ivanov-ivan")), "--caller", "loan-scoring", "--json"
    )
    assert ran.code == 1
    async with house.gateway() as gateway:
        refusal = house.entries(gateway, "refusal")[0]
    assert refusal["recipient"] == "unknown"
    assert "ivanov" not in str(refusal)


async def test_a_pending_withdrawal_still_permits_and_says_so(house: House) -> None:
    async with house.gateway() as gateway:
        await consents({}, withdraw=False)(house, gateway)
    ran = await house.cli("disclose", house.write("r.json", report()), "--caller", "loan-scoring", "--json")
    assert ran.code == 0, ran.out
    notes = ran.json["decision"]["notes"]
    assert [note["clause"] for note in notes] == ["7.1(3)"]
    assert "until the contract's duties are met" in notes[0]["message"]


async def test_of_two_covering_consents_the_newest_counts(house: House) -> None:
    now = house.clock()
    async with house.gateway() as gateway:
        older = await give_consent(house, gateway, PERSON, given_at=(now - timedelta(days=30)).isoformat())
        newer = await give_consent(house, gateway, PERSON, given_at=(now - timedelta(days=2)).isoformat())
        # The newest of all covers nothing that is asked for, so it does not count.
        await give_consent(house, gateway, PERSON, given_at=now.isoformat(), purposes=["cession"])
    ran = await house.cli("disclose", house.write("r.json", report()), "--caller", "loan-scoring", "--json")
    assert ran.json["decision"]["consent"] == newer.id != older.id


async def test_a_consent_dated_in_the_future_is_not_recorded(house: House) -> None:
    from harness import consent_document

    given_at = (house.clock() + timedelta(hours=1)).isoformat()
    path = house.write("consent.json", consent_document(PERSON, house.clock(), given_at=given_at))
    ran = await house.cli("consent", "record", path, "--caller", "loan-scoring")
    assert ran.code == 2
    assert "record a consent when it has been given" in ran.err


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"recipient": NaN}', "\ufeff{}", '{"data":' + "[" * 3000])
async def test_a_document_that_is_no_request(house: House, text: str) -> None:
    ran = await house.cli("disclose", "-", "--caller", "loan-scoring", "--json", stdin=text)
    assert (ran.json["code"], ran.code) == ("request_invalid", 2)
