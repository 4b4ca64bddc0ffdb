"""The demonstration's registers: debtors to a collector, a portfolio to a buyer, tried dry, sent, acknowledged.

It returns what happened, counted; it prints nothing.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from qaqpa.errors import ThirdPartyError
from qaqpa.gateway import Gateway
from qaqpa.gateway.handover_answers import Tally, reason_lines, tally_of
from qaqpa.handover.orders import Order
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState, RowResult, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.recall.asking import Asking
from qaqpa.testing.people import people
from qaqpa.testing.registers import as_csv, contracts_csv, debtors

COLLECTOR, BUYER, BUREAU = "demo-collector", "demo-cession-buyer", "state-credit-bureau"
REJECTED = {2: "unknown_region", 5: "address_missing", 8: "address_missing"}
"""Lines of the package that the collector does not take, with its codes."""
_LONGEST_S = 60.0
_CALLER = "collections"
_STUCK = frozenset({HandoverState.CANCELLED, HandoverState.UNKNOWN, HandoverState.REJECTED})


class Recipients(Protocol):
    """The stand-ins, as this asks them."""

    def acknowledge(self, name: str, package: str, rejected: Mapping[int, str]) -> None:
        """Let one write a receipt."""

    def opened(self, name: str) -> dict[str, dict[str, Any]]:
        """What one found in each package."""


@dataclass(slots=True)
class Handed:
    """One register, and what came of it."""

    recipient: str
    operation: str
    handover: str = ""
    state: str = ""
    tried: Tally | None = None
    """What the dry run said beforehand."""
    tally: Tally | None = None
    """Rows that stayed behind or were rejected, by result and reason."""
    rows: int = 0
    """That went."""
    package: str = ""
    bytes: int = 0
    alike: Mapping[str, Any] | None = None
    receipt: Mapping[str, Any] | None = None
    opened: Mapping[str, Any] | None = None
    """What the recipient found when it opened the package."""
    seconds: float = 0.0
    """From the first byte of the register until the package was there."""


async def hand_over(
    gateway: Gateway, recipients: Recipients, count: int, progress: Callable[[int, int], None]
) -> list[Handed]:
    """Every register of the demonstration. Raises ThirdPartyError where one does not arrive."""
    today = datetime.now(UTC).date()
    cession = gateway.policy.recipients[BUYER].cessions[0].number
    register = as_csv(debtors(count, today=today, cession=cession))
    orders = [
        Order(caller=_CALLER, recipient=COLLECTOR, operation="handover", purpose="debt_collection"),
        Order(caller=_CALLER, recipient=BUYER, operation="portfolio_preview", purpose="cession"),
        Order(caller=_CALLER, recipient=BUYER, operation="assignment", purpose="cession"),
    ]
    handed = []
    for number, order in enumerate(orders):
        one = Handed(order.recipient, order.operation)
        if not number:
            one.tried = await _tried(gateway, order, register)
        told = partial(_told, progress, number * count, len(orders) * count)
        await _sent(gateway, one, order, register, told)
        recipients.acknowledge(one.recipient, one.package, REJECTED if one.recipient == COLLECTOR else {})
        handed.append(one)
    for one in handed:
        await _acknowledged(gateway, one)
        one.opened = recipients.opened(one.recipient)[one.package]
    return handed


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A document of contracts, and what the bureau said of it."""

    contracts: int
    rejected: int
    state: str


async def upload(gateway: Gateway, count: int = 50) -> Uploaded:
    """Contracts to the state bureau, which law wants (56-V art. 4(2)). Raises ThirdPartyError."""
    register = contracts_csv(people(count, seed=2027, today=datetime.now(UTC).date()))
    order = Order(caller=_CALLER, recipient=BUREAU, operation="contract_upload", purpose="legal_duty")
    taken = await gateway.handovers.order(order, _pieces(register))
    found = await _until(gateway, taken.id, {HandoverState.ACKNOWLEDGED}, lambda _rows: None)
    return Uploaded(found.figures["rows"], found.figures["receipt"]["rejected"], found.state.value)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A row that a recipient is asked to destroy."""

    disclosure: str
    recipient: str
    state: str
    due_on: str


async def recall(gateway: Gateway, handed: Handed) -> Recalled:
    """The collector is asked to destroy one row of its register: the debt was paid. Raises ThirdPartyError."""
    target = row_id(HandoverId(handed.handover), 2)
    asking = Asking(caller=None, person="A. Compliance")
    asked = await gateway.recalls.start("compliance", target, RecallReason.REPAYMENT, asking)
    ends = time.monotonic() + _LONGEST_S
    while asked.state not in {RecallState.SENT, RecallState.CONFIRMED}:
        if time.monotonic() > ends:
            raise ThirdPartyError(f"the recall of the demonstration did not leave: it is {asked.state.value}")
        await asyncio.sleep(0.05)
        asked = await gateway.recalls.find("compliance", asked.id)
    return Recalled(target, asked.recipient, asked.state.value, asked.due_on.isoformat())


def _told(progress: Callable[[int, int], None], before: int, of_all: int, rows: int) -> None:
    progress(before + rows, of_all)


async def _tried(gateway: Gateway, order: Order, register: bytes) -> Tally:
    """The dry run that a careful department makes first."""
    guards, language = gateway.setup.config.guards, gateway.setup.config.gateway.language
    tally = Tally(language)
    async for chunk, judged in gateway.handovers.dry_run(order, io.BytesIO(register)):
        tally.results[RowResult.PERMIT] += len(chunk.rows) - len(judged.findings)
        for finding in judged.findings:
            tally.add(finding, reason_lines(finding, guards, language))
    return tally


async def _sent(gateway: Gateway, one: Handed, order: Order, register: bytes, progress: Callable[[int], None]) -> None:
    started = time.perf_counter()
    taken = await gateway.handovers.order(order, _pieces(register))
    found = await _until(gateway, taken.id, {HandoverState.SENT, HandoverState.ACKNOWLEDGED}, progress)
    one.seconds = time.perf_counter() - started
    one.handover, one.rows, one.bytes = found.id, found.figures["rows"], found.figures["package"]["bytes"]
    one.alike, one.package = found.figures.get("alike"), gateway.handovers.package_name(found) or ""


async def _acknowledged(gateway: Gateway, one: Handed) -> None:
    found = await _until(gateway, one.handover, {HandoverState.ACKNOWLEDGED}, lambda _rows: None)
    one.state, one.receipt = found.state.value, found.figures["receipt"]
    config = gateway.setup.config
    findings = await gateway.handovers.findings(_CALLER, one.handover)
    one.tally = tally_of(findings, config.guards, config.gateway.language)


async def _until(
    gateway: Gateway, handover: str, states: set[HandoverState], progress: Callable[[int], None]
) -> Handover:
    ends = time.monotonic() + _LONGEST_S
    while True:
        standing = await gateway.handovers.find(_CALLER, handover)
        progress(standing.progress.rows)
        if standing.handover.state in states:
            return standing.handover
        if standing.handover.state in _STUCK or time.monotonic() > ends:
            raise ThirdPartyError(f"a register of the demonstration did not arrive: `qaqpa handover show {handover}`")
        await asyncio.sleep(0.05)


async def _pieces(register: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(register), 2**18):
        yield register[at : at + 2**18]
