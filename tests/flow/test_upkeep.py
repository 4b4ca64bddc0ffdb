"""Upkeep outlives what fails in a turn: it is said, tried again, and one part does not hold up the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from structlog.testing import capture_logs

from books import Intruder
from harness import House, both_engines, eventually, grown, outside, read_outside
from qaqpa import log
from qaqpa.errors import StoreUnavailable
from qaqpa.gateway import Gateway, upkeep
from qaqpa.gateway.upkeep import Upkeep
from qaqpa.ledger import Ledger
from qaqpa.ledger.checkpoints import Checkpoints

EVERY = "checkpoint_every_ms = 1000"


def upkeep_of(gateway: Gateway) -> Upkeep:
    [task] = [each for each in asyncio.all_tasks() if getattr(each.get_coro(), "__qualname__", "") == "Upkeep._run"]
    return cast("Upkeep", task.get_coro().cr_frame.f_locals["self"])  # type: ignore[union-attr]


@both_engines
async def test_a_turn_that_fails_in_any_way_is_said_and_tried_again_and_recovery_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 20"))
    log.configure()
    monkeypatch.setattr(upkeep, "RECOVER_EVERY_S", 0.0)
    recovered: list[Ledger] = []
    recover = upkeep.recover

    async def counted(ledger: Ledger) -> int:
        recovered.append(ledger)
        return await recover(ledger)

    async with house.gateway() as gateway:
        await grown(house, gateway)
        running = upkeep_of(gateway)
        await eventually(lambda: running.last_checkpoint_at is not None)
        assert running.failing_since is None
        for error in (TypeError("a defect"), StoreUnavailable("no")):
            with monkeypatch.context() as patched, capture_logs() as logged:
                patched.setattr(Checkpoints, "make", failing_with(error))
                patched.setattr(upkeep, "recover", counted)
                recovered.clear()
                await eventually(lambda: len(recovered) >= 3)
                assert running.failing_since is not None
                assert gateway.ledger.closed_by is None
            assert len([each for each in logged if each["event"] == "upkeep failed"]) >= 2
            await eventually(lambda: running.failing_since is None)
        await grown(house, gateway)
        await eventually(lambda: read_outside(house, gateway).size == len(house.entries(gateway)))


def failing_with(error: Exception) -> Callable[[Checkpoints], Awaitable[None]]:
    async def make(_self: Checkpoints) -> None:
        raise error

    return make


@both_engines
async def test_a_bad_stored_note_stops_no_new_checkpoint(house: House, store_url: str) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 20"))
    async with house.gateway() as gateway:
        await grown(house, gateway)
        await eventually(
            lambda: outside(house).exists() and read_outside(house, gateway).size == len(house.entries(gateway))
        )
        await asyncio.sleep(0.1)
        Intruder(store_url, house.home).change("UPDATE checkpoints SET note = ?", b"junk")
        await grown(house, gateway)
        await eventually(lambda: read_outside(house, gateway).size == len(house.entries(gateway)))
    ran = await house.cli("ledger", "verify")
    assert ran.code == 6, ran.out
