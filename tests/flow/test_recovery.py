"""What nobody knows the end of: found after a crash, listed, settled by a person; what is under way is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from harness import PEOPLE, House, both_engines, eventually, give_consent, request, request_document, settle_as_two
from qaqpa.errors import InvalidRequest, StoreUnavailable, ThirdPartyFault, Unsettled
from qaqpa.gateway import Gateway, upkeep
from qaqpa.ledger.recovery import recover
from qaqpa.model.words import OutcomeResult
from qaqpa.testing.faults import Fault

PERSON = PEOPLE[0]
SAID = {"person": "A. Operator", "reason": "asked the bureau"}
AGREE = ("--caller", "compliance", "--person", "B. Deputy", "--reason", "seen their log")
SETTLE = ("--caller", "compliance", "--person", "A. Operator", "--reason", "asked the bureau")
ASKED = request(request_document(PERSON))


def quiet(house: House) -> None:
    """No checkpoint and no recovery but those that the test asks for."""
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"))


def busy(house: House) -> None:
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 20"))


async def killed_at_work(house: House) -> None:
    """A gateway in another process has sent a request, and dies before the answer."""
    path, before = house.write("request.json", request_document(PERSON)), len(house.fcb.calls)
    house.fcb.fault = Fault.HANG_AFTER_ACCEPTING
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qaqpa", "disclose", path, "--caller", "loan-scoring",
        env=dict(os.environ), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await house.reached(house.fcb, before + 1)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    house.fcb.fault = Fault.NONE


async def consented(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)


async def ended_unknown(gateway: Gateway, house: House, key: str | None = None) -> str:
    house.fcb.fault = Fault.SERVER_ERROR
    with pytest.raises(Unsettled) as raised:
        await gateway.disclose("loan-scoring", ASKED, idempotency_key=key)
    house.fcb.fault = Fault.NONE
    return str(raised.value.disclosure)


def failing(gateway: Gateway, work: str, *, committed: bool) -> None:
    """The store fails once at a piece of work: before it did it, or with the answer to its commit lost."""
    write, left = gateway.store.write, iter([True])

    async def once(unit: Any, **named: Any) -> Any:
        if unit.__qualname__.startswith(f"Ledger.{work}.") and next(left, False):
            if committed:
                await write(unit, **named)
            raise StoreUnavailable("the connection broke")
        return await write(unit, **named)

    gateway.store.write = once  # type: ignore[method-assign]


@pytest.mark.promise(1)
@both_engines
async def test_what_a_killed_process_left_open_becomes_unknown_at_the_next_start(house: House) -> None:
    await consented(house)
    await killed_at_work(house)
    async with house.gateway() as gateway:
        [outcome], [intent] = house.entries(gateway, "outcome"), house.entries(gateway, "intent")
        assert (outcome["result"], outcome["code"], outcome["intent"]) == ("unknown", "interrupted", intent["id"])
        found = house.verified(gateway)
        assert (found.open_intents, found.unknown) == ((), (intent["id"],))
    async with house.gateway() as again:
        assert len(house.entries(again, "outcome")) == 1


@both_engines
async def test_several_gateways_that_start_at_once_conclude_it_once(house: House) -> None:
    await consented(house)
    await killed_at_work(house)

    async def started() -> None:
        async with house.gateway():
            pass

    await asyncio.gather(*(started() for _ in range(4)))
    async with house.gateway() as gateway:
        assert len(house.entries(gateway, "outcome")) == 1
        house.verified(gateway)


@both_engines
async def test_a_running_gateway_finds_what_another_left_open(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RECOVER_EVERY_S", 0.0)
    busy(house)
    await consented(house)
    async with house.gateway() as gateway:
        await killed_at_work(house)
        await eventually(lambda: bool(house.entries(gateway, "outcome")))
        assert house.entries(gateway, "outcome")[0]["result"] == "unknown"


@both_engines
async def test_a_person_lists_and_settles_it_from_a_shell(house: House) -> None:
    await consented(house)
    await killed_at_work(house)
    listed = await house.cli("ledger", "open", "--caller", "compliance", "--json")
    [each] = listed.json
    assert (each["recipient"], each["state"]) == ("first-credit-bureau", "unknown")
    words = await house.cli("ledger", "open", "--caller", "compliance")
    assert each["disclosure"] in words.out and "qaqpa ledger settle" in " ".join(words.out.split())

    unsure = await house.cli("ledger", "settle", each["disclosure"], "--result", "unknown", *SETTLE)
    assert unsure.code == 2 and "is not one of 'delivered', 'rejected', 'not_sent'" in unsure.err
    nobody = await house.cli("ledger", "settle", "no-such-id", "--result", "delivered", *SETTLE)
    assert nobody.code == 2 and nobody.err.startswith("not_found: no disclosure with this id is unsettled")
    asked = await house.cli("ledger", "settle", each["disclosure"], "--result", "delivered", *SETTLE, "--json")
    assert (asked.code, asked.json["state"]) == (0, "asked"), asked.err
    ran = await house.cli("approval", "agree", asked.json["approval"], *AGREE)
    assert ran.code == 0 and f"settled {each['disclosure']} as delivered" in ran.out, ran.err
    again = await house.cli("ledger", "settle", each["disclosure"], "--result", "delivered", *SETTLE)
    assert again.code == 2 and again.err.startswith("not_found: ")

    assert (await house.cli("ledger", "open", "--caller", "compliance", "--json")).json == []
    assert "nothing is open" in (await house.cli("ledger", "open", "--caller", "compliance")).out
    async with house.gateway() as gateway:
        [*_, entry] = house.entries(gateway, "control")
        assert [entry[name] for name in ("act", "intent", "result", "person", "reason", "recipient", "approval")] == [
            "settle", each["disclosure"], "delivered", "A. Operator; B. Deputy", SAID["reason"], "first-credit-bureau",
            asked.json["approval"],
        ]  # fmt: skip
        assert house.verified(gateway).unknown == ()


@pytest.mark.promise(6)
@both_engines
async def test_settled_as_not_sent_it_frees_the_idempotency_key(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        disclosure = await ended_unknown(gateway, house, "k")
        with pytest.raises(ThirdPartyFault):  # the first answer
            await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        await settle_as_two(gateway, "compliance", disclosure, OutcomeResult.NOT_SENT, **SAID)
        first = await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        assert await gateway.disclose("loan-scoring", ASKED, idempotency_key="k") == first
        assert len(house.fcb.calls) == 2
        house.verified(gateway)


@pytest.mark.promise(6)
@pytest.mark.parametrize("result", [OutcomeResult.DELIVERED, OutcomeResult.REJECTED])
@both_engines
async def test_settled_as_received_it_keeps_the_key(house: House, result: OutcomeResult) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        disclosure = await ended_unknown(gateway, house, "k")
        await settle_as_two(gateway, "compliance", disclosure, result, **SAID)
        with pytest.raises(ThirdPartyFault) as first:
            await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        assert first.value.disclosure == disclosure
        assert len(house.fcb.calls) == 1
        house.verified(gateway)


@both_engines
async def test_what_is_under_way_elsewhere_is_neither_recovered_nor_settled(house: House) -> None:
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asking = asyncio.create_task(gateway.disclose("loan-scoring", ASKED))
        await house.reached(house.fcb)
        async with house.gateway() as elsewhere:
            assert await recover(elsewhere.ledger) == await recover(gateway.ledger) == 0
            [each] = await elsewhere.compliance.unsettled("compliance")
            assert each.state == "open"
            for asked in (gateway, elsewhere):
                with pytest.raises(InvalidRequest, match="under way in a running gateway"):
                    await settle_as_two(asked, "compliance", each.disclosure, OutcomeResult.NOT_SENT, **SAID)
        done = await asking
        assert [entry["result"] for entry in house.entries(gateway, "outcome")] == [OutcomeResult.DELIVERED]
        assert done.outcome_index == 4
        assert await gateway.compliance.unsettled("compliance") == []
        assert len(house.entries(gateway, "outcome")) == 1
        house.verified(gateway)


@both_engines
async def test_another_process_leaves_alone_what_is_under_way_here(house: House) -> None:
    house.edit("recipients/first-credit-bureau.toml", ("answer_timeout_s = 10", "answer_timeout_s = 15"))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.HANG_AFTER_ACCEPTING
        asking = asyncio.create_task(gateway.disclose("loan-scoring", ASKED))
        await house.reached(house.fcb)
        [intent] = house.entries(gateway, "intent")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qaqpa", "ledger", "settle", intent["id"], "--result", "not_sent", *SETTLE,
            env=dict(os.environ), stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        assert process.returncode == 2 and b"under way in a running gateway" in said
        assert house.verified(gateway).open_intents == (intent["id"],)
        asking.cancel()
        await house.fcb.stop()  # or closing would wait for its answer as long as is configured


@pytest.mark.parametrize("committed", [False, True], ids=["not committed", "answer lost"])
@both_engines
async def test_an_outcome_that_could_not_be_entered_is_entered_later(house: House, committed: bool) -> None:
    busy(house)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        failing(gateway, "enter_outcome", committed=committed)
        with pytest.raises(StoreUnavailable, match="could not be entered") as raised:
            await gateway.disclose("loan-scoring", ASKED)
        await eventually(lambda: not gateway.ledger.has_unfinished and not gateway.ledger.under_way)
        [outcome] = house.entries(gateway, "outcome")
        assert (outcome["intent"], outcome["result"]) == (raised.value.disclosure, "delivered")
        assert house.verified(gateway).open_intents == ()


@both_engines
async def test_an_outcome_still_unentered_at_the_end_is_entered_when_the_gateway_stops(house: House) -> None:
    quiet(house)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        failing(gateway, "enter_outcome", committed=False)
        with pytest.raises(StoreUnavailable):
            await gateway.disclose("loan-scoring", ASKED)
    async with house.gateway() as gateway:
        assert [each["result"] for each in house.entries(gateway, "outcome")] == ["delivered"]


@pytest.mark.promise(6)
@pytest.mark.parametrize("committed", [False, True], ids=["not committed", "answer lost"])
@both_engines
async def test_an_intent_whose_commit_was_not_confirmed_was_surely_not_sent(house: House, committed: bool) -> None:
    quiet(house)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        failing(gateway, "intend", committed=committed)
        with pytest.raises(StoreUnavailable):
            await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        assert house.fcb.connections == 0
        assert gateway.ledger.has_unfinished
        assert len(house.verified(gateway).open_intents) == int(committed)
        await recover(gateway.ledger)
        assert not gateway.ledger.has_unfinished
        results = [(each["result"], each["code"]) for each in house.entries(gateway, "outcome")]
        assert results == ([("not_sent", "interrupted")] if committed else [])
        await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        assert house.verified(gateway).open_intents == ()
    assert len(house.fcb.calls) == 1


@both_engines
async def test_a_gateway_that_was_taken_for_dead_says_what_the_ledger_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(house)
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        under_way = asyncio.create_task(gateway.disclose("loan-scoring", ASKED, idempotency_key="k"))
        await house.reached(house.fcb)
        monkeypatch.setattr(elsewhere.store.engine, "lives", lambda _number: False)
        assert await recover(elsewhere.ledger) == 1
        with pytest.raises(Unsettled, match=r"\(delivered\) came after another gateway") as told:
            await under_way
        [outcome] = house.entries(gateway, "outcome")
        assert (outcome["intent"], outcome["result"]) == (told.value.disclosure, "unknown")
        assert not gateway.ledger.has_unfinished and not gateway.ledger.under_way
        with pytest.raises(Unsettled):
            await gateway.disclose("loan-scoring", ASKED, idempotency_key="k")
        await settle_as_two(gateway, "compliance", str(told.value.disclosure), OutcomeResult.DELIVERED, **SAID)
        house.verified(gateway)


async def test_a_gateways_file_that_was_deleted_is_made_again_before_anything_is_sent(house: House) -> None:
    quiet(house)
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        for file in house.home.glob(f"*-gateway-{gateway.ledger.gateway}"):
            file.unlink()
        under_way = asyncio.create_task(gateway.disclose("loan-scoring", ASKED))
        await house.reached(house.fcb)
        assert await recover(elsewhere.ledger) == 0
        assert (await under_way).report
    assert not list(house.home.glob("*-gateway-*")), "nothing is left behind"
