"""What changes while a disclosure is under way: withdrawals, suspensions, a disk that fills, faults of our own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness import PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.errors import Denied, NotSent, StoreUnavailable, Unsettled
from qaqpa.ledger import Ledger
from qaqpa.ledger.recovery import recover, unsettled
from qaqpa.store import Connection

pytestmark = both_engines
PERSON = PEOPLE[0]


@pytest.fixture
def before_the_intent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Work put in here is done once, after the decision and before the intent."""
    waiting: list[Any] = []
    intend = Ledger.intend

    async def then_intend(self: Ledger, *given: Any, **named: Any) -> Any:
        if waiting:
            await waiting.pop()()
        return await intend(self, *given, **named)

    monkeypatch.setattr(Ledger, "intend", then_intend)
    return waiting


@pytest.mark.promise(3)
async def test_a_consent_withdrawn_after_the_decision_stops_the_disclosure(
    house: House, before_the_intent: list[Any]
) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        before_the_intent.append(lambda: gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True))
        with pytest.raises(Denied) as denied:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert denied.value.decision.reasons[0].findings == ("consent_withdrawn",)
        kinds = [entry["kind"] for entry in house.entries(gateway)]
        assert kinds == ["policy", "consent", "withdrawal", "refusal"]
    assert house.fcb.connections == 0


@pytest.mark.promise(3)
async def test_a_recipient_suspended_after_the_decision_gets_nothing(
    house: House, before_the_intent: list[Any]
) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        before_the_intent.append(
            lambda: elsewhere.suspend("compliance", "first-credit-bureau", person="A. C.", reason="incident")
        )
        with pytest.raises(Denied) as denied:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert denied.value.decision.reasons[0].guard == "recipient_active"
    assert house.fcb.connections == 0


async def test_a_withdrawal_that_is_only_pending_does_not_stop_it(house: House, before_the_intent: list[Any]) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        before_the_intent.append(lambda: gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False))
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))


async def test_an_outcome_that_cannot_be_entered_is_not_said_to_be_unsent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        enter = gateway.ledger.enter_outcome

        async def on_a_full_disk(*given: Any) -> int:
            await gateway.store.write(fill)
            return await enter(*given)

        monkeypatch.setattr(gateway.ledger, "enter_outcome", on_a_full_disk)
        with pytest.raises(StoreUnavailable) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert "nothing was sent" not in str(raised.value)
        assert "stays open" in str(raised.value)
        assert [each.disclosure for each in await gateway.store.read(unsettled)] == [raised.value.disclosure]
        assert list(gateway.ledger.unrecorded) == [raised.value.disclosure], "it is known here, and tried again"
        monkeypatch.undo()
        await gateway.store.write(empty)
        assert await recover(gateway.ledger) == 0
        assert house.verified(gateway).open_intents == ()
        assert house.entries(gateway, "outcome")[0]["result"] == "delivered"
        assert not gateway.ledger.has_unfinished


def fill(connection: Connection) -> None:
    """From here on the database takes no entry."""
    if connection.dialect == "sqlite":
        connection.execute("CREATE TRIGGER filler BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'full'); END")
    else:
        connection.execute("ALTER TABLE entries ADD CONSTRAINT filler CHECK (idx < 0) NOT VALID")


def empty(connection: Connection) -> None:
    """It takes them again."""
    sqlite = connection.dialect == "sqlite"
    connection.execute("DROP TRIGGER filler" if sqlite else "ALTER TABLE entries DROP CONSTRAINT filler")


@pytest.mark.parametrize("step", ["seal", "decode", "cut"])
async def test_a_fault_of_our_own_after_the_intent_still_gives_it_an_outcome(
    house: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: Any, **_named: Any) -> Any:
        raise KeyError(PERSON.iin)

    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        if step == "decode":
            monkeypatch.setattr(type(gateway.flow.adapters["first-credit-bureau"]), "decode", broken)
        else:
            monkeypatch.setattr(f"qaqpa.gateway.flow.{'seal' if step == 'seal' else 'cut_report'}", broken)
        with pytest.raises(Unsettled, match="KeyError") as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert PERSON.iin not in str(raised.value)
        assert house.verified(gateway).open_intents == ()
        assert house.entries(gateway, "outcome")[0]["result"] == "unknown"


async def test_a_database_that_is_away_for_a_moment_does_not_open_the_recipients_breaker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_recipient: str) -> bool:
        raise StoreUnavailable("the database is away")

    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with monkeypatch.context() as broken:
            broken.setattr(gateway.transport, "_is_suspended", away)
            for _ in range(6):
                with pytest.raises(NotSent):
                    await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))


async def test_two_recoveries_of_one_process_at_once_finish_what_it_knows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)

        async def away(*_given: Any) -> int:
            raise StoreUnavailable("the database is away")

        with monkeypatch.context() as broken:
            broken.setattr(gateway.ledger, "enter_outcome", away)
            with pytest.raises(StoreUnavailable):
                await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        done = await asyncio.gather(*(recover(gateway.ledger) for _ in range(2)), return_exceptions=True)
        for each in done:
            if isinstance(each, Exception):
                raise each
        assert house.verified(gateway).open_intents == ()
