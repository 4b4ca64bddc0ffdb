"""A register on its way into a package, without the ledger: rows read, screened, decided, minimised, written.

It is one thread's work and asks no database, so that a process of its own can do it (see `hands`). Whoever calls looks
up what is known of the rows, enters them, and only then has them written.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from qaqpa.handover.judge import Judge, Known, asked_of
from qaqpa.handover.manifest import Member
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.spool import open_spool
from qaqpa.minimise import Cut
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import DecidedRow, Finding
from qaqpa.model.vocabulary import VOCABULARY, FieldPath
from qaqpa.policy import Route
from qaqpa.tables import Register, Row

_PIECE = 2**20
_ZERO = Decimal(0)
_RATES = frozenset({"contract.rate", "contract.effective_rate"})


class Builder(Protocol):
    """What rows are written with: a package, or a bureau's document."""

    rows: int
    """Written so far."""

    def add(self, rows: Iterable[tuple[int, Cut]], /) -> None:
        """Write rows, each with its line in the register."""

    def finish(self, *said: bytes) -> dict[str, Json]:
        """Make it whole and durable; what there is to say of it."""


class Taken(NamedTuple):
    """A chunk of rows that was read: what must be looked up to decide them."""

    number: int
    """Of the chunk, from 0."""
    lines: list[int]
    """First and last line of its rows; every one, where lines between them are empty."""
    read: int
    """Bytes of the register that have been read."""
    iins: list[str]
    """Of rows that can be decided."""
    contracts: list[str]
    """Their numbers."""

    def __repr__(self) -> str:
        return f"Taken({self.number})"


class Decided(NamedTuple):
    """A chunk of rows, decided. Nothing of it is entered or written yet."""

    rows: list[DecidedRow]
    findings: list[Finding]
    results: bytes
    """A `RowResult` for each row, in order."""


class Totals(NamedTuple):
    """What was written."""

    rows: int
    sums: dict[str, str]
    """Of each sum of money that is written as it is."""
    classes: int
    """Of de-identified rows: how many kinds there are by their quasi-identifiers."""
    least: int
    """Rows of the smallest of these kinds."""


class Enclosed(NamedTuple):
    """A document that goes with the register: what the manifest says of it, and where it waits."""

    member: Member
    path: Path
    key: bytes

    def __repr__(self) -> str:
        return f"Enclosed({self.member.file})"


@dataclass(slots=True)
class _Rows:
    rows: list[Row]
    findings: dict[int, Finding]
    going: list[tuple[int, Cut]] = field(default_factory=list)


def _lines_of(rows: Sequence[Row]) -> list[int]:
    """First and last line of a chunk; every one, where lines between them are empty."""
    first, last = rows[0].number, rows[-1].number
    return [first, last] if last - first + 1 == len(rows) else [row.number for row in rows]


def summed(route: Route) -> list[FieldPath]:
    """Fields of which a sum says something: money that passes as it is."""
    return [
        path
        for path, rule in route.fields.items()
        if rule.transform is None and VOCABULARY[path].type is Decimal and path not in _RATES
    ]


class Assembler:
    """Of one handover. Chunks are taken in order, and may wait for each other: each is kept until it is written."""

    def __init__(self, route: Route, file: BinaryIO, register: Register, judge: Judge, builder: Builder) -> None:
        self._route, self._file, self._register, self._judge, self._builder = route, file, register, judge, builder
        self._number = 0
        self._held: dict[int, _Rows] = {}
        self._lines = array("I")
        """Of the rows that go, in the register that was handed in."""
        self._summed = summed(route)
        self._sums: dict[str, Decimal] = {}
        self._classes: Counter[tuple[Json, ...]] = Counter()

    def take(self, size: int) -> Taken | None:
        """Read the next chunk; None at the end of the register. Raises RegisterRefused."""
        rows = list(islice(self._register, size))
        if not rows:
            return None
        findings = self._judge.screen_all(rows)
        self._held[self._number] = _Rows(rows, findings)
        self._number += 1
        return Taken(self._number - 1, _lines_of(rows), self._file.tell(), *asked_of(rows, findings))

    def decide(self, chunk: int, now: datetime, suspended: bool, known: Known) -> Decided:
        """Decide a chunk as things stand `now`; again, where they changed before it was entered."""
        held = self._held[chunk]
        self._judge.at(now, suspended=suspended)
        judged = self._judge.judge(held.rows, held.findings, known)
        held.going = judged.going
        return Decided(judged.decided, judged.findings, bytes(judged.results))

    def write(self, chunk: int) -> None:
        """Write what goes of a chunk, whose rows are durable in the ledger."""
        self._write(self._held.pop(chunk).going)

    def resume(self, chunk: int, results: bytes) -> None:
        """The same of a chunk that was decided and entered before, by its `results`."""
        self._write(self._judge.going(self._held.pop(chunk).rows, results))

    def _write(self, rows: Sequence[tuple[int, Cut]]) -> None:
        self._builder.add(rows)
        self._lines.extend(number for number, _ in rows)
        for path in self._summed:
            amounts = [cut.values[path] for _, cut in rows if path in cut.values]
            if amounts:
                self._sums[path] = self._sums.get(path, _ZERO) + sum(map(Decimal, amounts), _ZERO)
        if self._route.k is not None:
            quasi = self._route.quasi
            self._classes.update([tuple([cut.values.get(path) for path in quasi]) for _, cut in rows])

    def lines(self) -> array[int]:
        """Of the rows that were written, in the register that was handed in."""
        return self._lines

    def totals(self) -> Totals:
        """What was written so far."""
        sums = {path: str(total) for path, total in sorted(self._sums.items())}
        return Totals(self._builder.rows, sums, len(self._classes), min(self._classes.values(), default=0))

    def enclose(self, documents: Sequence[Enclosed]) -> tuple[Member, list[Member]]:
        """No row follows: the register as a member of the package, and what stands beside it."""
        if not isinstance(self._builder, PackageBuilder):
            raise TypeError("a bureau's document has no manifest")
        return self._builder.enclose(self._lines, [(each.member, _pieces(each)) for each in documents])

    def finish(self, *manifest: bytes) -> dict[str, Json]:
        """What was written is whole and durable; what there is to say of it. A package takes its manifest and the
        signature, a bureau's document nothing.
        """
        return self._builder.finish(*manifest)


def _pieces(document: Enclosed) -> Iterator[bytes]:
    with closing(open_spool(document.path, document.key)) as file:
        while piece := file.read(_PIECE):
            yield piece
