"""The State credit bureau through the whole gateway: what it gets, what the caller gets, what the ledger says."""

from __future__ import annotations

import asyncio
import base64
import json
import logging

import pytest
from lxml import etree

from harness import PEOPLE, House, give_consent, kdp_consent, request, request_document
from qaqpa.errors import (
    CredentialsRefused,
    Denied,
    NoReport,
    QaqpaError,
    SubjectNotFound,
    ThirdPartyError,
    WrongExchange,
    WrongSubject,
)
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault
from qaqpa.testing.sandbox import Arrival
from qaqpa_adapters.state_credit_bureau.sandbox import Form

PERSON = PEOPLE[0]
SCB = "recipients/state-credit-bureau.toml"

STATE_DATA = kdp_consent(third_parties=["state-credit-bureau"])
"""Pension data are the state's, so the consent came through its own service."""


async def ask(house: House, operation: str) -> Disclosure:
    document = request_document(PERSON, recipient="state-credit-bureau", operation=operation)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **STATE_DATA)
        return await gateway.disclose("loan-scoring", request(document))


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    ("operation", "answered"),
    [
        ("credit_report", {"reference", "existing_contracts", "outstanding", "queries_30_days"}),
        ("contributions", {"reference", "contributions"}),
    ],
)
async def test_scoring_gets_what_the_route_returns_in_whatever_form_it_came(
    house: House, operation: str, answered: set[str], form: Form
) -> None:
    house.scb.form = form
    disclosure = await ask(house, operation)
    assert answered <= disclosure.report.keys()
    assert [(call.accepted, call.iin) for call in house.scb.calls] == [(True, PERSON.iin)]
    assert house.fcb.calls == []

    async with house.gateway() as gateway:
        (intent,), (outcome,) = house.entries(gateway, "intent"), house.entries(gateway, "outcome")
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        assert (intent["recipient"], intent["operation"]) == ("state-credit-bureau", operation)
        assert (intent["fields"], intent["seal"], intent["ground"]) == (["identity.iin"], "tls_only", "consent")
        assert (outcome["result"], outcome["code"], outcome["intent"]) == ("delivered", "ok", disclosure.id)
        assert subject.open(outcome)["reference"] == disclosure.report["reference"]
        assert house.verified(gateway).open_intents == ()


async def test_who_employs_a_person_comes_back_and_is_cut(house: House) -> None:
    disclosure = await ask(house, "contributions")
    async with house.gateway() as gateway:
        (outcome,) = house.entries(gateway, "outcome")
    assert {"report.contributions.employer", "report.contributions.employer_bin"} <= set(outcome["cut"])
    assert len(disclosure.report["contributions"]) == 6
    assert all(set(each) == {"paid_on", "amount"} for each in disclosure.report["contributions"])


async def test_the_request_to_the_pension_centre_has_the_number_of_the_disclosure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[bytes] = []
    examine = house.scb.examine

    def listen(arrival: Arrival) -> object:
        bodies.append(arrival.body)
        return examine(arrival)

    monkeypatch.setattr(house.scb, "examine", listen)
    disclosure = await ask(house, "contributions")
    (body,) = bodies
    assert etree.fromstring(body).findtext(".//requestNumber") == disclosure.id


async def test_without_consent_nothing_leaves(house: House) -> None:
    async with house.gateway() as gateway:
        for operation in ("credit_report", "contributions"):
            document = request_document(PERSON, recipient="state-credit-bureau", operation=operation)
            with pytest.raises(Denied):
                await gateway.disclose("loan-scoring", request(document))
    assert house.scb.connections == 0


@pytest.mark.parametrize(("operation", "error"), [("credit_report", SubjectNotFound), ("contributions", NoReport)])
async def test_a_person_whom_they_do_not_know_is_an_error_of_ours_and_an_outcome(
    house: House, operation: str, error: type[QaqpaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.scb, "_unknown_below", 1)
    with pytest.raises(error):
        await ask(house, operation)
    async with house.gateway() as gateway:
        (outcome,) = house.entries(gateway, "outcome")
        assert (outcome["result"], outcome["code"]) == ("rejected", error.code)


async def test_people_whom_they_do_not_know_do_not_open_the_breaker_and_a_broken_bureau_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.scb, "_unknown_below", 1)  # each is refused with HTTP 500, as SOAP 1.1 wants it
    house.edit(SCB, ("failures = 5", "failures = 3"), ("open_s = 30", "open_s = 0.4"))
    document = request_document(PERSON, recipient="state-credit-bureau")
    codes: list[str] = []

    async def said(times: int) -> list[str]:
        codes.clear()
        for _ in range(times):
            with pytest.raises(ThirdPartyError) as raised:
                await gateway.disclose("loan-scoring", request(document))
            codes.append(raised.value.code)
        return codes

    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **STATE_DATA)
        assert await said(10) == ["subject_not_found"] * 10
        house.scb.fault = Fault.SERVER_ERROR
        assert await said(4) == ["third_party_fault"] * 3 + ["circuit_open"]
        await asyncio.sleep(0.4)
        house.scb.fault = Fault.NONE
        assert await said(2) == ["subject_not_found"] * 2, "the one try was answered, so all may pass again"


async def test_an_answer_about_another_person_is_kept_back(house: House) -> None:
    house.scb.fault = Fault.WRONG_SUBJECT
    for operation in ("credit_report", "contributions"):
        with pytest.raises(WrongSubject):
            await ask(house, operation)


async def test_pension_data_that_were_given_before_do_not_pass_for_an_answer(house: House) -> None:
    await ask(house, "contributions")
    house.scb.fault = Fault.STALE
    with pytest.raises(WrongExchange):
        await ask(house, "contributions")


@pytest.mark.parametrize("password", ["canary-password", None])
async def test_the_login_is_shown_nowhere_neither_a_wrong_one_nor_the_right_one(
    house: House, password: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = ""
    if password is not None:
        house.environ["QAQPA_SCB_PASSWORD"] = password
        with pytest.raises(CredentialsRefused) as refused:
            await ask(house, "credit_report")
        said = f"{refused.value!r}"
    else:
        said = repr(await ask(house, "credit_report"))
    secret = password or house.scb.password
    login = base64.b64encode(f"{house.scb.user}:{secret}".encode()).decode()
    async with house.gateway() as gateway:
        said += json.dumps(house.entries(gateway)) + caplog.text
    files = [path.read_bytes() for path in house.home.rglob("*") if path.is_file()]
    for canary in (secret, login, house.scb.user_id):
        assert canary not in said
        assert not any(canary.encode() in content for content in files)
