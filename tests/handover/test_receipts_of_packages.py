"""Receipts that must not be believed leave the handover as it was, and are told of; those that come early are not
lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness import House, both_engines, settle_as_two
from qaqpa import log
from qaqpa.errors import NotFound, ReceiptMalformed, ReceiptRefused
from qaqpa.gateway import Gateway
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.words import OutcomeResult
from qaqpa.testing.packages import PackageFault, ReceiptFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import agency
from turning import SAID, bare, examined, standing, still, taken_in, turn, turned

SENDING, SENT, UNKNOWN = HandoverState.SENDING, HandoverState.SENT, HandoverState.UNKNOWN
ACKNOWLEDGED, REJECTED = HandoverState.ACKNOWLEDGED, HandoverState.REJECTED


@pytest.fixture
def home(tmp_path: Path, store_url: str) -> House:
    """An installation without third parties."""
    return bare(tmp_path, store_url)


@pytest.fixture
async def collector(home: House, tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with agency(home, tmp_path / "agency") as recipient:
        yield recipient


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What goes to the log."""
    stream = io.StringIO()
    log.configure(level=logging.INFO, stream=stream)
    yield stream
    log.configure()


async def test_what_is_not_believed_changes_nothing_and_is_told_of(
    home: House, collector: SftpRecipient, logged: io.StringIO
) -> None:
    def told() -> str:
        said = logged.getvalue()
        logged.truncate(logged.seek(0) or 0)
        return said

    wrong = [fault for fault in ReceiptFault if fault is not ReceiptFault.NONE]
    async with still(home) as gateway:
        name = await taken_in(gateway)
        sent = await turned(gateway, name, SENT)
        package = f"{name}.zip.age"
        for number, fault in enumerate(wrong, start=1):
            path = collector.acknowledge(package, fault=fault)
            data = await asyncio.to_thread(path.read_bytes)
            with pytest.raises((ReceiptRefused, NotFound)):  # handed in, whoever does so hears of it
                await gateway.handovers.receipt("collections", "demo-collector", data)
            told()
            assert await turn(gateway, name) == sent, fault
            assert told().count('"receipt refused"') == 1, fault
            assert await turn(gateway, name) == sent
            assert "receipt refused" not in told(), "once is enough"
            kept = [path.read_text() for path in (home.home / "handovers" / "receipts" / "demo-collector").iterdir()]
            assert len(kept) == number
            assert all(text.startswith("refused: ") for text in kept)
            assert any(hashlib.sha256(data).hexdigest() in text for text in kept), "its digest, and no word of it"
        assert await gateway.handovers.findings("collections", name) == []
        assert home.entries(gateway, "receipt") == []

        good = collector.acknowledge(package, reject={3: "unknown_debtor"}, zipped=True)
        data = await asyncio.to_thread(good.read_bytes)
        for stranger in ("demo-cession-buyer", "first-credit-bureau"):
            with pytest.raises(NotFound):
                await gateway.handovers.receipt("collections", stranger, data)
        assert (await turned(gateway, name, ACKNOWLEDGED)).figures["receipt"]["rejected"] == 1
        # The same again changes nothing; another one says nothing new.
        assert (await gateway.handovers.receipt("collections", "demo-collector", data)).state is ACKNOWLEDGED
        other = collector.acknowledge(package, reject={1: "duplicate"})
        with pytest.raises(ReceiptMalformed):
            await gateway.handovers.receipt("collections", "demo-collector", await asyncio.to_thread(other.read_bytes))
        assert [each.number for each in await gateway.handovers.findings("collections", name)] == [4]
        assert len(home.entries(gateway, "receipt")) == 1
        await turn(gateway, name)
        examined(home, gateway, collector)


@both_engines
async def test_a_receipt_that_comes_before_our_own_outcome_is_not_lost(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        first = await taken_in(gateway)
        await turned(gateway, first, SENT)
        second = await taken_in(gateway, seed=5)
        sending = await turned(gateway, second, SENDING)
        # It has arrived, and before our process says so the recipient has acknowledged it.
        await gateway.handovers.flow.transport.deliver(gateway.handovers.flow.sealed(sending), lambda _bytes: None)
        early = collector.acknowledge(f"{second}.zip.age")
        for _ in range(2):
            await turn(gateway, first)
        with pytest.raises(ReceiptRefused, match="still sending"):
            await gateway.handovers.receipt("collections", "demo-collector", await asyncio.to_thread(early.read_bytes))
        await turned(gateway, second, SENT)
        await turned(gateway, second, ACKNOWLEDGED)
        await turn(gateway, second)

        # Nor one for a package of which nobody knew whether it had arrived, until a person found out.
        collector.fail_next(PackageFault.DROP_AFTER_RENAME)
        third = await taken_in(gateway, seed=6)
        await turned(gateway, third, SENDING)
        await collected(gateway, collector, third)
        await turn(gateway, first)
        await settle_as_two(gateway, "compliance", third, OutcomeResult.DELIVERED, **SAID)
        assert (await turn(gateway, third)).state is REJECTED
        await turn(gateway, third)
        examined(home, gateway, collector)


async def collected(gateway: Gateway, collector: SftpRecipient, name: HandoverId) -> None:
    """The package is collected and rejected at once, while our process is told nothing of it."""
    real = collector.placed

    def placed(file: str) -> None:
        real(file)
        collector.acknowledge(file, result="rejected")
        (collector.inbox / file).unlink()

    collector.placed = placed  # type: ignore[method-assign]
    assert (await turn(gateway, name)).state is UNKNOWN
    collector.placed = real  # type: ignore[method-assign]


async def test_for_a_cancelled_handover(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        name = await taken_in(gateway)
        await gateway.handovers.cancel("collections", name)
        (collector.inbox / f"{name}.zip.age").write_bytes(b"of their own")
        path = collector.acknowledge(f"{name}.zip.age")
        (collector.inbox / f"{name}.zip.age").unlink()
        before = await standing(gateway, name)
        with pytest.raises(ReceiptMalformed, match="cancelled"):
            await gateway.handovers.receipt("collections", "demo-collector", path.read_bytes())
        assert await standing(gateway, name) == before
        examined(home, gateway, collector)
