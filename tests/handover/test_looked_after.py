"""What `qaqpa doctor` and the metrics say of handovers, and what to do next."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest

from harness import House, both_engines
from qaqpa import metrics
from qaqpa.cli import doctor
from qaqpa.cli.findings import State
from qaqpa.gateway import Gateway
from qaqpa.handover.figures import figures
from qaqpa.model.handover import HandoverState
from qaqpa.service.health import Health
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from turning import meanwhile, still, taken_in, turn, turned

QUEUED, DECIDING, PACKAGED = HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.PACKAGED
SENDING, SENT, UNKNOWN = HandoverState.SENDING, HandoverState.SENT, HandoverState.UNKNOWN


async def told(house: House) -> list[tuple[State, str]]:
    """What is said of handovers."""
    looked = await asyncio.to_thread(
        lambda: list(doctor.examine(house.config, house.home, os.environ | house.environ, house.clock()))
    )
    return [(each.state, each.message) for each in looked if each.about == "handovers"]


async def gauges(gateway: Gateway) -> dict[str, float]:
    await Health(gateway).measure()
    lines = [line for line in metrics.exposition().decode().splitlines() if line.startswith("qaqpa_handover")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@both_engines
async def test_what_waits_for_nobody_is_well(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        assert await told(home) == [(State.OK, "none waits")]
        await turned(gateway, await taken_in(gateway), SENT)
        name = await taken_in(gateway)
        [(state, said)] = await told(home)
        assert state is State.OK and said.startswith("1 under way, the oldest since 20") and "1 receipts" in said
        await turned(gateway, name, PACKAGED)
        home.clock.offset += timedelta(hours=20)
        assert (await told(home))[0][0] is State.OK, "it may wait for a window"
        scraped = await gauges(gateway)
        assert scraped['qaqpa_handovers{state="sent"}'] == scraped['qaqpa_handovers{state="packaged"}'] == 1
        assert scraped['qaqpa_handovers{state="unknown"}'] == 0 == scraped["qaqpa_handovers_held_up"]
        assert scraped['qaqpa_handover_rows{state="packaged"}'] == 7
        assert 71_000 < scraped["qaqpa_handover_age_seconds"] < 73_000
        home.clock.offset += timedelta(days=2)
        [(state, said)] = [each for each in await told(home) if "windows" in each[1]]
        assert state is State.LOOK and f"`qaqpa handover cancel {name}`" in said


async def test_one_that_nobody_works_on(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        name = await taken_in(gateway, 9)
        home.clock.offset += timedelta(minutes=11)
        [(state, said)] = await told(home)
        assert state is State.WRONG and "`qaqpa serve`" in said and f"`qaqpa handover wait {name}`" in said

        async def kill() -> None:
            assert (await told(home))[0][0] is State.OK, "somebody works on it"
            raise asyncio.CancelledError

        await turned(gateway, name, DECIDING)
        with pytest.raises(asyncio.CancelledError):
            await turn(gateway, name, meanwhile(gateway, 2, kill))
        found = await gateway.store.read(figures)
        assert found.rows[DECIDING] >= 3 and found.counts[DECIDING] == 1 and found.oldest is not None
        home.clock.offset += timedelta(minutes=11)
        assert (await told(home))[0][0] is State.WRONG


async def test_what_cannot_go_on_is_told_with_its_cause(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        names = [await taken_in(gateway, 3, seed=each) for each in (1, 2)]
        await turned(gateway, names[0], SENDING)
        await collector.stop()
        await turn(gateway, names[0])
        [(state, said)] = await told(home)
        assert state is State.LOOK and f"one to demo-collector cannot go on (connect_failed), {names[0]} first" in said
        assert (await gauges(gateway))["qaqpa_handovers_held_up"] == 1
        await gateway.store.write(
            lambda c: c.execute("UPDATE handovers SET figures = replace(figures, 'connect', 'verification')")
        )
        assert any(state is State.WRONG and "`qaqpa ledger verify`" in said for state, said in await told(home))


async def test_what_may_have_arrived_and_what_is_not_acknowledged(home: House, tmp_path: Path) -> None:
    async with (
        SftpRecipient(directory=tmp_path / "quick", open_package=lambda path: path.unlink()) as recipient,
        still(home, recipient) as gateway,
    ):
        sent = await taken_in(gateway)
        await turned(gateway, sent, SENT)
        recipient.fail_next(PackageFault.DROP_AFTER_RENAME)
        name = await taken_in(gateway)
        await turned(gateway, name, UNKNOWN)
        home.clock.offset += timedelta(days=30)
        await turn(gateway, sent)
        said = {text: state for state, text in await told(home)}
        [unknown] = [each for each in said if "may have arrived" in each]
        [late] = [each for each in said if "has not acknowledged 1" in each]
        assert f"`qaqpa ledger settle {name}`" in unknown and "--from demo-collector" in late
        assert set(said.values()) == {State.LOOK}
        scraped = await gauges(gateway)
        assert (scraped["qaqpa_handover_receipts_late"], scraped['qaqpa_handovers{state="unknown"}']) == (1, 1)


@both_engines
async def test_files_that_are_not_here(home: House, collector: SftpRecipient, engine: str) -> None:
    async with still(home) as gateway:
        for state in (QUEUED, PACKAGED):
            name = await taken_in(gateway)
            await turned(gateway, name, state)
            (home.home / "handovers" / name).rename(home.home / "away")
            [(found, said)] = await told(home)
            assert name in said and f"`qaqpa handover cancel {name}`" in said
            assert found is (State.WRONG if engine == "sqlite" else State.LOOK), "another machine may have them"
            (home.home / "away").rename(home.home / "handovers" / name)
            assert (await told(home))[0][0] is State.OK


async def test_no_room_for_what_waits(home: House, collector: SftpRecipient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with still(home) as gateway:
        await taken_in(gateway)
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 2**20))
        assert any(state is State.WRONG and "make room, or none" in said for state, said in await told(home))
