"""One disclosure, whole: from a caller's request over real sockets to the third party and back, and into the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta

import pytest
from lxml import etree

from harness import DEBTOR_FACTS, PEOPLE, House, give_consent, handover_document, request, request_document
from qaqpa.errors import Denied, NotAllowed
from qaqpa.ledger.read import entries_of
from qaqpa.minimise import present
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.faults import Fault

PERSON = PEOPLE[0]
OPERATIONS = {
    "credit_report": {"existing_contracts", "contracts", "queries_30_days"},
    "score": {"score", "risk_grade"},
    "debt_burden": {"debt_burden", "monthly_debt", "monthly_income"},
}


@pytest.mark.parametrize(("operation", "answered"), OPERATIONS.items())
async def test_scoring_gets_what_the_route_returns(house: House, operation: str, answered: set[str]) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON, operation=operation))
        disclosure = await gateway.disclose("loan-scoring", asked)

        route = gateway.policy.find(disclosure.decision.asked)
        assert route is not None
        assert answered <= disclosure.report.keys()
        assert {f"report.{name}" for name in disclosure.report} <= {
            path if path.count(".") == 1 else path.rpartition(".")[0] for path in route.returns
        }
        assert disclosure.decision.consent == consent.id
        assert disclosure.decision.clauses == ("1.1(10)", "2.3(1)", "4.2")
        assert set(disclosure.sent) | set(disclosure.withheld) == {
            path for path in VOCABULARY if not path.startswith("report.")
        }
        assert [call.accepted for call in house.fcb.calls] == [True]
        found = house.verified(gateway)
        assert found.kinds["intent"] == found.kinds["outcome"] == 1
        assert found.open_intents == ()


async def test_the_ledger_tells_what_happened_and_only_the_keyring_tells_about_whom(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        disclosure = await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        intent, outcome = house.entries(gateway, "intent")[0], house.entries(gateway, "outcome")[0]
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None

        assert intent["fields"] == ["identity.iin"]
        assert "bank.account" in intent["withheld"]
        assert intent["policy"] == "2025-01"
        assert intent["ground"] == "consent"
        assert intent["id"] == outcome["intent"] == disclosure.id
        assert (outcome["result"], outcome["code"], outcome["status"]) == ("delivered", "ok", 200)
        assert "report.subject.last_name" in outcome["cut"]
        assert "report.existing_contracts" in outcome["returned"]

        opened = subject.open(intent)
        assert opened["iin"] == PERSON.iin
        # Whoever holds the bytes that left and the keyring can show that they are those of the ledger.
        assert len(opened["sent"]) == 64
        assert subject.open(outcome)["reference"]


async def test_what_the_bureau_received_is_what_the_ledger_says_was_sent(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON, operation="score")))
        adapter = gateway.flow.adapters["first-credit-bureau"]
        from qaqpa.minimise import Context, minimise

        asked = request(request_document(PERSON, operation="score"))
        route = next(route for asked, route in gateway.policy.routes.items() if asked.operation == "score")
        extract = minimise(
            asked.data.model_dump(mode="json", exclude_none=True),
            route.fields,
            consent_confirmed=True,
            context=Context(house.clock().date()),
        )
        body = adapter.encode("score", extract, EXCHANGE).body
        assert hashlib.sha256(body).hexdigest() == house.fcb.calls[0].body_sha256
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        assert subject.open(house.entries(gateway, "intent")[0])["sent"] == subject.digest(body)


async def test_consent_is_confirmed_to_the_bureau_only_when_it_was_checked(house: House) -> None:
    async with house.gateway() as gateway:
        adapter = gateway.flow.adapters["first-credit-bureau"]
        from qaqpa.model.disclosure import Extract
        from qaqpa.model.vocabulary import FieldPath

        for confirmed, said in ((True, "1"), (False, "0")):
            extract = Extract({"identity": {"iin": PERSON.iin}}, (FieldPath("identity.iin"),), (), confirmed)
            body = etree.fromstring(adapter.encode("credit_report", extract, EXCHANGE).body)
            assert body.xpath("string(//ConsentConfirmed)") == said


async def test_a_debtor_file_is_encrypted_to_the_collector(house: House) -> None:
    async with house.gateway() as gateway:
        disclosure = await gateway.disclose("collections", request(handover_document(PERSON)))
        intent = house.entries(gateway, "intent")[0]
    assert disclosure.report.keys() == {"receipt"}
    assert (intent["seal"], intent["ground"], intent["consent"]) == ("jwe", "legal_protection", None)
    assert len(house.collector.received) == 1
    assert PERSON.data["related"][0]["last_name"] not in json.dumps(house.collector.received, ensure_ascii=False)


async def test_a_recipient_abroad_is_reached_with_a_consent_that_crosses_the_border(house: House) -> None:
    house.edit("recipients/first-credit-bureau.toml", ('country = "KZ"', 'country = "NL"'))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, cross_border=True)
        assert (await gateway.disclose("loan-scoring", request(request_document(PERSON)))).report


async def test_a_dry_run_sends_nothing_and_enters_nothing(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        before = len(house.entries(gateway))
        decision = await gateway.decide("loan-scoring", request(request_document(PERSON)))
        assert decision.permits
        assert len(house.entries(gateway)) == before
    assert house.fcb.connections == 0


@pytest.mark.promise(6)
async def test_the_same_idempotency_key_is_not_disclosed_twice(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON))
        first = await gateway.disclose("loan-scoring", asked, idempotency_key="application-17")
        assert await gateway.disclose("loan-scoring", asked, idempotency_key="application-17") == first
    async with house.gateway() as gateway:
        assert await gateway.disclose("loan-scoring", asked, idempotency_key="application-17") == first
        await gateway.disclose("loan-scoring", asked, idempotency_key="application-18")
    assert len(house.fcb.calls) == 2


async def test_a_disclosure_goes_on_to_its_outcome_when_the_caller_goes_away(house: House) -> None:
    house.fcb.fail_next(Fault.SLOW)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asking = asyncio.create_task(gateway.disclose("loan-scoring", request(request_document(PERSON))))
        await house.reached(house.fcb)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        # Closing waits for what is under way.
    async with house.gateway() as gateway:
        assert house.verified(gateway).open_intents == ()
        assert house.entries(gateway, "outcome")[0]["result"] == "delivered"


async def test_many_at_once_keep_their_answers_apart(house: House) -> None:
    async with house.gateway() as gateway:
        for person in PEOPLE:
            await give_consent(house, gateway, person)
        asked = [request(request_document(person, operation="debt_burden")) for person in PEOPLE for _ in range(5)]
        done = await asyncio.gather(*(gateway.disclose("loan-scoring", each) for each in asked))
        for each, disclosure in zip(asked, done, strict=True):
            subject = await gateway.ledger.subjects.find(each.iin)
            assert subject is not None
            with gateway.store.snapshot() as connection:
                entry = next(entries_of(connection, kind="intent", request=disclosure.id)).content
            assert subject.open(entry)["iin"] == each.iin
        assert house.verified(gateway).kinds["outcome"] == len(asked)


@pytest.mark.promise(7)
async def test_a_caller_does_only_what_its_role_allows(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        with pytest.raises(NotAllowed):
            await gateway.disclose("compliance", request(request_document(PERSON)))
        with pytest.raises(NotAllowed):
            await gateway.withdraw_consent("collections", consent.id, duties_met=True)
        with pytest.raises(NotAllowed):
            await gateway.withdraw_consent("nobody", consent.id, duties_met=True)


async def test_a_new_configuration_is_entered_in_the_ledger_once(house: House) -> None:
    for _ in range(2):
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            assert len(house.entries(gateway, "policy")) == 1
    house.edit("gateway.toml", ('language = "en"', 'language = "kk"'))
    async with house.gateway() as gateway:
        assert len(house.entries(gateway, "policy")) == 1  # a gateway that only looks enters nothing
        await give_consent(house, gateway, PERSON)
        assert [entry["kind"] for entry in house.entries(gateway)][-2:] == ["policy", "consent"]


async def test_a_withdrawal_takes_effect_between_two_disclosures(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON))
        await gateway.disclose("loan-scoring", asked)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
        assert (await gateway.decide("loan-scoring", asked)).permits
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        assert not (await gateway.decide("loan-scoring", asked)).permits
        house.clock.offset = timedelta(days=1)
        assert not (await gateway.decide("loan-scoring", asked)).permits


async def test_facts_are_kept_as_the_caller_stated_them_and_sealed(house: House) -> None:
    facts = {**DEBTOR_FACTS, "number": "MK-2026-777"}
    async with house.gateway() as gateway:
        await gateway.disclose("collections", request(handover_document(PERSON, facts)))
        with pytest.raises(Denied):
            await gateway.disclose("collections", request(handover_document(PERSON, {**facts, "days_overdue": 0})))
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        (intent,), (refusal,) = house.entries(gateway, "intent"), house.entries(gateway, "refusal")
        assert subject.open(intent)["stated"] == {"contract": facts, "consent": None}
        stated = subject.open(refusal)["stated"]
        assert stated.pop("handed_in") == sorted(present(PERSON.data))
        assert stated == {"contract": {**facts, "days_overdue": 0}, "consent": None}
        assert "MK-2026-777" not in str(intent) + str(refusal)


@pytest.mark.parametrize(("operation", "confirmed"), [("score", True), ("handover", False)])
async def test_a_message_says_that_consent_is_confirmed_only_where_consent_is_the_ground(
    house: House, operation: str, confirmed: bool
) -> None:
    make = handover_document if operation == "handover" else request_document
    caller = "collections" if operation == "handover" else "loan-scoring"
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        disclosure = await gateway.disclose(caller, request(make(PERSON, operation=operation)))
        assert (disclosure.decision.consent is not None) is confirmed
