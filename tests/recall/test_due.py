"""What runs each minute reads what is due, however many registers ever went."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import House, both_engines
from kept import add
from qaqpa.handover import records
from qaqpa.handover.flow import HandoverFlow
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.words import timestamp
from qaqpa.recall import records as recall_records
from recalls import all_recalls, handed_over
from turning import bare, still

pytestmark = both_engines
OLD = 60


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Ids of the handovers and recalls whose rows were read."""
    found: list[str] = []

    def noting(make: Any) -> Any:
        def made(row: Any) -> Any:
            found.append(row[0])
            return make(row)

        return made

    monkeypatch.setattr(records, "_handover", noting(records._handover))
    monkeypatch.setattr(recall_records, "_recalled", noting(recall_records._recalled))
    yield found


async def test_a_minute_reads_what_is_due_and_reminds_of_it_once(
    tmp_path: Path, store_url: str, read: list[str]
) -> None:
    house = bare(tmp_path, store_url)
    async with still(house) as gateway:
        day = timedelta(days=1)
        for _ in range(OLD):
            await add(house, gateway, 100 * day, HandoverState.ACKNOWLEDGED)
            await add(house, gateway, 900 * day, HandoverState.CANCELLED)
            await add(house, gateway, 900 * day, HandoverState.ACKNOWLEDGED, recipient="nobody-any-more")
        soon = (house.clock() + 5 * day).date().isoformat()
        due = {
            await add(house, gateway, 350 * day, HandoverState.ACKNOWLEDGED),
            await add(house, gateway, 336 * day, HandoverState.UNKNOWN),
            await add(house, gateway, 10 * day, HandoverState.ACKNOWLEDGED, promised=soon),
        }
        await gateway.recalls.keep()
        assert set(read) == due
        told = await all_recalls(gateway)
        assert {(each.target, each.state) for each in told} == {(each, RecallState.UPCOMING) for each in due}
        read.clear()
        for _ in range(3):
            await gateway.recalls.keep()
            await gateway.handovers.flow.outbox()
        assert read == [], "somebody was reminded of them, and their day has not come"
        # What becomes known later counts again, and a reminder that stands is not repeated.
        await gateway.store.write(lambda connection: connection.execute("UPDATE handovers SET reminded = NULL"))
        await gateway.recalls.keep()
        assert len(await all_recalls(gateway)) == 3


async def test_a_recall_for_another_reason_that_is_refused_leaves_the_reminder_due(
    house: House, tmp_path: Path
) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        asked = await scene.ask(scene.handover)
        house.clock.offset = timedelta(days=336)
        await scene.gateway.recalls.keep()
        assert len(await all_recalls(scene.gateway)) == 1, "it is being asked back already"
        move = "UPDATE recalls SET state = 'refused' WHERE id = ?"
        await scene.gateway.store.write(lambda connection: connection.execute(move, (asked.id,)))
        await scene.gateway.recalls.keep()
        reasons = {each.reason for each in await all_recalls(scene.gateway)}
        assert reasons == {RecallReason.ERROR, RecallReason.RETENTION}


async def test_what_came_due_is_found_by_an_index(tmp_path: Path, store_url: str, engine: str) -> None:
    house = bare(tmp_path, store_url)
    async with still(house) as gateway:
        at = timestamp(house.clock())
        statements = {
            records._OF_AGE: ("demo-collector", at), records._PROMISED: ("2026-01-01",),
            records._WORK: ("sent",), records._CHANGED_SINCE: ("demo-collector", at),
            recall_records._DUE: ("sent", "2026-01-01"),
        }  # fmt: skip
        with gateway.store.snapshot() as connection:
            for sql, values in statements.items():
                if engine == "sqlite":
                    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).all()]
                    assert all("SEARCH" in step and "USING" in step for step in plan), (sql, plan)
                else:
                    connection.execute("SET LOCAL enable_seqscan = off")
                    plan = [str(row[0]) for row in connection.execute(f"EXPLAIN {sql}", values).all()]
                    assert any(re.search(r"Index .*Cond:", step) for step in plan), (sql, plan)


async def test_a_sweep_looks_at_what_is_over_once(tmp_path: Path, store_url: str, read: list[str]) -> None:
    house = bare(tmp_path, store_url)
    async with still(house) as gateway:
        flow: HandoverFlow = gateway.handovers.flow
        name = await add(house, gateway, timedelta(1), HandoverState.ACKNOWLEDGED)
        folder = house.home / "handovers" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_bytes(b"{}")
        (folder / "register").write_bytes(b"left by a kill")
        for _ in range(3):
            flow.sweep._next = float("-inf")
            await flow.sweep.if_due()
        assert read == [name] and [each.name for each in folder.iterdir()] == ["manifest.json"]
