"""What changes while a disclosure is under way: withdrawals, suspensions, a disk that fills, faults of our own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection

from harness import PEOPLE, House, give_consent, request, request_document
from qaqpa.errors import Denied, StoreUnavailable, Unsettled
from qaqpa.ledger import Ledger

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


async def test_an_outcome_that_cannot_be_entered_is_not_said_to_be_unsent(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        conclude = gateway.ledger._conclude

        async def on_a_full_disk(*given: Any) -> int:
            await gateway.store.write(fill)
            return await conclude(*given)

        gateway.ledger._conclude = on_a_full_disk  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert "nothing was sent" not in str(raised.value)
        assert "stays open" in str(raised.value)
        assert house.verified(gateway).open_intents == (raised.value.disclosure,)


def fill(connection: Connection) -> None:
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    connection.exec_driver_sql("CREATE TABLE filler (x)")


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
