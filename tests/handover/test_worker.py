"""The process that assembles large registers: it makes what the thread makes, and nobody's end harms the truth."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness import House
from qaqpa.errors import RegisterRefused, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.handover import deciding, hands, packer
from qaqpa.handover.hands import beside
from qaqpa.handover.records import Handover
from qaqpa.handover.spool import SpoolWriter
from qaqpa.handover.worker import Brief
from qaqpa.model.handover import HandoverIntent, HandoverState
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import agency, as_csv, manifest_in, opened, order, pieces, register_in, rows, until
from turning import examined, standing, still, taken_in, turned

SENT, DECIDING, CANCELLED = HandoverState.SENT, HandoverState.DECIDING, HandoverState.CANCELLED


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """Workers begun for every register, however small; those that were."""
    begun: list[asyncio.subprocess.Process] = []
    real: Callable[..., Any] = asyncio.create_subprocess_exec

    async def begin(*told: Any, **named: Any) -> asyncio.subprocess.Process:
        process: asyncio.subprocess.Process = await real(*told, **named)
        if hands._WORKER in told:
            begun.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", begin)
    monkeypatch.setattr(packer, "LARGE", 0)
    return begun


@pytest.fixture
async def collector(house: House, tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with agency(house, tmp_path / "agency") as recipient:
        yield recipient


def mixed(count: int = 60) -> list[dict[str, Any]]:
    """A register in which something is wrong."""
    lines = rows(count)
    lines[2]["facts.contract.settlement_steps_done"] = False
    lines[3]["facts.contract.breach_notified_on"] = None
    lines[4]["identity.iin"] = "900101300124"
    lines[5] = lines[0] | {"contract.amount": "1.00"}
    lines[7]["contact.registered_address"] = "=cmd|' /C calc'!A0"
    return lines


async def handed_over(gateway: Gateway, lines: list[dict[str, Any]], documents: Any = None) -> Handover:
    taken = await gateway.handovers.order(order(), pieces(as_csv(lines)), documents)
    return await until(gateway, taken.id, SENT)


async def test_it_makes_what_the_thread_makes(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(deciding, "CHUNK", 7)
    paper = tmp_path / "assignment.pdf"
    paper.write_bytes(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n" * 40)
    async with house.gateway() as gateway:
        monkeypatch.setattr(packer, "LARGE", 2**40)
        in_thread = await handed_over(gateway, mixed(), {"assignment_of_files": paper})
        assert started == []
        monkeypatch.setattr(packer, "LARGE", 0)
        apart = await handed_over(gateway, mixed(), {"assignment_of_files": paper})
        [process] = started
        assert process.returncode == 0
        one, other = (opened(collector, f"{each.id}.zip.age") for each in (in_thread, apart))
        assert register_in(one) == register_in(other) and len(register_in(one)) == 55
        assert one.namelist() == other.namelist()
        said, also = manifest_in(one), manifest_in(other)
        assert said["sums"] == also["sums"] and said["rows"] == also["rows"] == {"handed_in": 60, "go": 55}
        alike = [name for name in said if name not in {"handover", "taken_in", "checkpoint", "others"}]
        assert {name: said[name] for name in alike} == {name: also[name] for name in alike}
        told = [await gateway.handovers.findings("collections", each.id) for each in (in_thread, apart)]
        assert told[0] == told[1] and len(told[0]) == 5
        examined(house, gateway, collector)


async def test_what_it_refuses_is_refused_in_the_same_words(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = as_csv(rows(9)) + b'"open'
    async with house.gateway() as gateway:
        told = []
        for large in (2**40, 0):
            monkeypatch.setattr(packer, "LARGE", large)
            taken = await gateway.handovers.order(order(), pieces(cut))
            told.append((await until(gateway, taken.id, CANCELLED)).figures)
        assert told[0]["code"] == told[1]["code"] == RegisterRefused.code
        assert told[0]["problems"] == told[1]["problems"]
        assert len(started) == 1 and not collector.packages


async def test_killed_while_it_packs_the_handover_goes_on(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "CHUNK", 5)
    entered = 0
    real: Callable[..., Any] = deciding.enter_chunk

    async def enter_chunk(*told: Any, **named: Any) -> None:
        nonlocal entered
        await real(*told, **named)
        entered += 1
        if entered == 4:
            os.kill(started[0].pid, signal.SIGKILL)

    monkeypatch.setattr(deciding, "enter_chunk", enter_chunk)
    async with house.gateway() as gateway:
        sent = await handed_over(gateway, mixed())
        assert [process.returncode for process in started] == [-signal.SIGKILL, 0]
        assert sent.figures["counts"]["permit"] == len(register_in(opened(collector, f"{sent.id}.zip.age"))) == 55
        examined(house, gateway, collector)
    assert entered == 12, "no chunk is entered twice"


def spooled(path: Path) -> None:
    """A register that waits, under the key of `brief_of`."""
    writer = SpoolWriter(path, bytes(32))
    writer.write(as_csv(rows(9)))
    writer.close()


def begun(folder: Path) -> list[Path]:
    """What is left of a package."""
    return list(folder.glob("*package*")) + list(folder.glob(".*package*"))


def brief_of(gateway: Gateway, folder: Path, **changes: Any) -> Brief:
    """For a register that nobody handed in."""
    flow, now = gateway.handovers.flow, gateway.ledger.clock()
    handover = HandoverId("019b0000-0000-7000-8000-000000000000")
    partner: Any = flow.packer.partners["demo-collector"]
    told = {
        "config": flow.packer.config, "order": order(), "since": now, "now": now,
        "intent": HandoverIntent(handover, RecipientId("demo-collector")), "today": gateway.policy.day(now),
        "checks_facts": False, "headings": {}, "register": folder / "register", "key": bytes(32),
        "pseudonyms": bytes(32), "package": folder / "package", "seal_key": partner.key_file,
    } | changes  # fmt: skip
    return Brief(**told)


async def test_it_ends_with_the_gateway_and_leaves_nothing_half_behind(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], tmp_path: Path
) -> None:
    async with house.gateway() as gateway:
        spooled(tmp_path / "register")
        async with beside(brief_of(gateway, tmp_path)) as assembling:
            taken = await assembling.call("take", 5)
            assert len(taken.iins) == 5 and taken.iins[0] not in repr(taken)
            assert begun(tmp_path)
        assert started[0].returncode == 0
        assert not begun(tmp_path)


async def test_what_goes_wrong_in_it_is_told_without_data(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], tmp_path: Path
) -> None:
    async with house.gateway() as gateway:
        async with beside(brief_of(gateway, tmp_path)) as assembling:  # there is no register
            with pytest.raises(StoreUnavailable, match="cannot be read"):
                await assembling.call("take", 5)
            with pytest.raises(StoreUnavailable, match="cannot be read"):
                await assembling.call("totals")
        spooled(tmp_path / "register")
        wrong = {"a heading": "no.such_field"}
        async with beside(brief_of(gateway, tmp_path, headings=wrong)) as assembling:
            with pytest.raises(RuntimeError, match="the process that packs failed: ValueError"):
                await assembling.call("take", 5)
        assert all(process.returncode is not None for process in started)


async def test_it_is_told_no_secret_of_the_environment(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("QAQPA_PASSPHRASE", "a word that opens keys")
    async with house.gateway() as gateway, beside(brief_of(gateway, tmp_path)) as assembling:
        with suppress(StoreUnavailable):
            await assembling.call("totals")
        environ = await asyncio.to_thread(Path(f"/proc/{started[0].pid}/environ").read_bytes)
        command = await asyncio.to_thread(Path(f"/proc/{started[0].pid}/cmdline").read_bytes)
    assert b"QAQPA" not in environ and b"opens keys" not in environ + command


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_killed_while_it_is_asked_nothing_the_handover_goes_on(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process],
    monkeypatch: pytest.MonkeyPatch, how: signal.Signals,
) -> None:  # fmt: skip
    real: Callable[..., Any] = packer.require_packed

    def require_packed(*told: Any) -> None:
        if len(started) == 1:
            os.kill(started[0].pid, how)
            time.sleep(0.5)  # whoever hears it hears its end before it is asked again
        real(*told)

    monkeypatch.setattr(packer, "require_packed", require_packed)
    async with house.gateway() as gateway:
        await handed_over(gateway, mixed())
        assert [process.returncode for process in started] == [-how, 0]
        examined(house, gateway, collector)


async def test_stuck_it_holds_up_no_cancellation(
    house: House, collector: SftpRecipient, started: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "CHUNK", 5)
    monkeypatch.setattr(hands, "_PATIENCE_S", 0.5)
    real: Callable[..., Any] = deciding.enter_chunk
    stuck = asyncio.Event()

    async def enter_chunk(*told: Any, **named: Any) -> None:
        await real(*told, **named)
        if not stuck.is_set():
            os.kill(started[0].pid, signal.SIGSTOP)
            stuck.set()

    monkeypatch.setattr(deciding, "enter_chunk", enter_chunk)
    async with still(house) as gateway:
        name = await taken_in(gateway, lines=mixed())
        await turned(gateway, name, DECIDING)
        packing = asyncio.create_task(gateway.handovers.flow.packer.pack(await standing(gateway, name)))
        await stuck.wait()
        await asyncio.sleep(0.2)
        packing.cancel()
        ended, _ = await asyncio.wait([packing], timeout=10)
        assert ended and packing.cancelled()
        assert started[0].returncode == -signal.SIGKILL
