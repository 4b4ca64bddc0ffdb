"""Contracts to credit bureaus: a register goes as one document, and what the bureau says comes back to its rows."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from harness import PEOPLE, House, both_engines, give_consent
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import verify
from qaqpa.model.handover import HandoverState
from qaqpa.tables import HEADINGS
from qaqpa.testing.faults import Fault
from registers import order, pieces, until, until_left

UPLOAD = {"operation": "contract_upload", "purpose": "legal_duty"}


def register(count: int, **changes: Any) -> bytes:
    """Contracts of so many people."""
    text = io.StringIO()
    lines = []
    for person in PEOPLE[:count]:
        data = {**person.data, "contract": {**person.data["contract"], **changes}}
        line = {}
        for path in HEADINGS:
            node: Any = data
            for part in path.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if node is not None and not path.startswith("report."):
                line[path] = node
        lines.append(line)
    out = csv.writer(text, delimiter=";")
    paths = sorted({path for line in lines for path in line})
    out.writerow([HEADINGS[path].ru for path in paths])
    for line in lines:
        out.writerow([line.get(path, "") for path in paths])
    return text.getvalue().encode()


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
    assert len(house.scb.pump.live) == 3


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
        with gateway.store.snapshot() as connection:
            verify(connection)
    assert sum(call.operation == "uploadFile" for call in house.scb.calls) <= 1
