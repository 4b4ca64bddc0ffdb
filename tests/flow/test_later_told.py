"""What people and callers are told of answers that come later, or that they look at again."""

from __future__ import annotations

from typing import Any

import pytest
from test_answers_later import begin, consented

from harness import PEOPLE, House, answering_later, both_engines, give_consent, pension_document, request
from harness import request_document as bureau_document
from qaqpa.errors import NotFound, RequestRefused, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.ledger.awaited import jobs
from qaqpa.ledger.recovery import recover, unsettled

PERSON = PEOPLE[0]


@pytest.fixture
def later(house: House) -> House:
    return answering_later(house)


@both_engines
async def test_a_refusal_that_cannot_be_entered_is_not_said_to_be_unsent(
    later: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    later.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"))
    later.edit("recipients/pension-center.toml", ("first_s = 0.05", "first_s = 60"))
    async with later.gateway() as gateway:
        await consented(later, gateway)
        later.ppc.password = "another"

        async def away(*_given: Any, **_named: Any) -> int:
            raise StoreUnavailable("the database cannot be used; nothing was sent")

        with monkeypatch.context() as broken, pytest.raises(StoreUnavailable) as raised:
            broken.setattr(gateway.ledger, "enter_outcome", away)
            await ask(gateway, "k")
        [left] = await gateway.store.read(unsettled)
        assert raised.value.disclosure == left.disclosure
        assert "nothing was sent" not in str(raised.value) and "(rejected)" in str(raised.value)
        assert await recover(gateway.ledger) == 0
        assert not gateway.ledger.has_unfinished and await gateway.store.read(jobs) == []
        [outcome] = later.entries(gateway, "outcome")
        assert (outcome["intent"], outcome["result"]) == (left.disclosure, "rejected")
        with pytest.raises(RequestRefused):
            await ask(gateway, "k")
        later.verified(gateway)
    assert len(later.ppc.calls) == 1


async def ask(gateway: Gateway, key: str) -> None:
    await gateway.disclose("loan-scoring", request(pension_document(PERSON)), idempotency_key=key)


async def test_what_is_awaited_is_not_listed_as_open(later: House) -> None:
    later.ppc.async_channel.answers_after_s = 60
    look = ("ledger", "open", "--caller", "compliance")
    async with later.gateway() as gateway:
        await consented(later, gateway)
        disclosure = await begin(gateway)
    [each] = (await later.cli(*look, "--json")).json
    assert (each["disclosure"], each["state"]) == (disclosure, "awaited")
    told = await later.cli(*look)
    assert "answers later" in told.out and "settle" not in told.out
    found = (await later.cli("doctor", "--json")).json["findings"]
    [said] = [each["message"] for each in found if each["about"] == "disclosures"]
    assert said == "all have their outcome but those whose answer is awaited"


@pytest.mark.promise(7)
async def test_a_persons_look_at_an_answer_is_an_entry(later: House) -> None:
    later.edit("callers.toml", ('"consents", "operate"]', '"consents", "operate", "disclose"]'))
    for file in ("first-credit-bureau", "pension-center"):
        later.edit(f"recipients/{file}.toml", ('caller = "loan-scoring"', 'caller = "compliance"'))
    async with later.gateway() as gateway:
        await consented(later, gateway)
        await give_consent(later, gateway, PERSON)
        done = await gateway.disclose("compliance", request(bureau_document(PERSON)), idempotency_key="k")
        assert later.entries(gateway, "review") == []
        assert await gateway.answer("compliance", done.id) == done
        [review] = later.entries(gateway, "review")
        assert (review["caller"], review["act"]) == ("compliance", "answer")
        assert review["selection"] == {"disclosure": done.id}
        with pytest.raises(NotFound):
            await gateway.answer("compliance", "0" * 36)
        later.edit("callers.toml", ('kind = "person"', 'kind = "service"'))
    async with later.gateway() as gateway:
        assert await gateway.answer("compliance", done.id) == done
        assert len(later.entries(gateway, "review")) == 1, "neither what was typed nor a service's look"
