"""Claims one at a time through the one door: an assignment arrives; a portfolio, or a recall of nothing, does not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from harness import DEBTOR_FACTS, PEOPLE, House, handover_document, request
from qaqpa.errors import Denied, InvalidRequest
from qaqpa.model.disclosure import Exchange, Extract
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.recall import Recall, RecallReason
from qaqpa_adapters.demo_collector import DemoCollector, DemoCollectorSettings

CLAIM = {
    **DEBTOR_FACTS, "days_overdue": 800, "secured_by_home": False, "remedies_exhausted": True, "cession": "ДЦ-1/2026",
}  # fmt: skip


def claim(operation: str, **facts: Any) -> dict[str, Any]:
    return handover_document(
        PEOPLE[0], CLAIM | facts, recipient="demo-cession-buyer", operation=operation, purpose="cession"
    )


async def test_an_assignment_arrives_whole_and_nothing_beside_it(house: House) -> None:
    async with house.gateway() as gateway:
        done = await gateway.disclose("collections", request(claim("assignment")))
    [file] = house.buyer.received
    assert done.report == {"receipt": "CB-000001"}
    assert file["seller_code"] == "MFO-1"
    assert file["debtor"]["iin"] == PEOPLE[0].iin
    assert file["contract"]["price"] == PEOPLE[0].data["contract"]["price"]
    assert {"bank", "related", "employment"} & file.keys() == set()
    assert "email" not in file["contact"]


async def test_an_assignment_without_its_agreement_is_refused_and_entered(house: House) -> None:
    async with house.gateway() as gateway:
        with pytest.raises(Denied) as caught:
            await gateway.disclose("collections", request(claim("assignment", cession="ДЦ-9/2026")))
        assert [reason.guard for reason in caught.value.decision.reasons] == ["cession_agreement_signed"]
        [refusal] = house.entries(gateway, "refusal")
    assert refusal["recipient"] == "demo-cession-buyer"
    assert house.buyer.calls == []


@pytest.mark.promise(2)
async def test_a_portfolio_never_goes_for_one_person(house: House) -> None:
    async with house.gateway() as gateway:
        with pytest.raises(InvalidRequest, match="in a handover only"):
            await gateway.disclose("collections", request(claim("portfolio_preview")))
        assert house.entries(gateway, "intent") == []
    assert house.buyer.calls == []


@pytest.mark.parametrize("recipient", ["demo-collector", "demo-cession-buyer"])
async def test_a_recall_that_does_not_say_what_it_recalls_is_not_sent(house: House, recipient: str) -> None:
    purpose = "cession" if recipient == "demo-cession-buyer" else "debt_collection"
    document = handover_document(PEOPLE[0], {}, recipient=recipient, operation="recall", purpose=purpose)
    async with house.gateway() as gateway:
        with pytest.raises(InvalidRequest, match="what is recalled"):
            await gateway.disclose("collections", request(document))
        assert house.entries(gateway, "intent") == []
    assert house.collector.calls == house.buyer.calls == []


def test_a_recall_names_the_debt_and_nobody() -> None:
    recall = Recall("0198c5a0-0000-7000-8000-000000000003", RecallReason.WITHDRAWAL, date(2026, 12, 1))
    message = DemoCollector(DemoCollectorSettings(agency_code="KA-7")).encode(
        "recall",
        Extract({"contract": {"number": "MK-1"}}, (), (), consent_confirmed=False),
        Exchange(DisclosureId("0198c5a0-0000-7000-8000-000000000001"), datetime(2026, 11, 23, tzinfo=UTC), recall),
    )
    assert message.body == (
        b'{"agency_code":"KA-7","recall":{"of":"0198c5a0-0000-7000-8000-000000000003","reason":"withdrawal",'
        b'"due_on":"2026-12-01","contract":"MK-1"}}'
    )
    assert message.endpoint == "recall"
