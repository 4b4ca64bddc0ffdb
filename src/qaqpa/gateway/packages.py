"""Handovers of one gateway: recipients of packages made ready, and who may order what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from qaqpa.adapter import BatchAdapter
from qaqpa.config.models import Role
from qaqpa.config.packages import SftpChannel
from qaqpa.config.recipients import RecipientFile
from qaqpa.errors import (
    InvalidRequest,
    NotAllowed,
    NotConfigured,
    NotFound,
    ReceiptOfAnother,
    VerificationFailed,
)
from qaqpa.gateway.addresses import addresses, networks_of
from qaqpa.gateway.setup import Equipped, Setup
from qaqpa.handover.batches import Batches, BatchTerms, Bureau
from qaqpa.handover.creditors import Owed, Report
from qaqpa.handover.deciding import FactsOfRecord, Screened, Told
from qaqpa.handover.flow import HandoverFlow
from qaqpa.handover.handovers import Handovers, Standing, spool_key
from qaqpa.handover.judge import Judged
from qaqpa.handover.orders import Order
from qaqpa.handover.packer import Packer, Partner
from qaqpa.handover.receiving import Receipts
from qaqpa.handover.records import Handover
from qaqpa.handover.sweep import Sweep
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.model.handover import Finding, RowResult
from qaqpa.receipts import ReceiptKey, claimed_package, load_receipt_key
from qaqpa.seal import load_key, package_key
from qaqpa.transport import Transport
from qaqpa.transport.https import Https
from qaqpa.transport.limits import Breaker
from qaqpa.transport.packages import PackageChannel, PackageLine, PackageTransport
from qaqpa.transport.uploads import Uploads

FOLDER = "handovers"
IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
Result = TypeVar("Result")
Require = Callable[..., None]
Look = Callable[[str, str, dict[str, str | int]], Awaitable[None]]
Prepared = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Ready:
    """A recipient that packages can be sent to."""

    partner: Partner
    line: PackageLine
    receipts: ReceiptKey | None


def ready(setup: Setup, recipient: RecipientFile, ledger: Ledger) -> Ready | None:
    """Read the references of `[packages]`; None where it has none. Raises NotConfigured, naming the recipient."""
    config = recipient.packages
    if config is None:
        return None

    def path(value: str, what: str) -> Path:
        return setup.home / setup.resolve(value, what)

    try:
        key_file = str(path(config.seal.key, "packages.seal.key"))
        key = package_key(load_key(config.seal, key_file, ledger.clock()))
        signs = config.receipts.key
        receipts = None if signs is None else load_receipt_key(path(signs, "packages.receipts.key"))
        line = PackageLine(_channel(setup, recipient), Breaker(recipient.id, recipient.breaker))
        return Ready(Partner(config, key, key_file), line, receipts)
    except NotConfigured as error:
        raise NotConfigured(f"{recipient.id}: {error}") from None


def _channel(setup: Setup, recipient: RecipientFile) -> PackageChannel:
    config = recipient.packages
    if config is None:
        raise TypeError("no packages")
    channel, rate = config.channel, config.bytes_per_second
    if isinstance(channel, SftpChannel):
        # Not before one is needed: asyncssh looks for libraries with the machine's compiler while it is imported.
        from qaqpa.transport.sftp import Sftp  # noqa: PLC0415
        from qaqpa.transport.ssh import ssh_access  # noqa: PLC0415

        networks = networks_of(setup, channel.private_networks, "packages.channel.private_networks")
        return Sftp(channel, ssh_access(channel, networks, setup.resolve, setup.home), bytes_per_second=rate)
    wire = Https(channel, addresses(setup, channel))
    return Uploads(wire, has_receipts="receipts" in channel.endpoints, bytes_per_second=rate)


def make_handovers(
    setup: Setup,
    ledger: Ledger,
    *,
    is_suspended: Callable[[str], Awaitable[bool]],
    still_holds: Callable[[str], StillHolds],
    checkpoint: Callable[[], Awaitable[bytes]],
    facts: FactsOfRecord | None,
    equipped: Mapping[str, Equipped],
    online: Transport,
    enter_policy: Callable[[bool], Awaitable[None]],
    alarm: Callable[[VerificationFailed], Awaitable[None]],
    unready: dict[str, str],
) -> tuple[Handovers, HandoverFlow]:
    """Handovers to every recipient that takes packages; why another one takes none is noted in `unready`."""
    found: dict[str, Ready] = {}
    for recipient in setup.config.recipients.values():
        try:
            one = ready(setup, recipient, ledger)
        except NotConfigured as error:
            unready[recipient.id] = str(error)
        else:
            if one is not None:
                found[recipient.id] = one
    bureaus = _bureaus(setup, equipped)
    folder = setup.home / FOLDER
    transport = PackageTransport({name: each.line for name, each in found.items()}, is_suspended=is_suspended)
    packer = Packer(
        policy=setup.policy,
        ledger=ledger,
        partners={**{name: each.partner for name, each in found.items()}, **bureaus},
        folder=folder,
        origin=setup.config.gateway.ledger.origin,
        config=setup.config,
        is_suspended=is_suspended,
        still_holds=lambda handover: still_holds(handover.order.recipient),
        checkpoint=checkpoint,
        facts=facts,
        spool_key=lambda handover: spool_key(ledger.keyring, handover),
    )
    keys = {name: each.receipts for name, each in found.items()}
    receipts = Receipts(ledger, transport, folder / "receipts", keys)
    batches = Batches(bureaus, online, packer.folder_of, packer.spool_key)
    flow = HandoverFlow(packer, transport, receipts, batches, Sweep(packer), enter_policy, alarm)
    return Handovers(flow, ledger.keyring), flow


def _bureaus(setup: Setup, equipped: Mapping[str, Equipped]) -> dict[str, Bureau]:
    """Recipients whose adapter writes documents of many rows."""
    found: dict[str, Bureau] = {}
    for name, each in equipped.items():
        if isinstance(each.adapter, BatchAdapter):
            recipient = setup.config.recipients[name]
            found[name] = Bureau(BatchTerms.of(recipient.seal.kind, recipient.later.give_up), each.adapter, each.key)
    return found


class Handing:
    """Who may do what with handovers, at one gateway."""

    def __init__(
        self,
        handovers: Handovers,
        require: Require,
        prepared: Prepared,
        wake: Callable[[], None],
        look: Look,
        acknowledges: Mapping[str, str],
    ) -> None:
        """`look` enters what a person looked at; `acknowledges` is the recipient of each caller that hands in its
        receipts and may do nothing else.
        """
        self._handovers = handovers
        self._look = look
        self._acknowledges = dict(acknowledges)
        self.flow = handovers.flow
        self._require = require
        self._prepared = prepared
        self._wake = wake

    def require_orderer(self, caller: str) -> None:
        """Raises NotAllowed; said before anything that was asked is looked at, like the next two."""
        self._require(caller, Role.DISCLOSE)

    def require_looker(self, caller: str) -> None:
        """Raises NotAllowed."""
        self._require(caller, Role.DISCLOSE, Role.REVIEW, Role.OPERATE)

    def require_acknowledger(self, caller: str) -> None:
        """Raises NotAllowed."""
        self._require(caller, Role.DISCLOSE, Role.OPERATE, Role.ACKNOWLEDGE)

    async def order(
        self,
        order: Order,
        register: AsyncIterator[bytes],
        documents: Mapping[str, Path] | None = None,
        key: str | None = None,
    ) -> Handover:
        """Take a register in; the rest is a job's. Raises NotAllowed, InvalidRequest, KeyReused, StoreError."""
        self._require(order.caller, Role.DISCLOSE)
        if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
            raise InvalidRequest(["Idempotency-Key: must be 1 to 255 printable ASCII characters"])
        taken: Handover = await self._prepared(lambda: self._handovers.take_in(order, register, documents, key))
        self._wake()
        return taken

    async def dry_run(
        self, order: Order, file: BinaryIO, told: Told | None = None
    ) -> AsyncIterator[tuple[Screened, Judged]]:
        """What would be decided of each row; nothing is entered, kept or sent."""
        self._require(order.caller, Role.DISCLOSE)
        async for chunk in self._handovers.dry_run(order, file, told):
            yield chunk

    @property
    def takers(self) -> frozenset[str]:
        """Recipients that take whole registers."""
        flow = self._handovers.flow
        return frozenset(flow.packer.partners)

    async def tried_for(
        self, caller: str, order: Order, file: BinaryIO, told: Told | None = None
    ) -> AsyncIterator[tuple[Screened, Judged]]:
        """The same for who reviews, as decided for the order's caller; that it was tried is entered first."""
        self._require(caller, Role.REVIEW)
        said = {"recipient": order.recipient, "operation": order.operation, "purpose": order.purpose}
        await self._look(caller, "dry_run", {**said, "caller": order.caller})
        async for chunk in self._handovers.dry_run(order, file, told):
            yield chunk

    async def find(self, caller: str, handover: str, *, again: bool = False) -> Standing:
        """A handover as it stands: the caller's own, or anybody's for who reviews or operates.

        A person's look at another's is an entry; `again` goes on with one that is entered already.
        """
        self._require(caller, Role.DISCLOSE, Role.REVIEW, Role.OPERATE)
        standing = await self._handovers.find(handover)
        if standing.handover.order.caller != caller:
            try:
                self._require(caller, Role.REVIEW, Role.OPERATE)
            except NotAllowed:
                raise NotAllowed("this handover was ordered by another caller") from None
            if not again:
                await self._look(caller, "handover", {"handover": standing.handover.id})
        return standing

    async def reports(self, caller: str, handover: Handover) -> tuple[Report, ...]:
        """What each bureau is to be told of one that the caller has found."""
        self._require(caller, Role.DISCLOSE, Role.REVIEW, Role.OPERATE)
        return await self._handovers.reports(handover)

    async def owed(self, caller: str) -> list[Owed]:
        """Assignments of which a bureau has not been told; names and numbers alone, so no look."""
        self._require(caller, Role.REVIEW, Role.OPERATE)
        return await self._handovers.owed()

    async def latest(self, caller: str, limit: int = 50) -> list[Handover]:
        """Newest first: the caller's own, or everybody's for who reviews or operates."""
        self._require(caller, Role.DISCLOSE, Role.REVIEW, Role.OPERATE)
        try:
            self._require(caller, Role.REVIEW, Role.OPERATE)
        except NotAllowed:
            return await self._handovers.latest(limit, caller)
        await self._look(caller, "handovers", {"count": limit})
        return await self._handovers.latest(limit)

    async def findings(
        self,
        caller: str,
        handover: str,
        *,
        after: int = 0,
        limit: int = 2_000_000,
        result: RowResult | None = None,
        reason: Mapping[str, str] | None = None,
    ) -> list[Finding]:
        """Rows beyond `after` that did not go, or that the recipient rejected."""
        await self.find(caller, handover)
        return await self._handovers.findings(handover, after=after, limit=limit, result=result, reason=reason)

    async def every_finding(
        self, caller: str, handover: str, size: int = 5_000, *, again: bool = False
    ) -> AsyncIterator[list[Finding]]:
        """All of them, in pages: there may be a million. `again` as for `find`."""
        await self.find(caller, handover, again=again)
        after = 0
        while page := await self._handovers.findings(handover, after=after, limit=size):
            yield page
            after = page[-1].number

    async def manifest(self, caller: str, handover: str) -> bytes:
        """The manifest of its package."""
        await self.find(caller, handover)
        return await self._handovers.manifest(handover)

    async def signature(self, caller: str, handover: str) -> bytes:
        """The signed note over its manifest."""
        await self.find(caller, handover)
        return await self._handovers.signature(handover)

    def package_name(self, handover: Handover) -> str | None:
        """Of the file that the recipient gets; None where it takes none: batches only, or no packages any more."""
        packer = self.flow.packer
        takes = isinstance(packer.partners.get(handover.order.recipient), Partner)
        return packer.package_path(handover).name if takes else None

    async def cancel(self, caller: str, handover: str) -> Handover:
        """Cancel one that is not sent: the caller's own, or anybody's for who operates.

        Raises NotPossible where it is too late.
        """
        self._require(caller, Role.DISCLOSE, Role.OPERATE)
        if (await self.find(caller, handover)).handover.order.caller != caller:
            self._require(caller, Role.OPERATE)
        cancelled: Handover = await self._prepared(lambda: self._handovers.cancel(handover))
        self._wake()
        return cancelled

    async def receipt_for(self, caller: str, handover: str, data: bytes) -> Handover:
        """A receipt for this handover, by whoever ordered it, by an operator, or by its recipient's own caller.

        Raises as `receipt`; NotFound, whatever there is, to another recipient's caller.
        """
        self._require(caller, Role.DISCLOSE, Role.OPERATE, Role.ACKNOWLEDGE)
        recipient = self._acknowledges.get(caller)
        if recipient is None:
            recipient = (await self.find(caller, handover)).handover.order.recipient
        elif (await self._handovers.find(handover)).handover.order.recipient != recipient:
            raise NotFound("there is no handover with this id (`qaqpa handover list`)")
        if claimed_package(data) != handover:
            raise ReceiptOfAnother("it is for another package than it was handed in for; the package stays as it was")
        return await self._taken(recipient, data)

    async def receipt(self, caller: str, recipient: str, data: bytes) -> Handover:
        """A receipt that came by another way. Raises a kind of ReceiptRefused, NotFound."""
        self._require(caller, Role.DISCLOSE, Role.OPERATE)
        return await self._taken(recipient, data)

    async def _taken(self, recipient: str, data: bytes) -> Handover:
        # Not its partners: of a batch a bureau tells when it is asked, and it signs no receipts.
        keys = self.flow.receipts.keys
        if recipient not in keys:
            known = ", ".join(sorted(keys)) or "none"
            raise NotFound(f"no packages go to {recipient} (recipients of packages: {known})")
        taken: Handover = await self._prepared(lambda: self._handovers.receipt(recipient, data))
        return taken
