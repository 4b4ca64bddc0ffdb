"""Registers that go to a third party as one document in its own format: contracts to credit bureaus (1.1(21)).

They go through the same door as a single request, and their answer comes later: the third party is asked what became
of the batch until it says so. Until then the document lies encrypted under the register's key, because what the third
party says of a row is found by codes that stand in it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import orjson

from qaqpa.adapter import BatchAdapter
from qaqpa.config.packages import Window
from qaqpa.handover.records import Handover
from qaqpa.handover.spool import SpoolWriter, open_spool
from qaqpa.ledger.handovers import exchange_of_package
from qaqpa.minimise import Cut
from qaqpa.model.batch import BatchState, Remark
from qaqpa.model.decision import Decision
from qaqpa.model.disclosure import Exchange, Json, Message, Reply
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.words import SealKind
from qaqpa.seal import RecipientKey, seal
from qaqpa.transport import Transport

DOCUMENT, CODES = "document", "codes"


@dataclass(frozen=True, slots=True)
class _Sealing:
    kind: SealKind


@dataclass(frozen=True, slots=True)
class _Due:
    due: timedelta


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What of `[packages]` a recipient of batches has without it."""

    seal: _Sealing
    receipts: _Due
    headings: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    per_day: int | None = None

    @classmethod
    def of(cls, kind: SealKind, due: timedelta) -> BatchTerms:
        """Under the seal of its single messages; `due` is when it should have said what became of a batch."""
        return cls(_Sealing(kind), _Due(due))


@dataclass(frozen=True, slots=True)
class Bureau:
    """A recipient of batches."""

    terms: BatchTerms
    adapter: BatchAdapter
    key: RecipientKey | None

    def tried(self, handover: Handover) -> Callable[[int, Cut], object]:
        """Writes a row and forgets it. Raises InvalidRequest for one that their format cannot hold."""
        operation, exchange = handover.order.operation, exchange_of(handover)
        return lambda number, cut: self.adapter.batch_row(
            operation, number, cut.extract(consent_confirmed=False), exchange
        )


class BatchBuilder:
    """Writes one document, encrypted as it is written, and beside it the codes by which rows are known again."""

    def __init__(self, bureau: Bureau, handover: Handover, folder: Path, key: bytes) -> None:
        self._adapter, self._operation = bureau.adapter, handover.order.operation
        self.exchange = exchange_of(handover)
        self._folder = folder
        for name in (DOCUMENT, CODES):
            (folder / name).unlink(missing_ok=True)  # of a process that was killed
        self._document = SpoolWriter(folder / DOCUMENT, part_key(key, DOCUMENT))
        self._codes = SpoolWriter(folder / CODES, part_key(key, CODES))
        self._document.write(self._adapter.batch_head(self._operation, self.exchange))
        self.rows = 0
        self._whole = False

    def add(self, rows: Iterable[tuple[int, Cut]]) -> None:
        """Rows that are in the ledger, by their lines in the register."""
        for number, cut in rows:
            extract = cut.extract(consent_confirmed=False)
            self._document.write(self._adapter.batch_row(self._operation, number, extract, self.exchange))
            codes = self._adapter.batch_codes(self._operation, extract)
            self._codes.write(orjson.dumps([number, list(codes)], option=orjson.OPT_APPEND_NEWLINE))
            self.rows += 1

    def finish(self, *said: bytes) -> dict[str, Json]:
        """The document is whole and durable: digest and size of its encrypted file. Nothing more is said in it."""
        if said:
            raise TypeError("a bureau's document has no manifest")
        self._document.write(self._adapter.batch_tail(self._operation))
        self._document.close()
        self._codes.close()
        self._whole = True
        with (self._folder / DOCUMENT).open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}

    def __enter__(self) -> BatchBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._whole:
            self._document.abort()
            self._codes.abort()


def part_key(key: bytes, part: str) -> bytes:
    """The key of a file beside the register, from that of the register."""
    return hashlib.blake2b(part.encode(), key=key, digest_size=32, person=b"qaqpa/batch/1").digest()


def exchange_of(handover: Handover) -> Exchange:
    """What names a batch at its recipient: the same on every attempt."""
    return Exchange(DisclosureId(handover.id), handover.since)


class Rows:
    """Which line of the register a row of the document is."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._at: list[int] = []
        self._codes: dict[str, int | None] = {}
        for text in lines:
            number, codes = orjson.loads(text)
            self._at.append(number)
            for code in codes:
                # A code of two rows names neither.
                self._codes[code] = number if self._codes.get(code, number) == number else None

    def at(self, position: int) -> int | None:
        """The row of the n-th contract, from 1."""
        return self._at[position - 1] if 1 <= position <= len(self._at) else None

    def known_as(self, code: str) -> int | None:
        """The row with this code."""
        return self._codes.get(code)


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a batch, told to the end."""

    state: BatchState
    code: str
    rejections: tuple[Remark, ...]
    warnings: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Batches:
    """Sends documents and asks what became of them."""

    bureaus: Mapping[str, Bureau]
    """By recipient."""
    transport: Transport
    folder_of: Callable[[Handover], Path]
    key_of: Callable[[Handover], bytes]

    async def document(self, handover: Handover) -> bytes:
        """The document, as it is to be handed over. Raises StoreUnavailable, KeyringError."""
        return await asyncio.to_thread(self._read, handover, DOCUMENT)

    async def upload(self, handover: Handover, document: bytes, decision: Decision) -> str:
        """Hand the document over, once; their id of the batch. But for NotSent, an error may mean it is there."""
        bureau, operation = self.bureaus[handover.order.recipient], handover.order.operation
        exchange = exchange_of(handover)
        message = await asyncio.to_thread(bureau.adapter.upload, operation, document, exchange)
        reply = await self._send(bureau, handover, decision, message, idempotent=False)
        batch = bureau.adapter.uploaded(operation, reply, exchange)
        self.transport.answered(handover.order.recipient, reply)
        return batch

    async def ask(self, handover: Handover, decision: Decision) -> Answered | None:
        """What became of it; None while they are not done, and of a batch whose id they never told: a person found out
        that they have it. Raises ThirdPartyError where they could not be asked.
        """
        batch: str | None = handover.figures.get("batch")
        if batch is None:
            return None
        bureau, operation = self.bureaus[handover.order.recipient], handover.order.operation
        codes = await asyncio.to_thread(self._read, handover, CODES)
        rows = await asyncio.to_thread(Rows, iter(codes.splitlines()))
        rejections: list[Remark] = []
        warnings: list[Remark] = []
        while batch is not None:
            message = bureau.adapter.ask_status(operation, batch, exchange_of(handover))
            reply = await self._send(bureau, handover, decision, message, idempotent=True)
            status = bureau.adapter.status(operation, reply, batch, rows)
            self.transport.answered(handover.order.recipient, reply)
            if status.state is BatchState.PENDING:
                return None
            rejections += status.rejections
            warnings += status.warnings
            batch = status.more
        return Answered(status.state, status.code, tuple(rejections), tuple(warnings))

    async def _send(
        self, bureau: Bureau, handover: Handover, decision: Decision, message: Message, *, idempotent: bool
    ) -> Reply:
        intent = exchange_of_package(handover.id, decision, message)
        return await self.transport.send(seal(intent, bureau.key, idempotent=idempotent))

    def _read(self, handover: Handover, part: str) -> bytes:
        key = part_key(self.key_of(handover), part)
        with closing(open_spool(self.folder_of(handover) / part, key)) as file:
            return file.read()
