"""From a register to a sealed package: read, decide, enter in the ledger, minimise, write; a chunk of rows at a time.

Rows that were entered before, by a process that was killed, are not decided again: what was decided of them stands in
the books of their handover, and they go into the new package as they were entered.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import islice
from typing import BinaryIO, Protocol

from qaqpa.anonymity import Anonymiser, Figures, Settled
from qaqpa.consent.registry import consents_of
from qaqpa.errors import DecisionOutdated
from qaqpa.handover.batches import BatchBuilder
from qaqpa.handover.judge import IIN, NUMBER, Judge, Judged, Known
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.records import Order
from qaqpa.handover.standing import CONSENTS, consents_stand
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.handovers import Chunk, Entered, Finding, RowEntries, enter_chunk
from qaqpa.minimise import Context, Cut
from qaqpa.model.consent import Consent
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY, FieldPath
from qaqpa.model.words import Ground
from qaqpa.policy import Policy, Route
from qaqpa.tables import Kind, Layout, Register, Row, read

CHUNK = 500
"""Rows of one transaction."""
_TRIES = 5
"""To enter a chunk, when somebody becomes known to the ledger, or a consent is withdrawn, at that very moment."""


class HeldUp(Exception):
    """The package must not be made; `code` says why."""

    def __init__(self, code: str, **figures: Json) -> None:
        super().__init__(code)
        self.code = code
        self.figures = figures


class FactsOfRecord(Protocol):
    """The system of record of contracts."""

    async def ask(self, numbers: Iterable[str]) -> Mapping[str, ContractFacts] | None:
        """What is on record of these contracts; None where that cannot be known now. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """What the rows of one register are decided with."""

    policy: Policy
    route: Route
    order: Order
    headings: Mapping[str, str]
    """Further headings of this recipient's registers."""
    tries: Callable[[int, Cut], object] | None
    """Raises InvalidRequest for a row that cannot be written in the recipient's format."""
    ledger: Ledger
    is_suspended: Callable[[], Awaitable[bool]]
    facts: FactsOfRecord | None
    """The system of record of contracts, where there is one."""
    pseudonyms: bytes = field(repr=False)
    """The key of this handover's pseudonyms."""

    def register(self, file: BinaryIO) -> Register:
        """Its rows. Raises RegisterRefused."""
        order = self.order
        layout = Layout(today=self.policy.day(self.ledger.clock()), synonyms=dict(self.headings))
        return read(file, layout, kind=None if order.format is None else Kind(order.format), encoding=order.encoding)

    async def judge(self, settled: Settled | None = None) -> Judge:
        """Who decides them; `settled` as for `Judge`."""
        suspended = await self.is_suspended()
        return Judge(
            self.policy, self.route, self.order.asked,
            now=self.ledger.clock(), suspended=suspended, pseudonyms=self.pseudonyms,
            checks_facts=self.facts is not None, settled=settled, tries=self.tries,
        )  # fmt: skip

    async def known(self, rows: Sequence[Row]) -> Known:
        """What must be looked up to decide `rows`, all at once."""
        people = await self.ledger.subjects.people([str(row.values[IIN]) for row in rows])
        consents: Mapping[str, Sequence[Consent]] = {}
        if self.route.ground is Ground.CONSENT:
            subjects = [person.known.id for person in people.values() if person.known is not None]
            consents = await self.ledger.store.read(lambda connection: consents_of(connection, subjects))
        recorded = None
        if self.facts is not None and self.route.asks_of_contract:
            numbers = (row.values.get("facts.contract.number") or row.values.get(NUMBER) for row in rows)
            recorded = await self.facts.ask([str(number) for number in numbers if number is not None])
        return Known(people, recorded, consents)


@dataclass(slots=True)
class Screened:
    """A chunk of rows, and those of them that cannot be decided."""

    number: int
    rows: list[Row]
    findings: dict[int, Finding]
    read: int
    """Bytes of the register that have been read."""


