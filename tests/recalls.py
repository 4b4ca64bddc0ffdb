"""Recalls for tests: what left, who asks, what a recipient finds in a notice."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from harness import House, agreed
from qaqpa.gateway import Gateway
from qaqpa.model.actors import SHELL, called
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.recall.asking import Asking
from qaqpa.recall.records import Recalled
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import agency, as_csv, manifest_in, opened, order, pieces, rows, until

ASKING = Asking(caller=None, person="A. Compliance")


async def recall_as_two(
    gateway: Gateway,
    handover: str,
    reason: RecallReason = RecallReason.ERROR,
    *,
    due_on: date | None = None,
    by_letter: bool = False,
) -> Recalled:
    """The recall of a whole handover, as two persons want it."""
    first = called("A. Compliance", SHELL)
    asked = await gateway.approvals.ask_recall(
        "compliance", first, handover, reason, due_on=due_on, by_letter=by_letter
    )
    done = await agreed(gateway, "compliance", asked)
    assert isinstance(done, Recalled)
    return done


@dataclass
class Scene:
    """An agency that has a register."""

    house: House
    gateway: Gateway
    agency: SftpRecipient
    handover: str
    lines: list[dict[str, Any]]

    async def ask(self, of: str, reason: RecallReason = RecallReason.ERROR, **changes: Any) -> Recalled:
        if await self.gateway.recalls.takes_two("compliance", of):
            return await recall_as_two(self.gateway, of, reason, **changes)
        asking = Asking(**{"caller": None, "person": "A. Compliance", **changes})
        return await self.gateway.recalls.start("compliance", of, reason, asking)

    @property
    def notices(self) -> list[Path]:
        """Packages that are none of a handover's."""
        return [path for path in self.agency.packages if not path.name.startswith(self.handover)]


@asynccontextmanager
async def handed_over(house: House, folder: Path, count: int = 5, denied: int | None = 1) -> AsyncIterator[Scene]:
    """A register of `count` at the agency; of its rows (from 0) `denied` stayed behind."""
    lines = rows(count)
    if denied is not None:
        lines[denied]["facts.contract.settlement_steps_done"] = False
    async with agency(house, folder) as recipient, house.gateway() as gateway:
        taken = await gateway.handovers.order(order(), pieces(as_csv(lines)))
        await until(gateway, taken.id, HandoverState.SENT)
        yield Scene(house, gateway, recipient, taken.id, lines)


async def reached(gateway: Gateway, recall: str, *states: RecallState, within_s: float = 30) -> Recalled:
    """Wait until it is in one of the states."""
    async with asyncio.timeout(within_s):
        while True:
            found = await gateway.recalls.recalls.find(recall)
            if found.state in states:
                return found
            await asyncio.sleep(0.05)


async def worked(gateway: Gateway, recall: str) -> Recalled:
    """Let its job's turns be done here and now, beside the engine that would do them."""
    flow = gateway.recalls.recalls.flow
    while await flow.turn(recall) == 0:
        pass
    return await reached(gateway, recall, RecallState.SENT)


def named_in(recipient: SftpRecipient, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """What a notice names, and its manifest."""
    package = opened(recipient, name)
    listed = list(csv.DictReader(io.StringIO(package.read("recall.csv").decode())))
    return listed, manifest_in(package)


async def all_recalls(gateway: Gateway) -> list[Recalled]:
    return await gateway.recalls.recalls.listed(tuple(RecallState), 1_000)
