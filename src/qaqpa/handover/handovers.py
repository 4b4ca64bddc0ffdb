"""Handovers as the rest of the gate sees them: order one, look, cancel, try it dry, hand a receipt in."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import orjson

from qaqpa.errors import (
    DecisionOutdated,
    InvalidRequest,
    KeyReused,
    NotFound,
    NotPossible,
    RequestTooLarge,
    StoreUnavailable,
)
from qaqpa.handover import records
from qaqpa.handover.creditors import Owed, Report, bureaus, owed, reports, require_followed
from qaqpa.handover.deciding import Screened, Told, dry_run
from qaqpa.handover.flow import HandoverFlow
from qaqpa.handover.judge import Judged
from qaqpa.handover.manifest import NAME, SIGNATURE
from qaqpa.handover.orders import Document, Order
from qaqpa.handover.packer import REGISTER, document_key
from qaqpa.handover.records import Handover, Once, Progress
from qaqpa.handover.spool import SpoolWriter
from qaqpa.keys.keyring import KEY_SIZE, Keyring
from qaqpa.ledger.handovers import unwrap, wrap
from qaqpa.model.handover import FINAL, Finding, HandoverState, RowResult
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.store import Connection

LARGEST_REGISTER = 2**30
LARGEST_DOCUMENT = 2**26
_TYPES = {b"%PDF-": "pdf", b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
"""Documents that may go with a register, by their first bytes."""
_HEAD = 16
_TRIES = 5
"""To cancel a handover that moves on meanwhile."""


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def document_type(head: bytes) -> str:
    """What a document is by its content. Raises InvalidRequest for what may not go with a register."""
    for sign, name in _TYPES.items():
        if head.startswith(sign):
            return name
    raise InvalidRequest(["documents: is neither PDF, PNG nor JPEG by its content; scan or print it as PDF"])


@dataclass(frozen=True, slots=True)
class Standing:
    """A handover, and how far it has come."""

    handover: Handover
    progress: Progress
    counts: Mapping[RowResult, int]
    reports: tuple[Report, ...] = ()
    """Of an assignment that left: what each bureau is to be told of it."""


class Handovers:
    """One gateway's."""

    def __init__(self, flow: HandoverFlow, keyring: Keyring) -> None:
        self.flow = flow
        self._keyring = keyring
        self._store = flow.ledger.store

    # --- ordering ----------------------------------------------------------------------------------

    def require_route(self, order: Order) -> None:
        """Raises NotPossible where no route lets this caller hand a register over so."""
        route = self.flow.packer.policy.find(order.asked)
        if route is None:
            way = f"{order.caller} hand over to {order.recipient} by {order.operation} for {order.purpose}"
            raise NotPossible([f"no route lets {way} (3.4(2)); `qaqpa policy show` lists the routes"])
        bureau = self.flow.batches.bureaus.get(order.recipient)
        if not (route.operation.package or route.operation.batch):
            raise NotPossible([f"{order.operation} is asked for one person at a time: `qaqpa disclose`"])
        if order.recipient not in self.flow.packer.partners:
            raise NotPossible([f"{order.recipient}: takes no packages; its [packages] is not configured"])
        if bureau is None:
            self.flow.transport.require(order.recipient)

    async def take_in(
        self,
        order: Order,
        register: AsyncIterator[bytes],
        documents: Mapping[str, Path] | None = None,
        key: str | None = None,
    ) -> Handover:
        """Take a register in: encrypted on disk from its first byte, durable when this returns. Nothing is decided yet.

        `documents` are files by the kind that the recipient's configuration names. The same `key` of the same caller
        gives the handover that it gave first. Raises InvalidRequest, KeyReused, StoreError.
        """
        self.require_route(order)
        await self._store.read(lambda connection: require_followed(connection, order))
        said = {name: value for name, value in asdict(order).items() if name != "follows" or value is not None}
        digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))  # as before there was `follows`
        if key is None:
            return await self._taken_in(order, register, digest, documents or {}, None)
        blind = self._keyring.blind_request(order.caller, f"handover {key}")
        if (found := await self._first(order, blind)) is None:
            return await self._taken_in(order, register, digest, documents or {}, blind)
        size = 0
        async for piece in register:  # only compared: nothing of it is kept
            digest.update(piece)
            size += len(piece)
            _require_size(size, LARGEST_REGISTER)
        return await self._same(order, found, digest)

    async def _first(self, order: Order, blind: bytes) -> tuple[str, bytes] | None:
        return await self._store.read(lambda connection: records.first(connection, blind))

    async def _same(self, order: Order, found: tuple[str, bytes], digest: _Digest) -> Handover:
        if found[1] != self._body(order, digest):
            raise KeyReused("this Idempotency-Key stands for another register or order: nothing was taken in")
        return (await self.find(found[0])).handover

    def _body(self, order: Order, digest: _Digest) -> bytes:
        return self._keyring.blind_request(order.caller, f"body {digest.hexdigest()}")

    async def _taken_in(
        self,
        order: Order,
        register: AsyncIterator[bytes],
        digest: _Digest,
        documents: Mapping[str, Path],
        blind: bytes | None,
    ) -> Handover:
        handover = HandoverId(uuid7())
        key = secrets.token_bytes(KEY_SIZE)
        folder = self.flow.packer.folder / handover
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise StoreUnavailable(f"{folder} cannot be made: {error.strerror}; nothing was taken in") from None
        try:
            size = await self._spooled(folder / REGISTER, key, _digested(register, digest), LARGEST_REGISTER)
            taken = [
                await self._document(folder, key, number, kind, path, order)
                for number, (kind, path) in enumerate(documents.items(), start=1)
            ]
            made = self._made(handover, replace(order, bytes=size, documents=tuple(taken)), key)
            once = None if blind is None else Once(blind, self._body(order, digest))
            added = await self._store.write(lambda connection: records.add(connection, made, once))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not added and blind is not None:  # somebody was faster with the same key
            shutil.rmtree(folder, ignore_errors=True)
            if (found := await self._first(order, blind)) is not None:
                return await self._same(order, found, digest)
        return made

    def _made(self, handover: HandoverId, order: Order, key: bytes) -> Handover:
        epoch, wrapped = wrap(self._keyring, handover, key)
        now = self.flow.ledger.clock()
        return Handover(handover, order, HandoverState.QUEUED, now, now, {}, epoch, wrapped)

    async def _spooled(self, path: Path, key: bytes, pieces: AsyncIterator[bytes], largest: int) -> int:
        spool = SpoolWriter(path, key)
        try:
            async for piece in pieces:
                await asyncio.to_thread(spool.write, piece)
                _require_size(spool.size, largest)
            _require_size(spool.size, largest)
            await asyncio.to_thread(spool.close)
        except BaseException:
            spool.abort()
            raise
        return spool.size

    async def _document(self, folder: Path, key: bytes, number: int, kind: str, path: Path, order: Order) -> Document:
        allowed = self.flow.packer.partners[order.recipient].terms.documents
        if kind not in allowed:
            known = ", ".join(allowed) or "none"
            raise InvalidRequest([f"documents: {order.recipient} gets no {kind} (packages.documents names: {known})"])
        sealed, digest, head = folder / f"{REGISTER}-document-{number}", hashlib.sha256(), bytearray()

        async def pieces() -> AsyncIterator[bytes]:
            # Told and digested from the very bytes that are kept: the file may change meanwhile.
            async for piece in file_pieces(path):
                digest.update(piece)
                if len(head) < _HEAD:
                    head.extend(piece[:_HEAD])
                    document_type(bytes(head))
                yield piece

        try:
            size = await self._spooled(sealed, document_key(key, number), pieces(), LARGEST_DOCUMENT)
        except OSError as error:
            raise InvalidRequest([f"documents: {kind} cannot be read: {error.strerror}"]) from None
        return Document(kind, document_type(bytes(head)), size, digest.hexdigest())

    # --- trying ------------------------------------------------------------------------------------

    async def dry_run(
        self, order: Order, file: BinaryIO, told: Told | None = None
    ) -> AsyncIterator[tuple[Screened, Judged]]:
        """What would be decided of each row of a register; nothing is entered, kept or sent.

        `told` is filled with what is known of the register as a whole.
        """
        self.require_route(order)
        now = self.flow.ledger.clock()
        trial = Handover(HandoverId(uuid7()), order, HandoverState.QUEUED, now, now, {})
        async for chunk in dry_run(self.flow.packer.deciding(trial, trial=True), file, told):
            yield chunk

    # --- looking -----------------------------------------------------------------------------------

    async def find(self, handover: str) -> Standing:
        """A handover as it stands. Raises NotFound."""

        def query(connection: Connection) -> Standing:
            found = records.find(connection, handover)
            told = reports(connection, found, bureaus(self.flow.packer.policy))
            return Standing(found, records.progress(connection, handover), records.counts(connection, handover), told)

        return await self._store.read(query)

    async def reports(self, handover: Handover) -> tuple[Report, ...]:
        """What each bureau is to be told of it, where it is an assignment that left."""
        to = bureaus(self.flow.packer.policy)
        return await self._store.read(lambda connection: reports(connection, handover, to))

    async def owed(self) -> list[Owed]:
        """Assignments of which a bureau has not been told."""
        to = bureaus(self.flow.packer.policy)
        return await self._store.read(lambda connection: list(owed(connection, to)))

    async def latest(self, limit: int = 50, caller: str | None = None) -> list[Handover]:
        """Newest first: of one caller, or of all."""
        return await self._store.read(lambda connection: records.latest(connection, limit, caller))

    async def findings(
        self,
        handover: str,
        *,
        after: int = 0,
        limit: int = 2_000_000,
        result: RowResult | None = None,
        reason: Mapping[str, str] | None = None,
    ) -> list[Finding]:
        """Rows beyond `after` that did not go, or that the recipient rejected. Raises NotFound."""

        def query(connection: Connection) -> list[Finding]:
            records.find(connection, handover)
            return list(records.findings(connection, handover, after=after, limit=limit, result=result, reason=reason))

        return await self._store.read_aside(query)

    async def manifest(self, handover: str) -> bytes:
        """The manifest of its package. Raises NotFound before there is one, and once its files are gone."""
        return await self._file(handover, NAME)

    async def signature(self, handover: str) -> bytes:
        """The signed note over its manifest. Raises as `manifest`."""
        return await self._file(handover, SIGNATURE)

    async def _file(self, handover: str, name: str) -> bytes:
        found = (await self.find(handover)).handover
        try:
            return (self.flow.packer.folder_of(found) / name).read_bytes()
        except OSError:
            raise NotFound(f"there is no manifest here: the handover is {found.state.value}") from None

    # --- acting ------------------------------------------------------------------------------------

    async def cancel(self, handover: str) -> Handover:
        """Cancel a handover that is not sent; one that is being sent is stopped if it still can be.

        Raises NotFound, NotPossible where it is too late.
        """
        for left in reversed(range(_TRIES)):
            found = (await self.find(handover)).handover
            if found.state is HandoverState.SENDING:
                await self._store.write(partial(records.ask_to_cancel, handover=found.id))
                return found
            if found.state in FINAL or found.state in {HandoverState.SENT, HandoverState.UNKNOWN}:
                raise NotPossible([f"handover: is {found.state.value}, so it cannot be cancelled; recall it instead"])
            try:
                await self.flow.cancel(found, "cancelled")
                break
            except DecisionOutdated:  # its job moved it on at that very moment
                if not left:
                    raise
        return (await self.find(handover)).handover

    async def receipt(self, recipient: str, data: bytes) -> Handover:
        """A receipt that was handed in. Raises a kind of ReceiptRefused, NotFound."""
        return await self.flow.receipts.take(recipient, data)


def _require_size(size: int, largest: int) -> None:
    if size > largest:
        raise RequestTooLarge([f"register: a file is larger than {largest // 2**20} MiB; hand it over in parts"])
    if not size:
        raise InvalidRequest(["register: a file is empty"])


def spool_key(keyring: Keyring, handover: Handover) -> bytes:
    """The key of a register's file. Raises StoreUnavailable once it is gone, KeyringError."""
    if handover.epoch is None or handover.wrapped is None:
        raise StoreUnavailable("the register of this handover was removed")
    return unwrap(keyring, handover.id, handover.epoch, handover.wrapped)


async def _digested(pieces: AsyncIterator[bytes], digest: _Digest) -> AsyncIterator[bytes]:
    async for piece in pieces:
        digest.update(piece)
        yield piece


async def file_pieces(path: Path) -> AsyncIterator[bytes]:
    """A file, piece by piece."""
    with closing(path.open("rb")) as file:
        while piece := await asyncio.to_thread(file.read, 2**18):
            yield piece
