"""Contracts to credit bureaus: a register goes as one document, and what the bureau says comes back to its rows."""

from __future__ import annotations

import json

import pytest

from harness import PEOPLE, House, both_engines, give_consent, settle_as_two
from qaqpa.errors import NotFound
from qaqpa.handover import uploading
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import verify
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import OutcomeResult
from qaqpa.service.schemas import HandoverAnswer
from qaqpa.testing.faults import Fault
from qaqpa.testing.registers import contracts_csv
from registers import order, pieces, until, until_left
from turning import still, turn, turned

UPLOAD = {"operation": "contract_upload", "purpose": "legal_duty"}


def register(count: int) -> bytes:
    """Contracts of so many people."""
    return contracts_csv(PEOPLE[:count])


@both_engines
async def test_what_a_bureau_refuses_comes_back_to_the_row(house: House) -> None:
    refused = PEOPLE[1].data["contract"]["code"]
    house.scb.pump.patience = 1
    house.scb.pump.refuse[refused] = "7"
    async with house.gateway() as gateway:
        taken = await gateway.handovers.order(order(recipient="state-credit-bureau", **UPLOAD), pieces(register(4)))
        done = await until(gateway, taken.id, HandoverState.ACKNOWLEDGED, HandoverState.CANCELLED, within_s=40)
        assert done.state is HandoverState.ACKNOWLEDGED, done.figures
        assert done.figures["receipt"]["rejected"] == 1
        findings = await gateway.handovers.findings("collections", taken.id)
        assert [(each.number, each.result.name) for each in findings] == [(3, "REJECTED")]
        with gateway.store.snapshot() as connection:
            verify(connection)
            [receipt] = [entry.content for entry in entries_of(connection, kind="receipt")]
        assert (receipt["result"], receipt["rejected"]) == ("partial", 1)
        await until_left(house.home / "handovers" / taken.id)
        shown = await house.cli("handover", "show", taken.id)
        assert shown.code == 0 and "document: 4 rows" in shown.out and "partial, 1 rows rejected" in shown.out
        told = (await house.cli("handover", "show", taken.id, "--json")).json
        assert HandoverAnswer.model_validate(told).receipt is not None and told["package"] is None
        assert told["batch"] == done.figures["batch"]
    assert len(house.scb.pump.live) == 3
    shown = await house.cli("handover", "show", taken.id)
    assert shown.code == 0 and "1 rows rejected" in shown.out and f"batch {done.figures['batch']}" in shown.out
    (house.home / "receipt").write_text(f'{{"package": "{taken.id}"}}')
    paper = await house.cli("handover", "receipt", str(house.home / "receipt"), "--from", "state-credit-bureau")
    assert paper.code == 2 and "no packages go to state-credit-bureau" in paper.err, paper.err
    told = (await house.cli("handover", "show", taken.id, "--json")).json
    assert (told["state"], told["package"], told["receipt"]["result"]) == ("acknowledged", None, "partial")


async def test_the_department_sends_contracts_as_it_sends_debtors(house: House) -> None:
    house.scb.pump.patience = 0
    (house.home / "contracts.csv").write_bytes(register(3))
    sent = await house.cli(
        "handover", "send", str(house.home / "contracts.csv"), "--to", "state-credit-bureau", "--wait-receipt"
    )
    assert sent.code == 0 and "document: 3 rows" in sent.out and "accepted" in sent.out, sent.err
    assert "did not arrive" not in sent.out
    assert len(house.scb.pump.live) == 3


async def test_a_document_that_cannot_be_read_now_is_not_unknown(house: House) -> None:
    async with still(house) as gateway:
        taken = await gateway.handovers.order(order(recipient="state-credit-bureau", **UPLOAD), pieces(register(2)))
        await turned(gateway, taken.id, HandoverState.SENDING)
        document = house.home / "handovers" / taken.id / "document"
        away = document.rename(document.with_name("away"))
        for _ in range(2):
            assert (await turn(gateway, taken.id)).state is HandoverState.SENDING
        away.rename(document)
        assert (await turn(gateway, taken.id)).state is HandoverState.SENT
        with gateway.store.snapshot() as connection:
            verify(connection)


