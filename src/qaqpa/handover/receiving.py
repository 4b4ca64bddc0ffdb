"""What recipients acknowledge: receipts are fetched or handed in, checked, kept as they came, and entered.

A receipt changes nothing of what is known to have been sent. One that is refused is told of, and its digest is kept: it
may be for another package, signed by a stranger, or name rows that were never sent. What else it holds nobody vouches
for, so no word of it stays here.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import orjson

from qaqpa import files, log
from qaqpa.errors import (
    NotFound,
    ReceiptMalformed,
    ReceiptRefused,
    ReceiptRowUnknown,
    ReceiptTooEarly,
    StoreUnavailable,
)
from qaqpa.handover import records
from qaqpa.handover.batches import Answered
from qaqpa.handover.deciding import lines_of
from qaqpa.handover.records import Handover
from qaqpa.ledger import Ledger, entries
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.handovers import Entered, enter, entered_chunks, moved
from qaqpa.model.batch import BatchState
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverState, RowResult, row_id
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.words import timestamp
from qaqpa.receipts import Receipt, ReceiptKey, ReceiptResult, claimed_package, read_receipt
from qaqpa.store import Connection
from qaqpa.transport.packages import PackageTransport

_log = log.get("handover")
_AFTER = {
    ReceiptResult.ACCEPTED: HandoverState.ACKNOWLEDGED,
    ReceiptResult.PARTIAL: HandoverState.ACKNOWLEDGED,
    ReceiptResult.REJECTED: HandoverState.REJECTED,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_FINDING = (
    "INSERT INTO handover_findings (handover, row, result, reasons) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (handover, row, result) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Receipts:
    """Takes receipts in."""

    ledger: Ledger
    transport: PackageTransport
    folder: Path
    """Where they are kept, in a folder for each recipient."""
    keys: Mapping[str, ReceiptKey | None]
    """By recipient; None where its configuration says why receipts are not signed."""
    seen: Callable[[HandoverId, HandoverState], None] = lambda _id, _state: None
    """Told of each change."""
    others: list[Callable[[str, bytes], Awaitable[bool]]] = field(default_factory=list)
    """Each takes receipts that are about no package of a handover (notices of recall), and says whether it did."""

    async def look(self, recipient: str) -> int:
        """Fetch what is new; returns how many were believed. Raises ThirdPartyError."""
        folder = self.folder / recipient
        known = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
        taken = 0
        for name, data in await self.transport.receipts(recipient, known):
            kept = data
            try:
                if not any([await other(recipient, data) for other in self.others]):
                    await self.take(recipient, data)
                taken += 1
            except ReceiptTooEarly:
                _log.info("receipt early", recipient=recipient)
                continue  # not kept, so that it is fetched again
            except (ReceiptRefused, NotFound) as error:
                _log.error("receipt refused", recipient=recipient, code=error.code)
                kept = f"refused: {error.code}, sha256 {hashlib.sha256(data).hexdigest()}\n".encode()
            # Kept last: after a crash it is looked at again, and entered once.
            self._keep(recipient, name, kept)
        return taken

    def _keep(self, recipient: str, name: str, data: bytes) -> None:
        if not _NAME.fullmatch(name):
            name = hashlib.sha256(name.encode()).hexdigest()
        try:
            (self.folder / recipient).mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self.folder / recipient / name, data)
        except OSError as error:
            raise StoreUnavailable(f"a receipt cannot be kept: {error.strerror}") from None

    async def take(self, recipient: str, data: bytes) -> Handover:
        """Check a receipt and enter it; the same one again changes nothing.

        Raises a kind of ReceiptRefused, NotFound.
        """
        handover = await self._load(claimed_package(data))
        if handover.order.recipient != recipient:
            raise NotFound("the receipt is for a package of another recipient")
        if recipient not in self.keys:
            raise ReceiptMalformed("this recipient sends no receipts: it is asked what became of the batch")
        digest = hashlib.sha256(data).hexdigest()
        if handover.figures.get("receipt", {}).get("sha256") == digest:
            return handover
        package = handover.figures.get("package")
        if package is None or handover.state not in {HandoverState.SENT, HandoverState.SENDING, HandoverState.UNKNOWN}:
            raise ReceiptMalformed(f"the package is {handover.state.value}: a receipt for it says nothing new")
        receipt = read_receipt(
            data, self.keys[recipient], package=handover.id, sha256=package["sha256"], rows=handover.figures["rows"]
        )
        if handover.state is not HandoverState.SENT:
            # The upload's own end, or a person, comes first; the receipt is fetched again afterwards.
            raise ReceiptTooEarly(
                f"the package is still {handover.state.value}: hand the receipt in again when that is settled"
            )
        return await self._enter(handover, receipt)

    async def _load(self, handover: str) -> Handover:
        return await self.ledger.store.read(lambda connection: records.find(connection, handover))

    async def _enter(self, handover: Handover, receipt: Receipt) -> Handover:
        entered = await self.ledger.store.read(lambda connection: entered_chunks(connection, handover.id))
        lines = _Lines(entered)
        rejected = []
        for each in receipt.rows:
            line = lines.of(each.row)
            if each.disclosure is not None and each.disclosure != row_id(handover.id, line):
                raise ReceiptRowUnknown("a row is not of the disclosure that the receipt says; nothing was believed")
            reasons = orjson.dumps([{"code": each.code}]).decode()
            rejected.append((handover.id, line, RowResult.REJECTED.name.lower(), reasons))
        figures = {
            **handover.figures,
            "receipt": {
                "sha256": receipt.digest,
                "result": receipt.result.value,
                "rejected": len(rejected),
                "signed": receipt.is_signed,
                "destruction_due": None if receipt.destruction_due is None else receipt.destruction_due.isoformat(),
            },
        }
        return await self._told(handover, receipt.result, figures, rejected)

    async def batch(self, handover: Handover, answered: Answered) -> Handover:
        """What a bureau says became of a batch: entered as its receipt, the rows it did not take as findings."""
        rejected: dict[int, list[str]] = {}
        for remark in answered.rejections:
            if remark.row is not None:
                rejected.setdefault(remark.row, []).append(remark.code)
        rows = [
            (
                handover.id,
                line,
                RowResult.REJECTED.name.lower(),
                orjson.dumps([{"code": code} for code in codes]).decode(),
            )
            for line, codes in sorted(rejected.items())
        ]
        told = orjson.dumps([answered.state, answered.code, *((each.row, each.code) for each in answered.rejections)])
        result = ReceiptResult.PARTIAL if answered.rejections else ReceiptResult.ACCEPTED
        if answered.state is BatchState.REJECTED:
            result = ReceiptResult.REJECTED
        figures = {
            **handover.figures,
            "receipt": {
                "sha256": hashlib.sha256(told).hexdigest(),
                "result": result.value,
                "code": answered.code,
                "rejected": len(answered.rejections),
                "not_found": sum(each.row is None for each in answered.rejections),
                "warnings": len(answered.warnings),
                "signed": False,
            },
        }
        return await self._told(handover, result, figures, rows)

    async def _told(
        self,
        handover: Handover,
        result: ReceiptResult,
        figures: dict[str, Json],
        rejected: Sequence[tuple[str, int, str, str]],
    ) -> Handover:
        after, told = replace(handover, state=_AFTER[result], figures=figures), figures["receipt"]
        public = entries.receipt(
            handover.id, handover.order.recipient, result=result.value, rejected=told["rejected"],
            sha256=told["sha256"], signed=told["signed"], at=self.ledger.clock(),
        )  # fmt: skip

        def move(connection: Connection) -> None:
            moved(connection, handover.id, handover.state, after.state, figures, timestamp(self.ledger.clock()))
            records.forget_key(connection, handover.id)
            if rejected:
                connection.execute_many(_FINDING, rejected)

        await enter(self.ledger, Kind.RECEIPT, str(public["id"]), public, move)
        self.seen(handover.id, after.state)
        return after


class _Lines:
    """Which line of the register that was handed in a line of the package is."""

    def __init__(self, entered: Sequence[Entered]) -> None:
        self._entered = entered
        self._ends = list(accumulate(each.results.count(RowResult.PERMIT) for each in entered))

    def of(self, row: int) -> int:
        """`row` counts from 1, without the heading."""
        at = bisect_right(self._ends, row - 1)
        chunk = self._entered[at]
        within = row - 1 - (self._ends[at - 1] if at else 0)
        going = [
            line for line, result in zip(lines_of(chunk), chunk.results, strict=True) if result == RowResult.PERMIT
        ]
        return going[within]
