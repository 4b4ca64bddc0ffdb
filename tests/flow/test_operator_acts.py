"""What people do to the gate: suspend and resume, accept a clock; who may, what they may write, what it stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from harness import PEOPLE, House, give_consent, request, request_document
from qaqpa.errors import (
    ClockSetBack,
    ConnectFailed,
    InvalidRequest,
    NotAllowed,
    NotSent,
    RecipientSuspended,
    StoreUnavailable,
)
from qaqpa.testing.faults import Fault

PERSON = PEOPLE[0]
FCB = "recipients/first-credit-bureau.toml"


@pytest.mark.promise(3)
async def test_what_waits_for_its_turn_is_not_sent_to_a_recipient_suspended_meanwhile(house: House) -> None:
    house.edit(FCB, ("concurrent = 32", "concurrent = 1\nwait_s = 10"))
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON))
        asking = [asyncio.create_task(gateway.disclose("loan-scoring", asked)) for _ in range(4)]
        await house.reached(house.fcb)
        await elsewhere.suspend("compliance", "first-credit-bureau", person="A. C.", reason="incident 7")
        done = await asyncio.gather(*asking, return_exceptions=True)
        assert sum(isinstance(each, RecipientSuspended) for each in done) == 3
        results = sorted(entry["result"] for entry in house.entries(gateway, "outcome"))
        assert results == ["delivered", "not_sent", "not_sent", "not_sent"]
    assert len(house.fcb.calls) == 1


@pytest.mark.promise(7)
@pytest.mark.parametrize("caller", ["loan-scoring", "collections", "nobody"])
async def test_only_who_operates_may_suspend_or_accept_a_clock(house: House, caller: str) -> None:
    async with house.gateway() as gateway:
        for act in (gateway.suspend, gateway.resume):
            with pytest.raises(NotAllowed):
                await act(caller, "first-credit-bureau", person="A. C.", reason="x")
        with pytest.raises(NotAllowed):
            await gateway.compliance.accept_clock(caller, person="A. C.", reason="x")
        assert house.entries(gateway) == []


@pytest.mark.promise(7)
async def test_only_who_keeps_or_reviews_consents_may_look_at_one(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        assert (await gateway.consent("compliance", consent.id)).id == consent.id
        for caller in ("collections", "nobody"):
            with pytest.raises(NotAllowed):
                await gateway.consent(caller, consent.id)


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "text",
    [
        f"about {PERSON.iin}",
        "call +7 701 123 45 67",
        "8(701)1234567",
        "850101 300123",
        "85 01 01 30 01 23",
        "8501.0130.0123",
        "701 123 45 67",
        "",
        "   ",
        "x" * 201,
        "a\nb",
        "\udcff",
    ],
)
async def test_no_number_of_a_person_is_entered_with_an_act(house: House, text: str) -> None:
    async with house.gateway() as gateway:
        for person, reason in ((text, "incident"), ("A. C.", text)):
            with pytest.raises(InvalidRequest, match="in the open"):
                await gateway.suspend("compliance", "first-credit-bureau", person=person, reason=reason)
        assert house.entries(gateway) == []


@pytest.mark.parametrize("reason", ["incident 7", "ticket 1123-4", "at 2026-11-23", "[/] [bold]", "құқық бұзу"])
async def test_ordinary_reasons_are_entered_and_shown_as_they_are(house: House, reason: str) -> None:
    async with house.gateway() as gateway:
        await gateway.suspend("compliance", "first-credit-bureau", person="A [B]", reason=reason)
    for command in (("ledger", "show", "--caller", "compliance"), ("recipient", "list")):
        ran = await house.cli(*command)
        assert ran.code == 0, ran.err
        assert reason in ran.out and "A [B]" in ran.out


async def test_a_refusal_written_while_the_clock_ran_ahead_stops_nothing_later(house: House) -> None:
    async with house.gateway() as gateway:
        house.clock.offset = timedelta(days=3650)
        ran_ahead = request(request_document(PERSON))
        with pytest.raises(Exception, match="consent_covers"):
            await gateway.disclose("loan-scoring", ran_ahead)
        house.clock.offset = timedelta(0)
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", ran_ahead)
        house.verified(gateway)


async def test_after_a_clock_that_ran_ahead_a_person_accepts_the_right_one(house: House) -> None:
    async with house.gateway() as gateway:
        house.clock.offset = timedelta(days=3650)
        await give_consent(house, gateway, PEOPLE[1])
        house.clock.offset = timedelta(0)
        with pytest.raises(ClockSetBack, match="accept-clock"):
            await give_consent(house, gateway, PERSON)
    ran = await house.cli(
        "ledger", "accept-clock", "--caller", "compliance", "--person", "A. C.", "--reason", "time server was wrong"
    )
    assert ran.code == 0, ran.err
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        house.verified(gateway)
        assert house.entries(gateway, "control")[0]["act"] == "accept_clock"


@pytest.mark.promise(6)
async def test_a_key_whose_disclosure_surely_was_not_sent_may_be_used_again(house: House) -> None:
    good = house.environ["QAQPA_FCB_REPORT_URL"]
    house.environ["QAQPA_FCB_REPORT_URL"] = "https://localhost:1/report"
    asked = request(request_document(PERSON))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(ConnectFailed):
            await gateway.disclose("loan-scoring", asked, idempotency_key="k")
    house.environ["QAQPA_FCB_REPORT_URL"] = good
    async with house.gateway() as gateway:
        await gateway.disclose("loan-scoring", asked, idempotency_key="k")
    assert len(house.fcb.calls) == 1


async def test_a_clock_that_is_not_behind_is_not_accepted(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(InvalidRequest, match="nothing to accept"):
            await gateway.compliance.accept_clock("compliance", person="A. C.", reason="x")


@pytest.mark.promise(3)
async def test_when_it_cannot_be_known_whether_a_recipient_is_suspended_nothing_is_sent(house: House) -> None:
    async def unreadable(_recipient: str) -> bool:
        raise StoreUnavailable("locked")

    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        gateway.transport._is_suspended = unreadable
        with pytest.raises(NotSent):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert house.entries(gateway, "outcome")[0]["result"] == "not_sent"
    assert house.fcb.connections == 0


async def test_two_gateways_of_different_configuration_each_enter_theirs(house: House) -> None:
    asked = request(request_document(PERSON))
    async with house.gateway() as first:
        await give_consent(house, first, PERSON)
        house.edit("gateway.toml", ('language = "en"', 'language = "kk"'))
        async with house.gateway() as second:
            for gateway in (second, first):
                await gateway.disclose("loan-scoring", asked)
                kinds = [entry["kind"] for entry in house.entries(gateway)][-3:]
                assert kinds == ["policy", "intent", "outcome"]
                digest = house.entries(gateway, "policy")[-1]["config"]
                assert digest == gateway.setup.config.digest


async def test_an_outcome_is_entered_without_a_reference_that_no_entry_can_hold(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        adapter = type(gateway.flow.adapters["first-credit-bureau"])
        decode = adapter.decode
        monkeypatch.setattr(adapter, "decode", lambda self, *given: replace(decode(self, *given), reference=12.5))
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert house.verified(gateway).open_intents == ()
