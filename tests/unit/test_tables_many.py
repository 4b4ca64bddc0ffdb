"""Registers of very many rows: duplicates and memory."""

from __future__ import annotations

import io
import tracemalloc
from datetime import date

from qaqpa.tables import Duplicates, Layout, Row, read
from qaqpa.testing.people import people

TODAY = date(2026, 11, 23)
PEOPLE = people(6, today=TODAY)
LAYOUT = Layout(today=TODAY)


def test_duplicates_name_the_earlier_row() -> None:
    seen = Duplicates(language="en")
    rows = [Row(2, {"identity.iin": "a"}, ()), Row(3, {"identity.iin": "b"}, ()), Row(4, {}, ()), Row(5, {}, ())]
    assert [seen.problem(row) for row in rows] == [None] * 4
    again = seen.problem(Row(9, {"identity.iin": "a"}, ()))
    assert again is not None
    assert (again.code, again.message) == ("duplicate_subject", "This person stands already in row 2")
    by_contract = Duplicates(("identity.iin", "contract.number"))
    first, second = ({"identity.iin": "a", "contract.number": number} for number in "12")
    assert [by_contract.seen(Row(at, row, ())) for at, row in ((2, first), (3, second), (4, first))] == [None, None, 2]


def test_duplicates_are_all_found_in_little_memory() -> None:
    seen = Duplicates()
    tracemalloc.start()
    try:
        assert not any(seen.seen(Row(at, {"identity.iin": str(at)}, ())) for at in range(1, 60_001))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(seen.seen(Row(99, {"identity.iin": str(at)}, ())) == at for at in range(1, 60_001, 7))
    assert len(seen) == 60_000
    assert held < 60_000 * 30
    assert peak < 60_000 * 45


class Endless(io.RawIOBase):
    """A register of `count` rows that is nowhere held."""

    def __init__(self, count: int) -> None:
        self.head = "ИИН;Фамилия;Дата договора;Сумма займа\n".encode()
        self.line = f"{PEOPLE[0].iin};Сәрсенбаев;2025-01-31;150000.00\n".encode()
        self.size = len(self.head) + count * len(self.line)
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self.size - self.at)
        head = self.head[self.at : self.at + count]
        begin = max(self.at - len(self.head), 0) % len(self.line)
        lines = (self.line * ((count + begin) // len(self.line) + 2))[begin:]
        made = (head + lines)[:count]
        buffer[: len(made)] = made
        self.at += len(made)
        return len(made)


def test_a_hundred_thousand_rows_are_read_in_bounded_memory() -> None:
    file = io.BufferedReader(Endless(100_000))
    tracemalloc.start()
    try:
        count = sum(not row.problems for row in read(file, LAYOUT))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 12 * 2**20
    assert not file.closed
