"""From a register to a sealed package: read, decide, enter in the ledger, minimise, write; a chunk of rows at a time.

Rows that were entered before, by a process that was killed, are not decided again: what was decided of them stands in
the books of their handover, and they go into the new package as they were entered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, islice
from typing import Any, BinaryIO, NamedTuple, Protocol

from qaqpa.anonymity import Anonymiser, Figures, Settled
from qaqpa.consent.registry import consents_of
from qaqpa.errors import DecisionOutdated
from qaqpa.handover.assembler import Decided, Taken
from qaqpa.handover.hands import Hands, in_thread
from qaqpa.handover.judge import Judge, Judged, Known, asked_of
from qaqpa.handover.orders import Order
from qaqpa.handover.standing import CONSENTS, consents_stand
from qaqpa.handover.worker import register_of
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.handovers import Chunk, Entered, ReadyChunk, RowEntries, enter_chunk, ready_chunk
from qaqpa.ledger.subjects import Person
from qaqpa.minimise import Context, Cut
from qaqpa.model.consent import Consent
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import Finding, HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.model.request import ContractFacts
from qaqpa.model.words import Ground
from qaqpa.policy import Policy, Route
from qaqpa.tables import Register, Row

CHUNK = 500
"""Rows of one transaction."""
_TRIES = 5
"""To enter a chunk, when somebody becomes known to the ledger, or a consent is withdrawn, at that very moment."""
_AHEAD = 2
"""Chunks that are read and decided while one is entered."""


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

    @property
    def checks_facts(self) -> bool:
        """Whether what rows state is held against the system of record."""
        return self.facts is not None

    def register(self, file: BinaryIO) -> Register:
        """Its rows. Raises RegisterRefused."""
        return register_of(self.order, self.headings, self.policy.day(self.ledger.clock()), file)

    async def judge(self, settled: Settled | None = None, now: datetime | None = None) -> Judge:
        """Who decides them, as of `now`; `settled` as for `Judge`."""
        suspended = await self.is_suspended()
        return Judge(
            self.policy, self.route, self.order.asked,
            now=now or self.ledger.clock(), suspended=suspended, pseudonyms=self.pseudonyms,
            checks_facts=self.checks_facts, settled=settled, tries=self.tries,
        )  # fmt: skip

    async def known(self, people: Mapping[str, Person], contracts: Sequence[str]) -> Known:
        """What must be looked up to decide rows about these people and contracts, all at once."""
        consents: dict[str, Sequence[Consent]] = {}
        if self.route.ground is Ground.CONSENT:
            known = ((iin, person.known) for iin, person in people.items() if person.known is not None)
            subjects: dict[str, str] = {subject.id: iin for iin, subject in known}
            found = await self.ledger.store.read(lambda connection: consents_of(connection, subjects))
            consents = {subjects[subject]: given for subject, given in found.items()}
        recorded = None
        if self.facts is not None and self.route.asks_of_contract:
            recorded = await self.facts.ask(contracts)
        return Known(recorded, consents)


@dataclass(slots=True)
class Screened:
    """A chunk of rows, and those of them that cannot be decided."""

    number: int
    rows: list[Row]
    findings: dict[int, Finding]
    read: int
    """Bytes of the register that have been read."""


async def screened(register: Register, judge: Judge, file: BinaryIO) -> AsyncIterator[Screened]:
    """The rows of a register by chunks. Raises RegisterRefused."""

    def take() -> tuple[list[Row], dict[int, Finding]]:
        rows = list(islice(register, CHUNK))
        return rows, judge.screen_all(rows)

    for number in count():
        rows, findings = await in_thread(take)
        if not rows:
            return
        yield Screened(number, rows, findings, file.tell())


async def judged(deciding: Deciding, judge: Judge, chunk: Screened) -> Judged:
    """The chunk decided, as things stand now."""
    judge.at(deciding.ledger.clock(), suspended=await deciding.is_suspended())
    iins, contracts = asked_of(chunk.rows, chunk.findings)
    known = await deciding.known(await deciding.ledger.subjects.people(iins), contracts)
    return await in_thread(judge.judge, chunk.rows, chunk.findings, known)


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
    register = await in_thread(deciding.register, file)
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
    return await in_thread(anonymiser.settle)


def lines_of(entered: Entered) -> Sequence[int]:
    """The line of each row of a chunk that is in the ledger."""
    lines = list(entered.figures["lines"])
    return lines if len(lines) == len(entered.results) else range(lines[0], lines[-1] + 1)


class _Chunk(NamedTuple):
    """Read and, but where it stands in the ledger already, decided."""

    taken: Taken
    people: Mapping[str, Person]
    decided: Decided | None

    def __repr__(self) -> str:
        return f"_Chunk({self.taken.number})"


@dataclass(slots=True)
class Packing:
    """Decides a register for real, and has the package written."""

    deciding: Deciding
    handover: HandoverId
    hands: Hands
    made: RowEntries
    still_holds: StillHolds
    basis: str
    """Digest of what rows are cut by: rows of another one cannot go into the same package."""
    _written: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Of chunks that are being written."""

    async def run(self, entered: Sequence[Entered]) -> None:
        """Every row of the register. Raises RegisterRefused, DecisionOutdated where the handover was cancelled or the
        configuration changed meanwhile, StoreError.
        """
        ahead: deque[asyncio.Task[_Chunk | None]] = deque()
        entering: asyncio.Task[None] | None = None
        try:
            for number in count():
                while len(ahead) <= _AHEAD:
                    ahead.append(asyncio.create_task(self._next(number + len(ahead), entered)))
                chunk = await ahead.popleft()
                if chunk is None:
                    break
                if number < len(entered):
                    await self._settle_writing()
                    self._written.append(self.hands.call("resume", number, entered[number].results))
                    continue
                ready = await in_thread(self._made, chunk)
                if entering is not None:
                    await entering
                # While the database takes a chunk, the next ones are read and decided.
                entering = asyncio.create_task(self._enter(chunk, ready))
            if entering is not None:
                await entering
            await self._settle_writing(left=0)
        finally:
            # Not waited for: who assembles may be stuck, and its files are closed only once it has ended.
            unfinished: list[asyncio.Future[Any]] = [*ahead, *self._written, *([] if entering is None else [entering])]
            for each in unfinished:
                each.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def _next(self, number: int, entered: Sequence[Entered]) -> _Chunk | None:
        # Chunks come in the order in which they are asked for: nothing may wait before this.
        resumed = number < len(entered)
        size = len(entered[number].results) if resumed else CHUNK
        taken: Taken | None = await self.hands.call("take", size)
        if taken is None:
            return None
        return _Chunk(taken, {}, None) if resumed else await self._decided(taken)

    async def _decided(self, taken: Taken) -> _Chunk:
        deciding = self.deciding
        people = await deciding.ledger.subjects.people(taken.iins)
        known = await deciding.known(people, taken.contracts)
        suspended, now = await deciding.is_suspended(), deciding.ledger.clock()
        return _Chunk(taken, people, await self.hands.call("decide", taken.number, now, suspended, known))

    def _made(self, chunk: _Chunk) -> ReadyChunk:
        taken, people, decided = chunk
        if decided is None:
            raise TypeError("what was entered before is not entered again")
        # No sums: those of a chunk in which one row goes would be what this person owes.
        figures: dict[str, Json] = {"basis": self.basis, "read": taken.read, "lines": taken.lines}
        consents = sorted({str(row.decision.consent) for row in decided.rows if row.goes and row.decision.consent})
        if consents:
            figures[CONSENTS] = consents
        entry = Chunk(self.handover, taken.number, decided.rows, decided.findings, decided.results, figures)
        return ready_chunk(self.deciding.ledger, self.made, entry, people)

    async def _enter(self, chunk: _Chunk, ready: ReadyChunk) -> None:
        """Enter a chunk, decided anew where things changed meanwhile; then have it written."""
        for tried in range(_TRIES):
            try:
                await enter_chunk(
                    self.deciding.ledger, ready, state=HandoverState.DECIDING,
                    still_holds=self._holds(ready.chunk.figures.get(CONSENTS, ())),
                )  # fmt: skip
                break
            except DecisionOutdated:
                if tried == _TRIES - 1:
                    raise
                ready = await in_thread(self._made, await self._decided(chunk.taken))
        await self._settle_writing()
        self._written.append(self.hands.call("write", chunk.taken.number))

    async def _settle_writing(self, left: int = _AHEAD) -> None:
        """Wait until at most `left` chunks are being written. Raises what went wrong with one."""
        while len(self._written) > left:
            await self._written.popleft()

    def _holds(self, consents: Sequence[str]) -> StillHolds:
        clock = self.deciding.ledger.clock
        return lambda connection: self.still_holds(connection) and consents_stand(connection, consents, clock())
