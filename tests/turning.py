"""Handovers driven turn by turn, on an installation that has no third party but the recipient of packages: what
happens between two turns is the test's to say.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from harness import PASSPHRASE, ROOT, House
from qaqpa.gateway import Gateway
from qaqpa.handover.assembler import Taken
from qaqpa.handover.flow import HandoverFlow
from qaqpa.handover.hands import Hands
from qaqpa.handover.packer import Packer
from qaqpa.handover.records import Handover
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.model.handover import HandoverState, RowResult, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection
from qaqpa.testing.packages import PackageRecipient
from registers import as_csv, order, pieces, rows

SAID = {"person": "A. Operator", "reason": "torture"}
NOBODY = cast(Any, None)


def bare(folder: Path, url: str | None = None) -> House:
    """A house without third parties."""
    home, config = folder / "home", folder / "config"
    home.mkdir(parents=True)
    shutil.copytree(ROOT / "config", config)
    environ = {"QAQPA_PASSPHRASE": PASSPHRASE, "QAQPA_HOME": str(home), "QAQPA_CONFIG": str(config)}
    house = House(home, config, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, environ)
    if url is not None:
        house.edit("gateway.toml", ("sqlite:///qaqpa.db", url))
    Keyring.create(home / "keyring.json", Unlock(PASSPHRASE), cost=2).close()
    return house


@asynccontextmanager
async def still(house: House, recipient: PackageRecipient | None = None) -> AsyncIterator[Gateway]:
    """A gateway whose jobs do not run by themselves, and that knows the recipient."""
    if recipient is not None:
        house.environ |= recipient.environment
    async with house.gateway() as gateway:
        await gateway.jobs.close()
        yield gateway


def at(house: House, gateway: Gateway, hour: float) -> None:
    """Set the clock: so many hours from today's midnight, by the operator's clock."""
    zone = gateway.policy.operator.time_zone
    now = (house.clock() - house.clock.offset).astimezone(zone)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    house.clock.offset = midnight + timedelta(days=1, hours=hour) - now


async def taken_in(
    gateway: Gateway, count: int = 7, *, seed: int = 2026, lines: Any = None, **asked: Any
) -> HandoverId:
    """A register of so many debtors, queued."""
    register = as_csv(rows(count, seed=seed) if lines is None else lines)
    return (await gateway.handovers.order(order(**asked), pieces(register))).id


async def standing(gateway: Gateway, handover: str) -> Handover:
    return (await gateway.handovers.find("compliance", handover)).handover


async def turn(gateway: Gateway, handover: HandoverId, flow: HandoverFlow | None = None) -> Handover:
    """One turn of its job; how it stands then."""
    await (flow or gateway.handovers.flow)._turn(handover)
    return await standing(gateway, handover)


async def turned(
    gateway: Gateway, handover: HandoverId, *states: HandoverState, flow: HandoverFlow | None = None, most: int = 12
) -> Handover:
    """Turns until it is in one of the states."""
    for _ in range(most):
        found = await standing(gateway, handover)
        if found.state in states:
            return found
        await turn(gateway, handover, flow)
    raise AssertionError(f"it is {found.state.value}: {found.figures}")


def meanwhile(gateway: Gateway, chunk: int, act: Callable[[], Awaitable[object]]) -> HandoverFlow:
    """A flow in which `act` happens just before chunk number `chunk` is decided, those before it being entered."""
    flow = gateway.handovers.flow
    with gateway.store.snapshot() as connection:
        before = _chunks(connection)

    async def held_up(taking: asyncio.Future[Taken | None]) -> Taken | None:
        taken = await taking
        if taken is not None and taken.number == chunk:
            async with asyncio.timeout(20):
                while await gateway.store.read(_chunks) < before + chunk:  # noqa: ASYNC110 - another task's work
                    await asyncio.sleep(0.01)
            await act()
        return taken

    class Held:
        def __init__(self, hands: Hands) -> None:
            self.hands = hands

        def call(self, method: str, *told: object) -> asyncio.Future[Any]:
            answer = self.hands.call(method, *told)
            return asyncio.ensure_future(held_up(answer)) if method == "take" else answer

    class Meanwhile(Packer):
        @asynccontextmanager
        async def _hands(self, *told: Any) -> AsyncIterator[Hands]:
            async with Packer._hands(self, *told) as hands:
                yield Held(hands)

    packer = flow.packer
    return replace(flow, packer=Meanwhile(**{each.name: getattr(packer, each.name) for each in fields(packer)}))


def _chunks(connection: Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM handover_chunks").scalar())


def examined(house: House, gateway: Gateway, recipient: PackageRecipient) -> Mapping[str, Any]:
    """What must hold however a handover went: the ledger verifies, no row stands twice in it, what the recipient got
    is a subset of what was intended, each package is there once and holds just the rows of its intents, and only what
    belongs there lies in the home. Returns the last outcome of each handover.
    """
    found = house.verified(gateway)
    intents = house.entries(gateway, "intent")
    outcomes = {entry["intent"]: entry for entry in house.entries(gateway, "outcome")}
    rows_of: dict[str, list[str]] = {}
    for entry in intents:
        if "handover" in entry:
            rows_of.setdefault(entry["handover"], []).append(entry["id"])
            assert entry["id"] == row_id(entry["handover"], entry["row"])
    assert all(len(ids) == len(set(ids)) for ids in rows_of.values())
    refused = [(e["handover"], e["row"]) for e in house.entries(gateway, "refusal") if "handover" in e]
    assert len(refused) == len(set(refused))
    for handover, entry in outcomes.items():
        assert entry["rows"] == len(rows_of[handover])
    whole = {entry["id"]: entry for entry in intents if entry.get("endpoint") == "package" and "handover" not in entry}
    placed = Counter(call.name for call in recipient.calls if call.what == "place")
    assert all(count == 1 for count in placed.values()), placed
    assert {name.partition(".")[0] for name in placed} <= whole.keys()
    for handover, entry in outcomes.items():
        there = any(name.startswith(handover) for name in placed)
        assert there is (entry["result"] == OutcomeResult.DELIVERED) or entry["result"] == OutcomeResult.UNKNOWN, entry
    assert found.size
    in_order(house, gateway)
    return outcomes


_BELONGS: Mapping[HandoverState, set[str]] = {
    HandoverState.CANCELLED: set(),
    HandoverState.ACKNOWLEDGED: {"manifest.json", "manifest.sig"},
    HandoverState.REJECTED: {"manifest.json", "manifest.sig"},
}


def in_order(house: House, gateway: Gateway) -> None:
    """Under the home lies what belongs there, by the state of each handover."""
    with gateway.store.snapshot() as connection:
        states = dict(connection.execute("SELECT id, state FROM handovers").all())
        keys = dict(connection.execute("SELECT id, wrapped IS NOT NULL FROM handovers").all())
    folder = house.home / "handovers"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name == "receipts":
            continue
        state = HandoverState(states[path.name])
        lies = {each.name for each in path.iterdir()}
        early = state in {HandoverState.QUEUED, HandoverState.DECIDING}
        assert bool(keys[path.name]) is early, (state, "key")
        if not early:
            sealed = {name for name in lies if name.removesuffix(".mark").startswith(path.name)}
            allowed = _BELONGS.get(state, {"manifest.json", "manifest.sig"} | sealed)
            assert lies <= allowed, (state, lies)
        if state is HandoverState.CANCELLED:
            raise AssertionError("a cancelled handover left its folder")


def results(gateway: Gateway, handover: str) -> Counter[str]:
    """Rows by what became of them."""
    with gateway.store.snapshot() as connection:
        found = connection.execute("SELECT results FROM handover_chunks WHERE handover = ?", (handover,)).all()
    return Counter(RowResult(each).name for (data,) in found for each in bytes(data))
