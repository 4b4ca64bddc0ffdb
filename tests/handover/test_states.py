"""Whatever happens to a handover between two of its turns: cancelled, given up, unknown, suspended, overtaken."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from harness import House, both_engines, settle_as_two
from qaqpa.errors import NotPossible
from qaqpa.gateway import Gateway
from qaqpa.handover.flow import GIVE_UP
from qaqpa.handover.handovers import Handovers
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.words import OutcomeResult
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.transport.packages import Mark, Stage, write_mark
from turning import SAID, at, examined, meanwhile, standing, still, taken_in, turn, turned

COLLECTOR = "recipients/demo-collector.toml"
QUEUED, DECIDING, PACKAGED = HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.PACKAGED
SENDING, SENT, UNKNOWN = HandoverState.SENDING, HandoverState.SENT, HandoverState.UNKNOWN
CANCELLED, ACKNOWLEDGED, REJECTED = HandoverState.CANCELLED, HandoverState.ACKNOWLEDGED, HandoverState.REJECTED


@both_engines
async def test_cancelled_in_each_state_before_it_is_sent(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway, still(home) as other:
        for state in (QUEUED, DECIDING, PACKAGED):
            name = await taken_in(gateway)
            await turned(gateway, name, state)
            assert (await other.handovers.cancel("collections", name)).state is CANCELLED
            assert (await turn(gateway, name)).state is CANCELLED
        with pytest.raises(NotPossible):
            await other.handovers.cancel("collections", name)

        name = await taken_in(gateway, 12)
        flow = meanwhile(gateway, 2, lambda: other.handovers.cancel("collections", name))
        found = await turned(gateway, name, CANCELLED, flow=flow)
        assert found.figures["code"] == "cancelled"
        outcomes = examined(home, gateway, collector)
        assert outcomes[name]["result"] == "not_sent" and 3 <= outcomes[name]["rows"] < 12
        assert home.verified(gateway).open_intents == ()
    assert not collector.calls


async def test_a_cancellation_between_reading_and_writing_still_concludes_every_row(
    home: House, collector: SftpRecipient
) -> None:
    """The rows of a chunk that another process enters while somebody cancels must not stay open for ever."""
    async with still(home) as gateway:
        name = await taken_in(gateway)
        await turned(gateway, name, DECIDING)
        early = await standing(gateway, name)
        await gateway.handovers.flow.packer.pack(early)  # the other process
        await gateway.handovers.flow.cancel(early, "cancelled")
        outcomes = examined(home, gateway, collector)
        assert outcomes[name]["rows"] == 7 and home.verified(gateway).open_intents == ()


async def test_cancelled_while_it_is_sent(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway, still(home) as other:
        name = await taken_in(gateway)
        await turned(gateway, name, SENDING)
        collector.fault, collector.delay = PackageFault.SLOW, 1.5
        sending = asyncio.create_task(turn(gateway, name))
        async with asyncio.timeout(10):
            while not collector.calls:  # noqa: ASYNC110 - the stand-in keeps a list, not an event
                await asyncio.sleep(0.01)
        await other.handovers.cancel("collections", name)
        assert (await sending).state is CANCELLED
        assert examined(home, gateway, collector)[name]["result"] == "not_sent"
    assert list(collector.inbox.iterdir()) == []


async def test_cancelled_between_two_tries(home: House, collector: SftpRecipient) -> None:
    """It is not tried once more first, however quick that would be."""
    async with still(home) as gateway:
        name = await taken_in(gateway)
        await turned(gateway, name, SENDING)
        await collector.stop()
        assert (await turn(gateway, name)).state is SENDING
        await gateway.handovers.cancel("collections", name)
        await collector.start()
        assert (await turn(gateway, name)).state is CANCELLED
        assert examined(home, gateway, collector)[name]["result"] == "not_sent"
    assert list(collector.inbox.iterdir()) == []


@pytest.mark.parametrize("by", ["cancelled", "given up"])
async def test_what_an_earlier_try_placed_is_never_called_not_sent(
    home: House, collector: SftpRecipient, by: str
) -> None:
    async with still(home) as gateway:
        flow = gateway.handovers.flow
        for reachable, mark, state in (
            (True, None, SENT), (False, None, SENT), (False, Stage.PLACING, UNKNOWN), (False, Stage.BEGUN, CANCELLED),
        ):  # fmt: skip
            name = await taken_in(gateway, seed=len(collector.calls))
            found = await turned(gateway, name, SENDING)
            package = flow.sealed(found)
            if mark is None:
                await flow.transport.deliver(package, lambda _bytes: None)  # and then the process was killed
            else:
                write_mark(package, Mark(mark))
            if not reachable:
                await collector.stop()
            if by == "cancelled":
                await gateway.handovers.cancel("collections", name)
            else:
                home.clock.offset += GIVE_UP + timedelta(hours=1)
            assert (await turn(gateway, name)).state is state
            home.clock.offset += timedelta(seconds=1)
            if not reachable:
                await collector.start()
        examined(home, gateway, collector)


async def test_files_that_are_lost_hold_nothing_up_for_ever(home: House, collector: SftpRecipient) -> None:
    """Nobody can ask then whether the package arrived: it ends as unknown, for a person, and others go on."""
    async with still(home) as gateway:
        flow = gateway.handovers.flow
        for by in ("cancelled", "given up"):
            lost = await taken_in(gateway)
            await turned(gateway, lost, SENDING)
            shutil.rmtree(home.home / "handovers" / lost)
            after = await taken_in(gateway, seed=7)
            await turned(gateway, after, PACKAGED)
            assert lost not in await flow.outbox()
            for name, state in ((lost, SENDING), (after, PACKAGED)):
                assert (await turn(gateway, name)).state is state
            if by == "cancelled":
                await gateway.handovers.cancel("collections", lost)
            else:
                home.clock.offset += GIVE_UP + timedelta(hours=1)
            assert lost in await flow.outbox()
            found = await turn(gateway, lost)
            assert (found.state, found.figures["code"]) == (UNKNOWN, "files_lost"), by
            await turned(gateway, after, SENT)
            await settle_as_two(gateway, "compliance", lost, OutcomeResult.NOT_SENT, **SAID)
            assert (await standing(gateway, lost)).state is CANCELLED
        examined(home, gateway, collector)


@both_engines
async def test_unknown_is_left_by_a_person_alone(home: House, tmp_path: Path) -> None:
    async with (
        SftpRecipient(directory=tmp_path / "quick", open_package=lambda path: path.unlink()) as recipient,
        still(home, recipient) as gateway,
    ):
        after = {OutcomeResult.DELIVERED: SENT, OutcomeResult.REJECTED: REJECTED, OutcomeResult.NOT_SENT: CANCELLED}
        for result, state in after.items():
            recipient.fail_next(PackageFault.DROP_AFTER_RENAME)
            name = await taken_in(gateway)
            assert (await turned(gateway, name, UNKNOWN)).figures["code"] == "placing_doubtful"
            travelled = recipient.stored
            home.clock.offset += timedelta(days=3)
            for _ in range(3):
                assert (await turn(gateway, name)).state is UNKNOWN
            assert name not in await gateway.handovers.flow.outbox()
            with pytest.raises(NotPossible):
                await gateway.handovers.cancel("collections", name)
            assert home.verified(gateway).unknown == (name,)
            await settle_as_two(gateway, "compliance", name, result, **SAID)
            assert (await standing(gateway, name)).state is state
            assert (name in await gateway.handovers.flow.outbox()) is (state is SENT)
            await turn(gateway, name)
            assert recipient.stored == travelled, "it was sent again"
            assert home.verified(gateway).unknown == ()
        placed = [call.name for call in recipient.calls if call.what == "place"]
        assert len(placed) == len(set(placed)) == 3
        assert not (home.home / "handovers" / name).exists()


async def test_windows_priorities_and_the_number_of_a_day(home: House, collector: SftpRecipient) -> None:
    home.edit(
        COLLECTOR,
        ('keep_for = "365d"', 'per_day = 2\nwindows = [{ opens = 09:00:00, closes = 18:00:00 }]\nkeep_for = "365d"'),
    )
    async with still(home) as gateway:
        at(home, gateway, 20)
        low, high, late = [await taken_in(gateway, 3, seed=each, priority=each) for each in (1, 5, 0)]
        for name in (low, high, late):
            await turned(gateway, name, PACKAGED)
            assert (await turn(gateway, name)).state is PACKAGED, "the window is closed"
        at(home, gateway, 33)
        assert (await turn(gateway, low)).state is PACKAGED, "another goes first"
        assert (await turn(gateway, high)).state is SENDING
        assert (await turn(gateway, low)).state is PACKAGED, "one at a time"
        await collector.stop()
        assert (await turn(gateway, high)).state is SENDING
        await collector.start()
        at(home, gateway, 44)
        assert (await turn(gateway, high)).state is SENDING, "a try that failed is not made good at night"
        assert not collector.packages
        at(home, gateway, 57)
        await turned(gateway, high, SENT)
        await turned(gateway, low, SENT)
        assert (await turn(gateway, late)).state is PACKAGED, "two in a day"
        at(home, gateway, 24 + 58)
        await turned(gateway, late, SENT)
        examined(home, gateway, collector)
    assert [call.name[:36] for call in collector.calls if call.what == "place"] == [high, low, late]


async def test_a_suspended_recipient_gets_nothing_at_any_stage(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway, still(home) as other:
        for state in (QUEUED, DECIDING, PACKAGED, SENDING):
            name = await taken_in(gateway)
            await turned(gateway, name, state)
            await other.suspend("compliance", "demo-collector", **SAID)
            for _ in range(3):
                found = await turn(gateway, name)
            assert found.state is (DECIDING if state is QUEUED else state)
            assert not any(path.name[:36] == name for path in collector.packages)
            await other.resume("compliance", "demo-collector", **SAID)
            await turned(gateway, name, SENT)
        assert not home.entries(gateway, "refusal"), "suspended for a while is no reason to leave anybody out"
        examined(home, gateway, collector)


async def test_what_waited_does_not_leave_under_another_configuration(home: House, collector: SftpRecipient) -> None:
    await collector.stop()
    names = {}
    async with still(home) as gateway:
        for state in (QUEUED, DECIDING, PACKAGED, SENDING):
            names[state] = await taken_in(gateway, 12, priority=state is SENDING)

        async def cut() -> None:
            raise asyncio.CancelledError

        await turned(gateway, names[DECIDING], DECIDING)
        with pytest.raises(asyncio.CancelledError):
            await turn(gateway, names[DECIDING], meanwhile(gateway, 2, cut))
        for state in (SENDING, PACKAGED):
            await turned(gateway, names[state], state)
    home.edit(COLLECTOR, ('    "contact.mobile",\n', ""))
    await collector.start()
    async with still(home) as gateway:
        found = {state: await turned(gateway, names[state], SENT, CANCELLED) for state in reversed(names)}
        assert found[QUEUED].state is SENT
        for state in (DECIDING, PACKAGED, SENDING):
            assert found[state].state is CANCELLED and found[state].figures["code"] == "changed_meanwhile", state
        outcomes = examined(home, gateway, collector)
        assert {outcomes[names[state]]["result"] for state in (DECIDING, PACKAGED, SENDING)} == {"not_sent"}


async def test_nothing_leaves_once_the_agreement_has_ended(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        name = await taken_in(gateway)
        await turned(gateway, name, PACKAGED)
        home.clock.offset = timedelta(days=365 * 3)
        found = await turn(gateway, name)
        assert found.state is CANCELLED and found.figures["code"] == "agreement_ended"
        examined(home, gateway, collector)


async def test_a_recipient_that_is_not_configured_any_more_is_waited_for(home: House, collector: SftpRecipient) -> None:
    names = {}
    async with still(home) as gateway:
        for state in (SENT, SENDING, PACKAGED):
            names[state] = await taken_in(gateway)
            await turned(gateway, names[state], state)
    key = home.environ.pop("QAQPA_COLLECTOR_AGE_KEY")
    async with still(home) as gateway:
        for state, name in names.items():
            assert (await turn(gateway, name)).state is state
            assert gateway.handovers.flow.failures[name] == 1, "it waits; nothing of ours is broken"
        assert (await gateway.handovers.cancel("collections", names[PACKAGED])).state is CANCELLED
    home.environ["QAQPA_COLLECTOR_AGE_KEY"] = key
    async with still(home) as gateway:
        await turned(gateway, names[SENDING], SENT)
        examined(home, gateway, collector)


@both_engines
async def test_two_workers_on_one_handover(home: House, collector: SftpRecipient) -> None:
    async with still(home) as first, still(home) as second:
        for seed in range(4):
            name = await taken_in(first, 12, seed=seed)

            async def work(gateway: Gateway, name: HandoverId = name) -> None:
                while (await turn(gateway, name)).state not in {SENT, CANCELLED, UNKNOWN}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # as a job rests after a turn that met the other worker

            await asyncio.gather(work(first), work(second))
            assert (await standing(first, name)).state is SENT
        outcomes = examined(home, first, collector)
        assert [each["rows"] for each in outcomes.values()] == [12] * 4
    assert len(collector.packages) == 4


async def test_files_of_another_machine_are_waited_for(home: House, collector: SftpRecipient) -> None:
    """Two machines on one database: the one that lacks the files says nothing of what the other may have sent."""
    async with still(home) as gateway:
        name = await taken_in(gateway)
        await turned(gateway, name, SENDING)
        here, elsewhere = home.home / "handovers" / name, home.home / "elsewhere"
        here.rename(elsewhere)
        assert (await turn(gateway, name)).state is SENDING
        assert name not in await gateway.handovers.flow.outbox()
        elsewhere.rename(here)
        await turned(gateway, name, SENT)
        examined(home, gateway, collector)


async def test_what_a_kill_left_is_swept(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        over = await taken_in(gateway)
        flow = gateway.handovers.flow
        folder = home.home / "handovers" / over
        await gateway.handovers.cancel("collections", over)
        folder.mkdir()
        (folder / "register").write_bytes(b"left")  # as if killed before it was removed
        foreign = folder.with_name("a-folder-that-somebody-put-there-036")
        foreign.mkdir()
        handovers = Handovers(flow, gateway.ledger.keyring)
        orphan = home.home / "handovers" / (await taken_in(gateway))
        await gateway.store.write(lambda c: c.execute("DELETE FROM handovers WHERE id = ?", (orphan.name,)).first)
        await handovers.flow.outbox()
        assert not folder.exists() and orphan.exists(), "it may be being taken in"
        foreign.rmdir()
    home.clock.offset = timedelta(days=2)
    async with still(home) as gateway:
        await gateway.handovers.flow.outbox()
        assert not orphan.exists()
