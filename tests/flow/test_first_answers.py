"""The first answer to an Idempotency-Key is given again and nothing is sent again; a report may serve again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from books import Intruder
from harness import PEOPLE, House, both_engines, erase_as_two, give_consent, request, request_document
from qaqpa.errors import (
    DuplicateRequest,
    KeyReused,
    KeyringError,
    PeerRefused,
    RequestInFlight,
    SubjectNotFound,
)
from qaqpa.gateway import Gateway
from qaqpa.ledger.answers import forget_expired
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault

PERSON, OTHER = PEOPLE[:2]
CALLER = "loan-scoring"


async def ask(gateway: Gateway, key: str | None = None, **changes: object) -> Disclosure:
    return await gateway.disclose(CALLER, request(request_document(PERSON, **changes)), idempotency_key=key)


@pytest.mark.promise(6)
@both_engines
async def test_another_request_under_the_same_key_is_refused(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await give_consent(house, gateway, OTHER)
        await ask(gateway, "k")
        for asked in (request_document(PERSON, operation="score"), request_document(OTHER)):
            with pytest.raises(KeyReused):
                await gateway.disclose(CALLER, request(asked), idempotency_key="k")
        stranger = request_document(PEOPLE[5])
        with pytest.raises(KeyReused):
            await gateway.disclose(CALLER, request(stranger), idempotency_key="k")
        assert len(house.fcb.calls) == 1


@pytest.mark.promise(6)
@both_engines
async def test_while_the_first_is_under_way_the_second_is_told_so(house: House) -> None:
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        first = asyncio.create_task(ask(gateway, "k"))
        await house.reached(house.fcb)
        for door in (gateway, elsewhere):
            with pytest.raises(RequestInFlight) as told:
                await ask(door, "k")
        done = await first
        assert told.value.disclosure == done.id
        assert await ask(elsewhere, "k") == done
        assert len(house.fcb.calls) == 1


@pytest.mark.promise(6)
@both_engines
async def test_of_many_at_once_under_one_key_one_is_sent(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        doors = (gateway, elsewhere) * 10
        told = await asyncio.gather(*(ask(door, "k") for door in doors), return_exceptions=True)
        done = [each for each in told if isinstance(each, Disclosure)]
        assert {type(each) for each in told} <= {Disclosure, RequestInFlight}
        assert len({each.id for each in done}) == 1
        assert len(house.fcb.calls) == len(house.entries(gateway, "intent")) == 1


async def test_a_rejection_is_told_again_as_it_was(house: House) -> None:
    house.fcb._unknown_below = 1.1
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        said = []
        for _ in range(2):
            with pytest.raises(SubjectNotFound) as told:
                await ask(gateway, "k")
            said.append((str(told.value), told.value.their_code, told.value.disclosure))
        assert said[0] == said[1] and said[0][2]
        assert len(house.fcb.calls) == 1


async def test_what_surely_was_not_sent_frees_the_key(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.EXPIRED_CERTIFICATE
        with pytest.raises(PeerRefused):
            await ask(gateway, "k")
        house.fcb.fault = Fault.NONE
        assert (await ask(gateway, "k")).report


@pytest.mark.promise(5)
@both_engines
async def test_the_answer_is_sealed_and_gone_with_the_person(house: House, store_url: str) -> None:
    intruder = Intruder(store_url, house.home)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        done = await ask(gateway, "k")
        [(sealed,)] = intruder.rows("SELECT sealed FROM answers")
        assert done.id.encode() not in bytes(sealed) and b"report" not in bytes(sealed)
        await erase_as_two(gateway, "compliance", PERSON.iin, person="A", reason="asked", duties_met=True)
        assert intruder.rows("SELECT sealed FROM answers") == []
        with pytest.raises(KeyReused, match="erased since"):
            await ask(gateway, "k")
        house.verified(gateway)


async def test_an_answer_is_kept_as_long_as_configured_and_the_key_for_ever(house: House) -> None:
    house.edit("gateway.toml", ("[ledger]", '[service]\nanswers_kept_for = "2h"\n\n[ledger]'))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        done = await ask(gateway, "k")
        house.clock.offset += timedelta(hours=1, minutes=59)
        await forgotten(gateway)
        assert await ask(gateway, "k") == done
        house.clock.offset += timedelta(minutes=2)
        await forgotten(gateway)
        with pytest.raises(DuplicateRequest, match="not kept any more"):
            await ask(gateway, "k")
        assert len(house.fcb.calls) == 1


async def test_an_answer_that_was_changed_is_not_given(house: House, store_url: str) -> None:
    intruder = Intruder(store_url, house.home)
    async with house.gateway() as gateway:
        for person in (PERSON, OTHER):
            await give_consent(house, gateway, person)
        await ask(gateway, "k")
        await ask(gateway, "l", operation="score")
        one, two = intruder.rows("SELECT disclosure, sealed FROM answers ORDER BY time")
        intruder.change("UPDATE answers SET sealed = ? WHERE disclosure = ?", two[1], one[0])
        with pytest.raises(KeyringError):
            await ask(gateway, "k")
        assert len(house.fcb.calls) == 2


async def forgotten(gateway: Gateway) -> None:
    """What upkeep does from time to time."""
    now = gateway.ledger.clock()
    await gateway.store.write(lambda connection: forget_expired(connection, now))
