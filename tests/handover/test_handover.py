"""A register of debtors to a collector: decided row by row, in the ledger, sealed, uploaded, acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import House, both_engines
from qaqpa.errors import NotFound
from qaqpa.handover.manifest import verified
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import verify
from qaqpa.model.handover import HandoverState, row_id
from qaqpa.tlog.notes import VerifierKey
from registers import agency, as_csv, manifest_in, opened, order, pieces, register_in, rows, until, until_left

pytestmark = both_engines


async def test_a_register_goes_as_one_package_and_each_row_stands_in_the_ledger(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.handover.flow.LOOK_AGAIN_S", 0.1)
    lines = rows(7)
    lines[2]["facts.contract.settlement_steps_done"] = False  # denied
    lines[3]["facts.contract.breach_notified_on"] = None  # a gap
    lines[4]["identity.iin"] = "900101300124"  # wrong check digit
    lines[5] = lines[0] | {"contract.amount": "1.00"}  # the same debt again
    async with agency(house, tmp_path / "agency") as recipient, house.gateway() as gateway:
        taken = await gateway.handovers.order(order(), pieces(as_csv(lines)))
        sent = await until(gateway, taken.id, HandoverState.SENT)
        [path] = recipient.packages
        assert path.name == f"{taken.id}.zip.age"
        package = opened(recipient, path.name)
        assert [line["ИИН"] for line in register_in(package)] == [lines[at]["identity.iin"] for at in (0, 1, 6)]
        manifest = manifest_in(package)
        verified(
            package.read("manifest.json"), package.read("manifest.sig"), VerifierKey.parse(manifest["verifier_key"])
        )
        assert manifest["rows"] == {"handed_in": 7, "go": 3}
        ids = [row_id(taken.id, number) for number in (2, 3, 8)]
        assert package.read("disclosures.csv").decode().split() == ["row,disclosure"] + [
            f"{at},{each}" for at, each in enumerate(ids, start=1)
        ]
        with gateway.store.snapshot() as connection:
            verify(connection)
            intents = [entry.content for entry in entries_of(connection, kind="intent")]
            refusals = [entry.content for entry in entries_of(connection, kind="refusal")]
            [outcome] = [entry.content for entry in entries_of(connection, kind="outcome")]
        assert [each["id"] for each in intents] == [*ids, taken.id]
        assert [each["row"] for each in refusals] == [4, 5]
        assert outcome["intent"] == taken.id and outcome["result"] == "delivered" and outcome["rows"] == 3
        findings = await gateway.handovers.findings("collections", taken.id)
        assert [(each.number, each.result.name) for each in findings] == [
            (4, "DENY"), (5, "GAP"), (6, "MALFORMED"), (7, "DUPLICATE"),
        ]  # fmt: skip
        assert not (house.home / "handovers" / taken.id / "register").exists()
        recipient.acknowledge(path.name, reject={2: "unknown_debtor"})
        done = await until(gateway, taken.id, HandoverState.ACKNOWLEDGED)
        assert done.figures["receipt"]["rejected"] == 1
        findings = await gateway.handovers.findings("collections", taken.id)
        assert [(each.number, each.result.name) for each in findings if each.result.name == "REJECTED"] == [
            (3, "REJECTED")
        ]
        with gateway.store.snapshot() as connection:
            verify(connection)
        assert sent.figures["rows"] == 3
        await until_left(house.home / "handovers" / taken.id, "manifest.json", "manifest.sig")


async def test_what_is_no_id_is_nobodys_handover(house: House) -> None:
    async with house.gateway() as gateway:
        for text in ("x", "", "\x00" * 36, "\udcff", "0198c5a0-0000-7000-8000-00000000000\n"):
            with pytest.raises(NotFound):
                await gateway.handovers.find("collections", text)