async def screened(
    register: Register, judge: Judge, file: BinaryIO, sizes: Sequence[int] = ()
) -> AsyncIterator[Screened]:
    """The rows of a register by chunks, of `sizes` first and of CHUNK after them. Raises RegisterRefused."""

    def take(size: int) -> tuple[list[Row], dict[int, Finding]]:
        rows = list(islice(register, size))
        found = ((row.number, judge.screen(row)) for row in rows)
        return rows, {number: finding for number, finding in found if finding is not None}

    number = 0
    while True:
        rows, findings = await asyncio.to_thread(take, sizes[number] if number < len(sizes) else CHUNK)
        if not rows:
            return
        yield Screened(number, rows, findings, file.tell())
        number += 1


async def judged(deciding: Deciding, judge: Judge, chunk: Screened) -> Judged:
    """The chunk decided, as things stand now."""
    judge.at(deciding.ledger.clock(), suspended=await deciding.is_suspended())
    known = await deciding.known([row for row in chunk.rows if row.number not in chunk.findings])
    return await asyncio.to_thread(judge.judge, chunk.rows, chunk.findings, known)


@dataclass(slots=True)
class Told:
    """What is known of a register as a whole, once its rows were decided dry."""

    kind: str = ""
    unknown: tuple[str, ...] = ()
    """Headings of columns that are not read."""
    alike: Figures | None = None
    """Of rows that go de-identified."""


async def dry_run(
    deciding: Deciding, file: BinaryIO, told: Told | None = None
) -> AsyncIterator[tuple[Screened, Judged]]:
    """What would be decided of each row. Nothing is entered, written or sent. Raises RegisterRefused."""
    settled = await settle(deciding, file)
    told = told or Told()
    told.alike = None if settled is None else settled.figures
    async for chunk, decided in _decided(deciding, file, settled, told):
        yield chunk, decided


async def _decided(
    deciding: Deciding, file: BinaryIO, settled: Settled | None, told: Told | None = None
) -> AsyncIterator[tuple[Screened, Judged]]:
    file.seek(0)
    register = await asyncio.to_thread(deciding.register, file)
    if told is not None:
        told.kind, told.unknown = register.kind.value, register.unknown
    judge = await deciding.judge(settled)
    async for chunk in screened(register, judge, file):
        yield chunk, await judged(deciding, judge, chunk)


async def settle(deciding: Deciding, file: BinaryIO) -> Settled | None:
    """How alike the rows are that would go, and what becomes of each kind of them; None where the route names people.

    The register is decided once for this alone: rows that stay behind make nobody look alike.
    """
    route = deciding.route
    if route.k is None:
        return None
    day = deciding.policy.day(deciding.ledger.clock())
    anonymiser = Anonymiser(route.fields, route.quasi, route.k, Context(day, deciding.pseudonyms))
    async for chunk, decided in _decided(deciding, file, None):
        going = {number for number, _ in decided.going}
        for row in chunk.rows:
            if row.number in going:
                anonymiser.count(row.values)
    file.seek(0)
    return await asyncio.to_thread(anonymiser.settle)


def _lines(rows: Sequence[Row]) -> list[int]:
    """First and last line of a chunk; every one, where lines between them are empty."""
    first, last = rows[0].number, rows[-1].number
    return [first, last] if last - first + 1 == len(rows) else [row.number for row in rows]


def lines_of(entered: Entered) -> Sequence[int]:
    """The line of each row of a chunk that is in the ledger."""
    lines = list(entered.figures["lines"])
    return lines if len(lines) == len(entered.results) else range(lines[0], lines[-1] + 1)


_ZERO = Decimal(0)
_RATES = frozenset({"contract.rate", "contract.effective_rate"})


def summed(route: Route) -> list[FieldPath]:
    """Fields of which a sum says something: money that passes as it is."""
    return [
        path
        for path, rule in route.fields.items()
        if rule.transform is None and VOCABULARY[path].type is Decimal and path not in _RATES
    ]


