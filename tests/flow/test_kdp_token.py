"""The token of the state's own consent service: demanded where data are the state's, passed, and kept sealed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from lxml import etree
from test_contributions import PPC, ask, fails, listening

from harness import PEOPLE, House, give_consent, kdp_consent, pension_document, request, request_document
from qaqpa import errors
from qaqpa.errors import Denied

PERSON = PEOPLE[0]


@pytest.mark.promise(3)
@pytest.mark.parametrize("method", ["otp", "offer", "paper"])
async def test_state_data_take_a_consent_through_the_states_own_service(house: House, method: str) -> None:
    async with house.gateway() as gateway:
        evidence = {"evidence": {"method": method, "reference": "r-1"}}
        await give_consent(house, gateway, PERSON, **kdp_consent(**evidence))
        with pytest.raises(Denied) as denied:
            await ask(gateway)
        [reason] = denied.value.decision.reasons
        assert (reason.guard, reason.instrument) == ("consent_by_kdp", "94-V art. 8(1)")
        assert house.entries(gateway, "intent") == []
        # The newest covering consent decides, unless the request names one.
        by_kdp = await give_consent(house, gateway, PERSON, **kdp_consent(given_at=_days_ago(house, 3)))
        with pytest.raises(Denied):
            await ask(gateway)
        assert (await ask(gateway, consent=by_kdp.id)).report["contributions"]
    assert len(house.ppc.calls) == 1


def _days_ago(house: House, days: int) -> str:
    return (house.clock() - timedelta(days=days)).isoformat()


TOKEN = {"token": "header.canary-token-5520.signature", "public_key": "-----BEGIN\ncanary-key-5521\n-----END"}
WITH_TOKEN = kdp_consent(evidence={"method": "kdp", "reference": "no. 17", "kdp": TOKEN})
WITHOUT_TOKEN = kdp_consent(evidence={"method": "kdp", "reference": "no. 17"})
NO_GUARD = ('guards = ["recipient_is_pension_center", "consent_by_kdp"]', 'guards = ["recipient_is_pension_center"]')


async def test_the_consents_token_travels_where_the_route_passes_it_and_stays_sealed_with_us(house: House) -> None:
    house.edit(PPC, ("[settings]", '[settings]\nproperties = { CONNECTOR_CLIENT = "env:CONNECTOR" }'))
    house.environ["CONNECTOR"] = "true"
    house.ppc.wants_token = True
    with listening(house) as sent:
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON, **WITH_TOKEN)
            assert (await ask(gateway)).report["contributions"]
            [intent], [consent] = house.entries(gateway, "intent"), house.entries(gateway, "consent")
            assert (intent["kdp"], intent["fields"]) == (True, ["identity.iin"])
            assert consent["terms"]["kdp_token"] is True
            house.verified(gateway)
            assert "canary" not in f"{intent}{consent}"
    [request] = etree.fromstring(sent[0]).findall(".//request")
    data, info = request.find("requestData/data"), request.find("requestInfo")
    assert data is not None and info is not None
    assert (data.findtext("kdpToken"), data.findtext("publicKey")) == (TOKEN["token"], TOKEN["public_key"])
    assert (info.findtext("properties/key"), info.findtext("properties/value")) == ("CONNECTOR_CLIENT", "true")
    kept = [path.name for path in house.home.rglob("*") if path.is_file() and b"canary-token" in path.read_bytes()]
    assert kept == [], "it stands nowhere in the clear"


@pytest.mark.promise(3)
@pytest.mark.parametrize("guard", ["consent_by_kdp", "token_on_record"])
async def test_a_route_that_passes_the_token_sends_nothing_without_one(house: House, guard: str) -> None:
    if guard == "token_on_record":  # law's own, where the operator's guards do not ask for it
        house.edit(PPC, NO_GUARD)
    async with house.gateway() as gateway:
        # By KDP, as the caller says, and only the word by which the operator finds it again.
        await give_consent(house, gateway, PERSON, **WITHOUT_TOKEN)
        dry = await gateway.decide("loan-scoring", request(pension_document(PERSON)))
        error = await fails(gateway)
        assert isinstance(error, errors.Gap) and (dry.result, dry.reasons) == ("gap", error.decision.reasons)
        [reason] = dry.reasons
        assert (reason.guard, reason.missing) == (guard, ("consent.kdp_token",))
        assert "evidence.kdp" in reason.message.en and "evidence.kdp" in reason.message.kk
        [refusal] = house.entries(gateway, "refusal")
        assert (refusal["id"], refusal["result"]) == (error.refusal, "gap")
        assert house.entries(gateway, "intent") == []
        otp = {"method": "otp", "reference": "17", "kdp": TOKEN}
        with pytest.raises(errors.InvalidRequest, match="goes with method kdp") as refused:
            await give_consent(house, gateway, PERSON, **kdp_consent(evidence=otp))
        assert "canary" not in str(refused.value)
    assert house.ppc.connections == 0


async def test_a_token_that_lies_in_a_file_is_a_gap(house: House, tmp_path: Path) -> None:
    house.clock.offset = -timedelta(days=40)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **WITH_TOKEN)
    month = house.clock().strftime("%Y-%m")
    house.clock.offset = timedelta(0)
    said = ("--caller", "compliance", "--person", "A", "--reason", "room")
    moved = await house.cli("ledger", "archive", month, "--to", str(tmp_path / "months"), *said)
    assert moved.code == 0, moved.err
    async with house.gateway() as gateway:
        error = await fails(gateway)
        assert isinstance(error, errors.Gap) and [each.guard for each in error.decision.reasons] == ["token_on_record"]
        assert [each["id"] for each in house.entries(gateway, "refusal")] == [error.refusal]
    assert house.ppc.connections == 0


async def test_pension_data_of_the_state_bureau_take_a_token_on_record_too(house: House) -> None:
    asked = request_document(PERSON, recipient="state-credit-bureau", operation="contributions")
    async with house.gateway() as gateway:
        named = {"third_parties": ["state-credit-bureau"]}
        await give_consent(house, gateway, PERSON, **(WITHOUT_TOKEN | named))
        with pytest.raises(errors.Gap):
            await gateway.disclose("loan-scoring", request(asked))
        await give_consent(house, gateway, PERSON, **(WITH_TOKEN | named))
        assert (await gateway.disclose("loan-scoring", request(asked))).report["contributions"]


async def test_a_route_that_does_not_say_so_passes_no_token(house: House) -> None:
    house.edit(PPC, ("kdp = true ", "kdp = false "))
    with listening(house) as sent:
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON, **WITH_TOKEN)
            await ask(gateway)
            assert "kdp" not in house.entries(gateway, "intent")[0]
            house.ppc.wants_token = True
            assert type(await fails(gateway)) is errors.RequestRefused
    assert b"canary" not in b"".join(sent) and b"kdpToken" not in b"".join(sent)
