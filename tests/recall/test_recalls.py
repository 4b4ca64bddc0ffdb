"""What left is asked back: by row and by handover, as a notice of ids that is in the ledger before it leaves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from harness import House, both_engines
from qaqpa.errors import NotAllowed, NotFound, NotPossible, VerificationFailed
from qaqpa.handover.manifest import verified
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.recalls import enter, intend_notice, notice_intent, recall_entry
from qaqpa.model.decision import Asked
from qaqpa.model.handover import row_id
from qaqpa.model.identifiers import CallerId, HandoverId, RecipientId, uuid7
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import SealKind
from qaqpa.policy import Facts, decide
from qaqpa.recall.flow import GIVE_UP
from qaqpa.testing.packages import PackageFault, ReceiptFault
from qaqpa.tlog.notes import VerifierKey
from qaqpa.transport.packages import Mark, Stage, write_mark
from recalls import ASKING, handed_over, named_in, reached, recall_as_two, worked
from registers import opened
from turning import at, still


@both_engines
async def test_a_row_is_recalled_by_ids_alone_and_confirmed_by_the_recipients_receipt(
    house: House, tmp_path: Path
) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        gateway, recipient = scene.gateway, scene.agency
        row = row_id(HandoverId(scene.handover), 4)  # the third line of debtors, the second that went
        asked = await scene.ask(row, RecallReason.REPAYMENT)
        sent = await reached(gateway, asked.id, RecallState.SENT)
        [path] = scene.notices
        assert path.name == f"{sent.notice}.zip.age"
        listed, manifest = named_in(recipient, path.name)
        assert listed == [{"handover": scene.handover, "row": "2", "disclosure": row}]
        package = opened(recipient, path.name)
        verified(
            package.read("manifest.json"), package.read("manifest.sig"), VerifierKey.parse(manifest["verifier_key"])
        )
        files = [tmp_path / name for name in ("manifest.json", "manifest.sig")]
        for file in files:
            file.write_bytes(package.read(file.name))
        checked = await house.cli("handover", "verify", *map(str, files), "--key", manifest["verifier_key"])
        assert checked.code == 0 and f"notice of recall {sent.notice}" in checked.out, checked.err
        assert (manifest["reason"], manifest["of"], manifest["operation"]) == ("repayment", row, "recall")
        assert manifest["due_on"] == asked.due_on.isoformat()
        everything = b"".join(package.read(name) for name in package.namelist())
        for line in scene.lines:
            assert all(str(line[path]).encode() not in everything for path in ("identity.iin", "contract.number"))
        house.verified(gateway)
        with gateway.store.snapshot() as connection:
            [told] = [entry.content for entry in entries_of(connection, kind="recall")]
            [intent] = [each.content for each in entries_of(connection, kind="intent", request=str(sent.notice))]
            [outcome] = [each.content for each in entries_of(connection, kind="outcome", request=str(sent.notice))]
        assert (told["recall"], told["of"], told["reason"]) == (asked.id, row, "repayment")
        assert (told["caller"], told["person"]) == ("compliance", "A. Compliance")
        assert (intent["recall"], intent["disclosures"], intent["fields"]) == (asked.id, 1, [])
        assert outcome["result"] == "delivered"
        recipient.acknowledge(path.name, result="destroyed")
        done = await reached(gateway, asked.id, RecallState.CONFIRMED)
        assert done.figures["receipt"]["signed"] is True
        [receipt] = house.entries(gateway, "receipt")
        assert (receipt["recall"], receipt["result"]) == (asked.id, "destroyed")
        house.verified(gateway)
        with pytest.raises(NotPossible, match="recalled already"):
            await scene.ask(row)


@both_engines
async def test_a_whole_handover_goes_as_one_notice_of_all_rows_that_went(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        row, behind = (row_id(HandoverId(scene.handover), line) for line in (4, 3))
        for unknown in (uuid7(), "x", behind):  # a row that stayed behind never left
            with pytest.raises(NotFound):
                await scene.ask(unknown)
        assert house.entries(scene.gateway, "recall") == []
        scene.agency.fail_next(PackageFault.DROP_AFTER_RENAME)  # it arrived, and nobody could say so
        asked = await scene.ask(scene.handover, RecallReason.AGREEMENT_ENDED)
        sent = await reached(scene.gateway, asked.id, RecallState.SENT)
        [path] = scene.notices
        listed, manifest = named_in(scene.agency, path.name)
        assert [each["disclosure"] for each in listed] == [
            row_id(HandoverId(scene.handover), line) for line in (2, 4, 5, 6)
        ]
        assert [each["row"] for each in listed] == ["1", "2", "3", "4"]
        assert (manifest["scope"], manifest["disclosures"]) == ("handover", 4)
        for of in (scene.handover, row):  # one of its rows, too
            with pytest.raises(NotPossible, match="recalled already"):
                await scene.ask(of)
        with pytest.raises(NotFound):  # a notice is nobody's data
            await scene.ask(str(sent.notice))
        scene.agency.acknowledge(path.name, reject={3: "court_order"})
        refused = await reached(scene.gateway, sent.id, RecallState.REFUSED)
        assert (refused.figures["receipt"]["kept"], refused.figures["receipt"]["code"]) == (1, "court_order")
        house.verified(scene.gateway)


async def test_a_recall_that_policy_refuses_waits_and_one_that_is_not_obeyed_is_late(
    house: House, tmp_path: Path
) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        recalls, acts = scene.gateway.recalls, {"person": "A. Compliance", "reason": "incident"}
        await scene.gateway.suspend("compliance", "demo-collector", **acts)
        asked = await scene.ask(scene.handover)
        blocked = await reached(scene.gateway, asked.id, RecallState.BLOCKED)
        assert (blocked.figures["code"], scene.notices) == ("deny", [])
        [refusal] = [each for each in house.entries(scene.gateway, "refusal") if "recall" in each]
        assert refusal["recall"] == asked.id
        assert "recipient_active" in {reason["guard"] for reason in refusal["reasons"]}
        await scene.gateway.resume("compliance", "demo-collector", **acts)
        with pytest.raises(NotAllowed, match="two persons"):
            await recalls.confirm("compliance", asked.id, ASKING)
        blocked, asked = asked, await scene.ask(scene.handover)
        served = await recalls.find("compliance", blocked.id)
        assert (served.state, served.figures["instead"]) == (RecallState.CANCELLED, asked.id)
        again = asked
        await worked(scene.gateway, again.id)
        assert len(scene.notices) == 1
        house.clock.offset = timedelta(days=10)  # the last day itself is not late
        await recalls.keep()
        assert (await recalls.find("compliance", asked.id)).state is RecallState.SENT
        house.clock.offset = timedelta(days=11)
        [late] = await recalls.listed("compliance", [RecallState.LATE])
        assert late.id == asked.id
        with pytest.raises(NotPossible):
            await recalls.cancel("compliance", asked.id, person="A. Compliance")
        done = await recalls.acknowledge("compliance", asked.id, destroyed=True, act="Act 7", person="A. Compliance")
        assert done.state is RecallState.CONFIRMED
        [receipt] = house.entries(scene.gateway, "receipt")
        assert (receipt["act"], receipt["signed"], receipt["caller"]) == ("Act 7", False, "compliance")
        house.verified(scene.gateway)


async def test_a_notice_leaves_in_its_recipients_hours_alone_however_often_it_is_tried(
    house: House, tmp_path: Path
) -> None:
    windows = "windows = [{ opens = 00:00:00, closes = 23:59:59 }]"
    house.edit("recipients/demo-collector.toml", ('keep_for = "365d"', f'{windows}\nkeep_for = "365d"'))
    async with handed_over(house, tmp_path / "agency") as scene:
        handover, agency = scene.handover, scene.agency
    house.edit("recipients/demo-collector.toml", (windows, "windows = [{ opens = 09:00:00, closes = 18:00:00 }]"))
    async with agency, still(house, agency) as gateway:
        at(house, gateway, 10)
        asked = await recall_as_two(gateway, handover)
        flow = gateway.recalls.recalls.flow
        await agency.stop()
        assert await flow.turn(asked.id) == 0, "the notice is intended"
        assert await flow.turn(asked.id) > 0, "and nobody is there"
        await agency.start()
        for hour, state in ((20, RecallState.SENDING), (33.5, RecallState.SENT)):
            at(house, gateway, hour)
            await flow.turn(asked.id)
            assert (await gateway.recalls.recalls.find(asked.id)).state is state
        house.verified(gateway)


async def test_a_notice_that_perhaps_arrived_is_never_called_not_sent(house: House, tmp_path: Path) -> None:
    """Nobody could be asked until it was given up, or our file was damaged: what our marks say counts then."""
    async with handed_over(house, tmp_path / "agency") as scene:
        await scene.gateway.jobs.close()
        flow, rows = scene.gateway.recalls.recalls.flow, iter((2, 4, 5, 6))
        for how, mark, state in (
            ("away", Stage.PLACING, RecallState.UNKNOWN),
            ("damaged", Stage.PLACING, RecallState.UNKNOWN),
            ("away", Stage.BEGUN, RecallState.BLOCKED),
            ("damaged", Stage.PLACED, RecallState.SENT),
        ):
            asked = await scene.ask(row_id(HandoverId(scene.handover), next(rows)))
            await flow.turn(asked.id)
            package = flow._package(await scene.gateway.recalls.recalls.find(asked.id))
            write_mark(package, Mark(mark))
            if how == "away":
                await scene.agency.stop()
                assert await flow.turn(asked.id) > 0
                house.clock.offset += GIVE_UP + timedelta(hours=1)
            else:
                package.path.write_bytes(b"damaged")
            await flow.turn(asked.id)
            assert (await scene.gateway.recalls.recalls.find(asked.id)).state is state, (how, mark)
            if how == "away":
                await scene.agency.start()
        house.verified(scene.gateway)


async def test_a_receipt_counts_only_for_its_own_recall_and_from_its_own_recipient(
    house: House, tmp_path: Path
) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        gateway, agency = scene.gateway, scene.agency
        receipts, look_at = gateway.handovers.flow.receipts, gateway.recalls.recalls.find
        first = await scene.ask(row_id(HandoverId(scene.handover), 2))
        await worked(gateway, first.id)
        [of_first] = scene.notices
        second = await scene.ask(row_id(HandoverId(scene.handover), 4))
        await worked(gateway, second.id)
        [of_second] = [path for path in scene.notices if path != of_first]
        bad = [
            agency.acknowledge(of_second.name, result="destroyed", fault=fault)
            for fault in (ReceiptFault.STRANGER, ReceiptFault.UNSIGNED, ReceiptFault.ANOTHER_FILE)
        ]
        await receipts.look("demo-collector")
        assert (await look_at(second.id)).state is RecallState.SENT
        kept = {path.name for path in (house.home / "handovers/receipts/demo-collector").iterdir()}
        assert kept == {path.name for path in bad}, "as evidence, and not to be looked at again"
        receipt = agency.acknowledge(of_first.name, result="destroyed").read_bytes()
        with pytest.raises(NotFound, match=first.id):
            await gateway.recalls.receipt("compliance", second.id, receipt)
        assert (await look_at(first.id)).state is RecallState.CONFIRMED
        assert (await look_at(second.id)).state is RecallState.SENT
        handovers = agency.acknowledge(f"{scene.handover}.zip.age", result="destroyed").read_bytes()
        with pytest.raises(NotFound):  # the receipt of a handover, which cannot say that either
            await gateway.recalls.receipt("compliance", second.id, handovers)
        # One that comes before we know that the notice arrived is looked at again.
        change = "UPDATE recalls SET state = ? WHERE id = ?"
        await gateway.store.write(lambda connection: connection.execute(change, ("unknown", second.id)))
        agency.acknowledge(of_second.name, result="accepted")
        agency.acknowledge(of_second.name, result="destroyed")
        await receipts.look("demo-collector")
        assert (await look_at(second.id)).state is RecallState.UNKNOWN
        await gateway.store.write(lambda connection: connection.execute(change, ("sent", second.id)))
        await receipts.look("demo-collector")
        assert (await look_at(second.id)).state is RecallState.CONFIRMED
        house.verified(gateway)


async def test_a_notice_that_nobody_asked_for_is_found_in_the_ledger(house: House) -> None:
    async with house.gateway() as gateway:
        ledger, recall, notices = gateway.ledger, uuid7(), (uuid7(), uuid7())
        asked = Asked(CallerId("collections"), RecipientId("demo-collector"), "recall", "debt_collection")
        decision = decide(gateway.policy, gateway.policy.find(asked), facts(house, asked))
        await ledger.record_policy([], gateway.setup.config.digest)
        told = recall_entry(
            recall, of=uuid7(), scope=RecallScope.HANDOVER, handover=None, recipient="demo-collector",
            reason=RecallReason.ERROR, due_on=house.clock().date(), caller=None, person=None, subject=None,
            at=house.clock(),
        )  # fmt: skip
        await enter(ledger, Kind.RECALL, told, lambda _: None)
        for notice, of in zip(notices, (recall, uuid7()), strict=True):
            public = notice_intent(
                notice, of, decision,
                seal=SealKind.AGE, disclosures=1, package={"sha256": "0" * 64, "bytes": 1}, at=house.clock(),
            )  # fmt: skip
            await intend_notice(ledger, public, still_holds=lambda _: True, move=lambda _: None)
            if of == recall:
                assert house.verified(gateway).open_intents == (notice,)
        with pytest.raises(VerificationFailed, match="that nobody asked for"):
            house.verified(gateway)


def facts(house: House, asked: Asked) -> Facts:
    return Facts(house.clock(), asked, frozenset({FieldPath("contract.number")}), ContractFacts())