async def test_a_bureau_is_asked_and_no_receipt_of_a_batch_is_taken(house: House) -> None:
    house.scb.pump.patience = 10_000
    async with house.gateway() as gateway:
        taken = await gateway.handovers.order(order(recipient="state-credit-bureau", **UPLOAD), pieces(register(2)))
        await until(gateway, taken.id, HandoverState.SENT, within_s=40)
        receipt = json.dumps({"package": taken.id}).encode()
        with pytest.raises(NotFound, match="no packages go to state-credit-bureau"):
            await gateway.handovers.receipt("collections", "state-credit-bureau", receipt)
        with pytest.raises(NotFound, match="no packages go to state-credit-bureau"):
            await gateway.handovers.receipt_for("collections", taken.id, receipt)


async def test_the_first_bureau_is_told_of_those_who_consented(house: House) -> None:
    house.fcb.pump.patience = 0
    async with house.gateway() as gateway:
        for person in PEOPLE[:2]:
            await give_consent(
                house, gateway, person, purposes=["legal_duty"], fields=["identity", "contact", "contract"]
            )
        taken = await gateway.handovers.order(order(recipient="first-credit-bureau", **UPLOAD), pieces(register(3)))
        done = await until(gateway, taken.id, HandoverState.ACKNOWLEDGED, HandoverState.CANCELLED, within_s=40)
        assert done.state is HandoverState.ACKNOWLEDGED, done.figures
        assert done.figures["counts"] == {"permit": 2, "deny": 1}
    assert len(house.fcb.pump.live) == 2


async def test_a_row_that_cannot_be_written_stays_behind(house: House) -> None:
    house.scb.pump.patience = 0
    text = register(3).decode().replace(PEOPLE[0].data["contract"]["funding_type"], "неизвестный вид", 1).encode()
    async with house.gateway() as gateway:
        taken = await gateway.handovers.order(order(recipient="state-credit-bureau", **UPLOAD), pieces(text))
        done = await until(gateway, taken.id, HandoverState.ACKNOWLEDGED, HandoverState.CANCELLED, within_s=40)
        assert done.state is HandoverState.ACKNOWLEDGED, done.figures
        [finding] = await gateway.handovers.findings("collections", taken.id)
        assert finding.number == 2 and finding.reasons[0]["code"] == "cannot_be_written"
        assert "неизвестный" not in str(finding)


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CUT_CONNECTION])
async def test_a_document_that_perhaps_arrived_is_never_sent_again(house: House, fault: Fault) -> None:
    house.scb.fail_next(fault, 1)
    async with house.gateway() as gateway:
        taken = await gateway.handovers.order(order(recipient="state-credit-bureau", **UPLOAD), pieces(register(2)))
        done = await until(gateway, taken.id, HandoverState.UNKNOWN, HandoverState.ACKNOWLEDGED, within_s=40)
        assert done.state is HandoverState.UNKNOWN
        key = "SELECT wrapped FROM handovers"
        with gateway.store.snapshot() as connection:
            assert connection.execute(key).scalar() is not None
        # A person finds out that it arrived; by which id they would tell of it nobody knows.
        await settle_as_two(gateway, "compliance", taken.id, OutcomeResult.DELIVERED, person="A", reason="asked")
        sent = await until(gateway, taken.id, HandoverState.SENT)
        assert await uploading.ask(gateway.handovers.flow, sent) > 0
        with gateway.store.snapshot() as connection:
            verify(connection)
            assert connection.execute(key).scalar() is None, "nobody reads its register again"
    assert sum(call.operation == "uploadFile" for call in house.scb.calls) <= 1
