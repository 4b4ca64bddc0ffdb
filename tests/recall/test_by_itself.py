"""What goes on by itself: a killed process's recalls, retention of registers, what configuration lets go."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from harness import ENGINES, House, erase_as_two, give_consent
from qaqpa.model.handover import HandoverState, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.people import people
from recalls import all_recalls, handed_over, named_in, reached, worked
from registers import agency, as_csv, order, pieces, row, until

COLLECTOR = "recipients/demo-collector.toml"


@asynccontextmanager
async def another(house: House, *targets: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own, killed at the end."""
    worker = Path(__file__).with_name("recall_worker.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(worker), str(house.config), str(house.home), *targets,
        stdout=asyncio.subprocess.PIPE, env=os.environ | house.environ,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.mark.promise(1)
@pytest.mark.parametrize("engine", ENGINES if "QAQPA_KILLS" in os.environ else ENGINES[:1], indirect=True)
async def test_killed_at_any_instant_each_notice_arrives_once(house: House, tmp_path: Path) -> None:
    async with agency(house, tmp_path / "agency") as recipient:
        async with house.gateway() as gateway:
            lines = [row(person) for person in people(3, today=house.clock().date())]
            taken = await gateway.handovers.order(order(), pieces(as_csv(lines)))
            await until(gateway, taken.id, HandoverState.SENT)
        targets = [row_id(HandoverId(taken.id), line) for line in (2, 3, 4)]
        # Killed as the first notice has arrived, while bytes of others leave, and before all of them have begun.
        recipient.fault, recipient.delay = PackageFault.SLOW, 0.2
        async with another(house, *targets) as process:
            assert process.stdout is not None
            recalls = [(await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip() for _ in targets]
            async with asyncio.timeout(30):
                while len(recipient.packages) < 2:  # noqa: ASYNC110 - the stand-in keeps files, not an event
                    await asyncio.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        recipient.fault = PackageFault.NONE
        async with house.gateway() as gateway:
            gateway.jobs.wake()
            for recall in recalls:
                assert (await reached(gateway, recall, RecallState.SENT)).figures["code"] == "ok"
            named = [
                each["disclosure"]
                for path in recipient.packages
                if not path.name.startswith(taken.id)
                for each in named_in(recipient, path.name)[0]
            ]
            assert sorted(named) == sorted(targets)
            house.verified(gateway)


async def test_a_handover_that_is_asked_back_early_leaves_the_recipient_its_time(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        house.clock.offset = timedelta(days=336)
        await scene.gateway.recalls.keep()
        [upcoming] = await all_recalls(scene.gateway)
        today = scene.gateway.recalls.recalls.proposer.today()
        assert upcoming.due_on > today + timedelta(days=20)
        asked = await scene.ask(scene.handover, upcoming.reason)
        assert asked.due_on == upcoming.due_on


async def test_a_register_must_be_destroyed_in_time_and_somebody_is_reminded(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        recalls = scene.gateway.recalls
        house.clock.offset = timedelta(days=334)  # keep_for is 365 days, and the reminder comes 30 before
        await recalls.keep()
        assert await all_recalls(scene.gateway) == []
        house.clock.offset = timedelta(days=336)
        for _ in range(2):
            await recalls.keep()
        [upcoming] = await all_recalls(scene.gateway)
        assert (upcoming.target, upcoming.scope) == (scene.handover, RecallScope.HANDOVER)
        assert (upcoming.state, upcoming.reason) == (RecallState.UPCOMING, RecallReason.RETENTION)
        house.clock.offset = timedelta(days=365)
        await recalls.keep()
        assert (await all_recalls(scene.gateway))[0].state is RecallState.PROPOSED
        asked = await scene.ask(scene.handover, upcoming.reason)
        assert (await recalls.find("compliance", upcoming.id)).state is RecallState.CANCELLED, "that one serves it"
        await worked(scene.gateway, asked.id)
        _, manifest = named_in(scene.agency, scene.notices[0].name)
        assert (manifest["reason"], manifest["disclosures"]) == ("retention", 4)
        # The recipient's own word counts where it is earlier.
        house.clock.offset = timedelta(0)
        promised = house.clock().date() + timedelta(days=40)
        scene.agency.acknowledge(f"{scene.handover}.zip.age", destruction_due=promised)
        await scene.gateway.handovers.flow.receipts.look("demo-collector")
        await scene.gateway.store.write(lambda connection: connection.execute("DELETE FROM recalls"))
        house.clock.offset = timedelta(days=15)
        await recalls.keep()
        [upcoming] = await all_recalls(scene.gateway)
        assert (upcoming.state, upcoming.due_on) == (RecallState.UPCOMING, promised)


async def test_a_withdrawn_consent_recalls_its_row_by_itself_where_configuration_lets_it(
    house: House, tmp_path: Path
) -> None:
    house.edit(
        COLLECTOR,
        (
            'ground = "legal_protection"\nclauses = ["1.1(15)", "2.3(3)"',
            'ground = "consent"\nclauses = ["1.1(15)", "2.3(1)"',
        ),
        ("[limits]\n", "[recall]\nautomatic = true\n\n[limits]\n"),
    )
    covers = {"purposes": ["debt_collection"], "third_parties": ["collector"],
              "fields": ["identity", "contact", "contract"]}  # fmt: skip
    async with agency(house, tmp_path / "agency") as recipient, house.gateway() as gateway:
        persons = people(3, today=house.clock().date())
        consents = [await give_consent(house, gateway, person, **covers) for person in persons]
        taken = await gateway.handovers.order(order(), pieces(as_csv([row(person) for person in persons])))
        await until(gateway, taken.id, HandoverState.SENT)
        await gateway.withdraw_consent("loan-scoring", consents[1].id, duties_met=True)
        [proposed] = await all_recalls(gateway)
        assert (proposed.scope, proposed.handover) == (RecallScope.ROW, taken.id)
        await gateway.recalls.keep()
        await reached(gateway, proposed.id, RecallState.SENT)
        [told] = house.entries(gateway, "recall")
        assert (told["caller"], told["person"], told["reason"]) == (None, None, "withdrawal")
        [notice] = [path for path in recipient.packages if not path.name.startswith(taken.id)]
        [named] = named_in(recipient, notice.name)[0]
        assert named == {"handover": taken.id, "row": "2", "disclosure": row_id(HandoverId(taken.id), 3)}
        # Erased meanwhile, a person is named by ids all the same, in a notice of their own.
        await erase_as_two(
            gateway, "compliance", persons[2].iin, person="A", reason="asked", duties_met=True, instrument=None
        )
        await gateway.recalls.keep()
        [erased] = [each for each in await all_recalls(gateway) if each.reason is RecallReason.ERASURE]
        await reached(gateway, erased.id, RecallState.SENT)
        house.verified(gateway)