@dataclass(slots=True)
class Packing:
    """Decides a register for real, and writes the package."""

    deciding: Deciding
    handover: HandoverId
    builder: PackageBuilder | BatchBuilder
    made: RowEntries
    still_holds: StillHolds
    basis: str
    """Digest of what rows are cut by: rows of another one cannot go into the same package."""
    lines: array[int] = field(default_factory=lambda: array("L"))
    """Of the rows that go, in the register that was handed in."""
    sums: dict[str, Decimal] = field(default_factory=dict)
    """Of each sum of money that is written as it is."""
    _judging: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A chunk that must be decided anew meets the next one at the judge."""
    _classes: Counter[tuple[Json, ...]] = field(default_factory=Counter)
    """Of de-identified rows that go, by their quasi-identifiers."""

    async def run(self, file: BinaryIO, entered: Sequence[Entered], settled: Settled | None) -> None:
        """Every row of the register. Raises RegisterRefused, DecisionOutdated where the handover was cancelled or the
        configuration changed meanwhile, StoreError.
        """
        register = await asyncio.to_thread(self.deciding.register, file)
        judge = await self.deciding.judge(settled)
        writing: asyncio.Task[None] | None = None
        try:
            async for chunk in screened(register, judge, file, [len(each.results) for each in entered]):
                if chunk.number < len(entered):
                    going = await asyncio.to_thread(judge.going, chunk.rows, entered[chunk.number].results)
                    await asyncio.to_thread(self._write, going)
                    continue
                ready = await self._judged(judge, chunk)
                if writing is not None:
                    await writing
                # While a chunk is entered and written, the next one is read and decided.
                writing = asyncio.create_task(self._enter(judge, chunk, ready))
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                with suppress(asyncio.CancelledError):
                    await writing

    async def _judged(self, judge: Judge, chunk: Screened) -> Judged:
        async with self._judging:
            return await judged(self.deciding, judge, chunk)

    async def _enter(self, judge: Judge, chunk: Screened, ready: Judged) -> None:
        for tried in range(_TRIES):
            try:
                # No sums: those of a chunk in which one row goes would be what this person owes.
                figures: dict[str, Json] = {"basis": self.basis, "read": chunk.read, "lines": _lines(chunk.rows)}
                consents = sorted(
                    {str(row.decision.consent) for row in ready.decided if row.goes and row.decision.consent}
                )
                if consents:
                    figures[CONSENTS] = consents
                entry = Chunk(self.handover, chunk.number, ready.decided, ready.findings, bytes(ready.results), figures)
                await enter_chunk(
                    self.deciding.ledger, self.made, entry, state=HandoverState.DECIDING,
                    still_holds=self._holds(consents),
                )  # fmt: skip
                break
            except DecisionOutdated:
                if tried == _TRIES - 1:
                    raise
                ready = await self._judged(judge, chunk)
        await asyncio.to_thread(self._write, ready.going)

    def _holds(self, consents: Sequence[str]) -> StillHolds:
        clock = self.deciding.ledger.clock
        return lambda connection: self.still_holds(connection) and consents_stand(connection, consents, clock())

    def _write(self, rows: Sequence[tuple[int, Cut]]) -> None:
        self.builder.add(rows)
        self.lines.extend(number for number, _ in rows)
        for path in summed(self.deciding.route):
            amounts = [cut.values[path] for _, cut in rows if path in cut.values]
            if amounts:
                self.sums[path] = self.sums.get(path, _ZERO) + sum(map(Decimal, amounts), _ZERO)
        if self.deciding.route.k is not None:
            quasi = self.deciding.route.quasi
            self._classes.update([tuple([cut.values.get(path) for path in quasi]) for _, cut in rows])

    def alike(self, settled: Settled | None) -> dict[str, Json] | None:
        """How alike the rows are that were written, for the report. Raises HeldUp where fewer share their
        quasi-identifiers than the route demands: what is on record of somebody changed since they were counted.
        """
        k = self.deciding.route.k
        if settled is None or k is None:
            return None
        least = min(self._classes.values(), default=0)
        if least < k:
            raise HeldUp("too_few_alike")
        return {**asdict(settled.figures), "k_after": least, "classes_after": len(self._classes)}
