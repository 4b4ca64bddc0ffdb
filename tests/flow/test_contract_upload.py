"""Contracts to bureaus under the shipped configuration: who may, on which ground, and what a row then holds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from lxml import etree

from harness import PEOPLE, TODAY, House, give_consent, request, request_document
from qaqpa.errors import InvalidRequest, NotConfigured
from qaqpa.gateway.setup import equip, load_setup
from qaqpa.minimise import Context, minimise
from qaqpa.model.decision import Asked, Result
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.testing.contract import EXCHANGE
from qaqpa_adapters.records_check import faults

PERSON = PEOPLE[0]
BUREAUS = ("first-credit-bureau", "state-credit-bureau")
TO_BUREAUS = {"purposes": ["legal_duty"], "fields": ["identity", "contact", "contract"]}
"""What makes a consent of `give_consent` one for telling a bureau of the contract."""


def upload(recipient: str, data: dict[str, Any] | None = None) -> Any:
    document = request_document(PERSON, recipient=recipient, operation="contract_upload", purpose="legal_duty")
    return request(document if data is None else {**document, "data": data})


async def test_the_state_bureau_is_told_because_law_says_so(house: House) -> None:
    async with house.gateway() as gateway:
        decision = await gateway.decide("collections", upload("state-credit-bureau"))
        assert (decision.result, decision.ground, decision.consent) == (Result.PERMIT, "service", None)
        assert {"1.1(21)", "2.3(2)"} <= set(decision.clauses)
        held = {each.guard: each.instrument for each in decision.guards}
        assert held["supply_is_mandatory"] == "56-V art. 4(2)"
        assert "breach_on_record" not in held, "a contract that is served well is told of too"


async def test_another_bureau_is_told_only_on_consent_to_that_purpose(house: House) -> None:
    async with house.gateway() as gateway:
        for changes, result in ((None, Result.DENY), ({}, Result.DENY), (TO_BUREAUS, Result.PERMIT)):
            if changes is not None:
                await give_consent(house, gateway, PERSON, **changes)
            decision = await gateway.decide("collections", upload("first-credit-bureau"))
            assert decision.result is result
        assert decision.consent is not None


@pytest.mark.parametrize("recipient", BUREAUS)
async def test_nobody_else_may_and_for_no_other_purpose(house: House, recipient: str) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **TO_BUREAUS)
        asked = upload(recipient)
        assert (await gateway.decide("loan-scoring", asked)).result is Result.DENY
        document = request_document(PERSON, recipient=recipient, operation="contract_upload", purpose="cession")
        assert (await gateway.decide("collections", request(document))).result is Result.DENY


async def test_law_that_obliges_to_tell_one_bureau_is_no_reason_to_tell_another(house: House) -> None:
    house.edit("recipients/state-credit-bureau.toml", ('id = "state-credit-bureau"', 'id = "another-credit-bureau"'))
    (house.config / "recipients/state-credit-bureau.toml").rename(
        house.config / "recipients/another-credit-bureau.toml"
    )
    async with house.gateway() as gateway:
        decision = await gateway.decide("collections", upload("another-credit-bureau"))
        assert decision.result is Result.DENY
        assert [each.guard for each in decision.reasons] == ["supply_is_mandatory"]


@pytest.mark.parametrize("recipient", BUREAUS)
async def test_a_row_that_lacks_a_field_is_a_gap_that_names_it(house: House, recipient: str) -> None:
    data = copy.deepcopy(PERSON.data)
    del data["contract"]["phase"], data["contract"]["outstanding_amount"]
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **TO_BUREAUS)
        decision = await gateway.decide("collections", upload(recipient, data))
        assert decision.result is Result.GAP
        assert {name for each in decision.reasons for name in each.missing} == {
            "contract.phase",
            "contract.outstanding_amount",
        }


async def test_one_persons_contract_alone_is_not_sent(house: House) -> None:
    async with house.gateway() as gateway:
        with pytest.raises(InvalidRequest, match="batch"):
            await gateway.disclose("collections", upload("state-credit-bureau"))
        assert house.entries(gateway, "intent") == []
    assert house.scb.connections == 0


@pytest.mark.parametrize("recipient", BUREAUS)
async def test_what_the_shipped_routes_pass_makes_a_document_without_anything_else(
    house: House, recipient: str
) -> None:
    setup = load_setup(house.config, home=house.home, environ=house.environ)
    route = setup.policy.find(Asked(CallerId("collections"), RecipientId(recipient), "contract_upload", "legal_duty"))
    assert route is not None
    adapter: Any = equip(setup, route.recipient, house.clock).adapter
    exchange = type(EXCHANGE)(EXCHANGE.id, house.clock())
    rows = []
    for number, person in enumerate(PEOPLE, start=2):
        extract = minimise(person.data, route.fields, consent_confirmed=True, context=Context(TODAY))
        rows.append(adapter.batch_row("contract_upload", number, extract, exchange))
    document = adapter.batch_head("contract_upload", exchange) + b"".join(rows) + adapter.batch_tail("contract_upload")
    assert faults(document, most=len(rows)) == []
    assert adapter.upload("contract_upload", document, exchange).endpoint in route.recipient.channel.endpoints
    text = "".join(str(part) for part in etree.fromstring(document).itertext())
    for person in PEOPLE:
        assert person.iin in text
        for group, name in (
            ("contact", "mobile"),
            ("contact", "email"),
            ("employment", "employer"),
            ("bank", "account"),
        ):
            assert person.data[group][name] not in text


async def test_dictionaries_that_are_not_set_are_named(house: House) -> None:
    for bureau, variable in (("fcb", "QAQPA_FCB_DICTIONARIES"), ("scb", "QAQPA_SCB_DICTIONARIES")):
        environ = {key: value for key, value in house.environ.items() if key != variable}
        setup = load_setup(house.config, home=house.home, environ=environ)
        recipient = setup.config.recipients["first-credit-bureau" if bureau == "fcb" else "state-credit-bureau"]
        with pytest.raises(NotConfigured, match=variable):
            equip(setup, recipient, house.clock)
