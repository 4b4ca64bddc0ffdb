"""A recipient that takes no packages is told in its own format, once; one that takes no recalls is written to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from harness import (
    PEOPLE,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    handover_document,
    request,
    request_document,
    settle_as_two,
)
from qaqpa.errors import ConnectionLost, InvalidRequest, NotPossible
from qaqpa.gateway import Gateway
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.words import OutcomeResult
from qaqpa.recall.asking import Asking
from qaqpa.testing.faults import Fault
from recalls import ASKING, all_recalls, reached

PERSON = PEOPLE[0]
NUMBER = PERSON.data["contract"]["number"]
BY = {"person": "A. Compliance", "reason": "asked for"}


async def disclosed(gateway: Gateway) -> str:
    return (await gateway.disclose("collections", request(handover_document(PERSON)))).id


def asking(**changes: object) -> Asking:
    return Asking(**{"caller": None, "person": "A. Compliance", **changes})  # type: ignore[arg-type]


@both_engines
async def test_a_message_names_the_contract_and_goes_through_the_one_door(house: House) -> None:
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        with pytest.raises(InvalidRequest, match="contract"):  # the ledger does not keep it
            await gateway.recalls.start("compliance", disclosure, RecallReason.ERROR, ASKING)
        asked = await gateway.recalls.start("compliance", disclosure, RecallReason.ERROR, asking(contract=NUMBER))
        assert NUMBER.encode() not in (await gateway.recalls.recalls.find(asked.id)).sealed
        sent = await reached(gateway, asked.id, RecallState.SENT)
        assert sent.sealed is None, "it has served"
        [_, notice] = house.collector.received
        assert notice["recall"] == {
            "of": disclosure, "reason": "error", "due_on": asked.due_on.isoformat(), "contract": NUMBER,
        }  # fmt: skip
        [_, intent] = house.entries(gateway, "intent")
        assert (intent["id"], intent["operation"], intent["fields"]) == (sent.notice, "recall", ["contract.number"])
        assert NUMBER not in str(house.entries(gateway))
        house.verified(gateway)
        with pytest.raises(NotPossible, match="recalled already"):
            await gateway.recalls.start("compliance", disclosure, RecallReason.ERROR, asking(contract=NUMBER))


async def test_one_that_is_lost_on_the_way_is_unknown_until_a_person_settles_it(house: House) -> None:
    house.edit("recipients/demo-collector.toml", ("[limits]\n", "[retry]\nattempts = 1\n\n[limits]\n"))
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        house.collector.fail_next(Fault.CUT_CONNECTION)
        asked = await gateway.recalls.start("compliance", disclosure, RecallReason.ERROR, asking(contract=NUMBER))
        found = await reached(gateway, asked.id, RecallState.UNKNOWN)
        assert found.figures["code"] == ConnectionLost.code
        for act in (
            gateway.recalls.confirm("compliance", asked.id, ASKING),
            gateway.recalls.cancel("compliance", asked.id, person="A"),
            gateway.recalls.acknowledge("compliance", asked.id, destroyed=True, act="7", person="A"),
        ):
            with pytest.raises(NotPossible):
                await act
        await settle_as_two(gateway, "compliance", str(found.notice), OutcomeResult.DELIVERED, **BY)
        assert (await gateway.recalls.find("compliance", asked.id)).state is RecallState.SENT
        house.verified(gateway)


async def test_one_that_cannot_leave_is_given_up_two_days_after_its_first_try(house: House) -> None:
    house.edit("recipients/demo-collector.toml", ("[limits]\n", "[retry]\nattempts = 1\n\n[limits]\n"))
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        await gateway.jobs.close()
        await house.collector.stop()
        asked = await gateway.recalls.start("compliance", disclosure, RecallReason.ERROR, asking(contract=NUMBER))
        recalls, states = gateway.recalls.recalls, []
        for hours in (0, 24, 47, 49):
            house.clock.offset = timedelta(hours=hours)
            await recalls.flow.turn(asked.id)
            states.append((await recalls.find(asked.id)).state)
        assert states == [RecallState.ASKED, RecallState.ASKED, RecallState.ASKED, RecallState.BLOCKED]
        # Let go anew, it has its two days again.
        await gateway.recalls.confirm("compliance", asked.id, asking(contract=NUMBER))
        await recalls.flow.turn(asked.id)
        assert (await recalls.find(asked.id)).state is RecallState.ASKED
        assert {entry["result"] for entry in house.entries(gateway, "outcome")[1:]} == {"not_sent"}
        house.verified(gateway)


async def test_an_erasure_proposes_and_who_was_erased_is_recalled_by_letter_where_no_package_goes(
    house: House,
) -> None:
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        await erase_as_two(gateway, "compliance", PERSON.iin, duties_met=True, **BY)
        [proposed] = await all_recalls(gateway)
        assert (proposed.target, proposed.reason, proposed.state) == (
            disclosure, RecallReason.ERASURE, RecallState.PROPOSED,
        )  # fmt: skip
        with pytest.raises(NotPossible, match="by-letter"):
            await gateway.recalls.confirm("compliance", proposed.id, asking(contract=NUMBER))
        assert len(house.collector.received) == 1
        await gateway.recalls.confirm("compliance", proposed.id, asking(by_letter=True))
        await gateway.recalls.acknowledge("compliance", proposed.id, destroyed=True, act="Act 1", person="A")
        assert (await gateway.recalls.find("compliance", proposed.id)).state is RecallState.CONFIRMED
        [told] = house.entries(gateway, "recall")
        assert told["subject"] is None
        house.verified(gateway)


@both_engines
async def test_a_withdrawal_proposes_when_it_takes_effect_and_only_what_rested_on_it(house: House) -> None:
    async with house.gateway() as gateway:
        other = await give_consent(house, gateway, PERSON)
        document = request_document(PERSON)
        first = await gateway.disclose("loan-scoring", request(document | {"consent": other.id}))
        await disclosed(gateway)  # rests on no consent
        consent = await give_consent(house, gateway, PERSON)
        rested = await gateway.disclose("loan-scoring", request(document | {"consent": consent.id}))
        house.fcb.fail_next(Fault.EXPIRED_CERTIFICATE)
        await gateway.transport.close()
        with pytest.raises(Exception, match="certificate"):  # of this one nothing left
            await gateway.disclose("loan-scoring", request(document | {"consent": consent.id}))
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
        assert await all_recalls(gateway) == [], "pending (7.1(3))"
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        [proposed] = await all_recalls(gateway)
        assert (proposed.target, proposed.reason, proposed.recipient) == (
            rested.id, RecallReason.WITHDRAWAL, "first-credit-bureau",
        )  # fmt: skip
        assert gateway.recalls.way(proposed) == "letter", "no route of the bureau's takes recalls"
        with pytest.raises(NotPossible, match="by-letter"):
            await gateway.recalls.confirm("compliance", proposed.id, ASKING)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)  # said twice
        assert len(await all_recalls(gateway)) == 1
        await gateway.recalls.cancel("compliance", proposed.id, person="A. Compliance")
        await gateway.withdraw_consent("loan-scoring", other.id, duties_met=True)
        assert {each.target for each in await all_recalls(gateway)} == {first.id, rested.id}
        house.verified(gateway)


async def test_disclosures_to_one_that_must_destroy_them_are_proposed_in_time_each_once(house: House) -> None:
    house.edit("recipients/demo-collector.toml", ("[limits]\n", '[recall]\nkeep_for = "90d"\n\n[limits]\n'))
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        recalls = gateway.recalls
        await recalls.keep()
        house.clock.offset = timedelta(days=59)
        await recalls.keep()
        assert await all_recalls(gateway) == []
        later = await disclosed(gateway)
        house.clock.offset = timedelta(days=61)
        for _ in range(2):
            await recalls.keep()
        [reminder] = await all_recalls(gateway)
        assert (reminder.target, reminder.reason, reminder.state) == (
            disclosure, RecallReason.RETENTION, RecallState.UPCOMING,
        )  # fmt: skip
        house.clock.offset = timedelta(days=121)
        await recalls.keep()
        assert {each.target: each.state for each in await all_recalls(gateway)} == {
            disclosure: RecallState.PROPOSED, later: RecallState.UPCOMING,
        }  # fmt: skip
        await recalls.confirm("compliance", reminder.id, asking(contract=NUMBER))
        sent = await reached(gateway, reminder.id, RecallState.SENT)
        assert sent.due_on == gateway.policy.day(house.clock() + timedelta(days=10)), "it gets its time"
        assert house.collector.received[-1]["recall"]["reason"] == "retention"


async def test_what_cannot_go_by_itself_is_held_for_a_person_and_two_who_ask_at_once_ask_once(house: House) -> None:
    house.edit("recipients/demo-collector.toml", ("[limits]\n", "[recall]\nautomatic = true\n\n[limits]\n"))
    async with house.gateway() as gateway:
        disclosure = await disclosed(gateway)
        await erase_as_two(gateway, "compliance", PERSON.iin, duties_met=True, **BY)
        for _ in range(2):
            await gateway.recalls.keep()
        [held] = await all_recalls(gateway)
        assert (held.target, held.state, held.figures["held"]) == (disclosure, RecallState.PROPOSED, "not_possible")
        assert house.entries(gateway, "recall") == []
        another = await disclosed(gateway)
        starts = [
            gateway.recalls.start("compliance", another, RecallReason.ERROR, asking(contract=NUMBER)) for _ in range(5)
        ]
        done = await asyncio.gather(*starts, return_exceptions=True)
        [asked] = [each for each in done if not isinstance(each, NotPossible)]
        assert not isinstance(asked, BaseException)
        await reached(gateway, asked.id, RecallState.SENT)
        assert [each["recall"]["of"] for each in house.collector.received if "recall" in each] == [another]
        assert len(house.entries(gateway, "recall")) == 1
