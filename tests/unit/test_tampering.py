"""A past that was changed is found, whatever was changed: said in words, with the first entry that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from books import SIZE, Book, book_at, failed, write_early, write_late
from harness import both_engines
from qaqpa.errors import LedgerRolledBack, VerificationFailed
from qaqpa.ledger.verify import verify
from qaqpa.model.canonical import canonical
from qaqpa.store import Connection
from qaqpa.tlog.merkle import EMPTY_ROOT, leaf_hash

pytestmark = both_engines


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


@pytest.fixture
async def early(book: Book) -> bytes:
    """The checkpoint over the first five entries, kept by somebody."""
    return await write_early(book)


@pytest.fixture
async def written(book: Book, early: bytes) -> Book:
    """A ledger of eight entries."""
    await write_late(book, early)
    return book


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """One bit of every byte in turn."""
    for at in range(len(data)):
        yield at, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


class Trial:
    """What would be found, if a statement were committed."""

    def __init__(self, book: Book) -> None:
        self._key = book.checkpoints.key
        self._connection: Connection = book.store.engine.connect()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def found(self, statement: str, *values: Any) -> int | None:
        self._connection.begin("write")
        try:
            self._connection.execute(statement, values)
            with pytest.raises(VerificationFailed) as raised:
                verify(self._connection, key=self._key)
        finally:
            self._connection.rollback()
        return raised.value.index


# --- every bit -------------------------------------------------------------------------------------


async def test_every_byte_of_every_body_counts(written: Book) -> None:
    with Trial(written) as trial:
        for index, body in written.intruder.rows("SELECT idx, body FROM entries ORDER BY idx"):
            for at, changed in flips(bytes(body)):
                assert trial.found("UPDATE entries SET body = ? WHERE idx = ?", changed, index) == index, at


async def test_every_byte_of_a_body_counts_even_with_the_leaf_hash_that_fits(written: Book) -> None:
    body = bytes(written.intruder.value("SELECT body FROM entries WHERE idx = 3"))
    with Trial(written) as trial:
        for at, changed in flips(body):
            change = "UPDATE entries SET body = ?, leaf = ? WHERE idx = 3"
            assert trial.found(change, changed, leaf_hash(changed)) == 3, at


async def test_every_byte_of_every_leaf_counts(written: Book) -> None:
    with Trial(written) as trial:
        for index, leaf in written.intruder.rows("SELECT idx, leaf FROM entries ORDER BY idx"):
            for _, changed in flips(bytes(leaf)):
                assert trial.found("UPDATE entries SET leaf = ? WHERE idx = ?", changed, index) == index


async def test_every_byte_of_a_tile_counts(written: Book) -> None:
    ((level, number, tile),) = written.intruder.rows("SELECT level, number, hashes FROM tiles")
    assert (level, number, len(tile)) == (0, 0, SIZE * 32)
    with Trial(written) as trial:
        for at, changed in flips(bytes(tile)):
            assert trial.found("UPDATE tiles SET hashes = ?", changed) == at // 32


async def test_every_tile_of_a_ledger_with_several_levels_counts(book: Book) -> None:
    await asyncio.gather(*(book.control(number) for number in range(600)))
    await book.grow()
    tiles = book.intruder.rows("SELECT level, number, hashes FROM tiles ORDER BY level, number")
    assert [(level, number, len(tile) // 32) for level, number, tile in tiles] == [
        (0, 0, 256), (0, 1, 256), (0, 2, 88), (1, 0, 2),
    ]  # fmt: skip
    change = "UPDATE tiles SET hashes = ? WHERE level = ? AND number = ?"
    with Trial(book) as trial:
        for level, number, tile in tiles:
            for at in (0, 31, 32, len(tile) - 1):
                changed = bytes(tile[:at]) + bytes([tile[at] ^ 1]) + bytes(tile[at + 1 :])
                first = (number * 256 + at // 32) * 256**level
                assert trial.found(change, changed, level, number) == first, (level, number, at)
            assert trial.found(change, bytes(tile[:-32]), level, number) is not None
            trial.found(change, bytes(tile) + b"x" * 32, level, number)


async def test_every_byte_of_the_root_counts(written: Book) -> None:
    root = bytes(written.intruder.value("SELECT root FROM integrated"))
    with Trial(written) as trial:
        for _, changed in flips(root):
            assert trial.found("UPDATE integrated SET root = ?", changed) is None


async def test_every_byte_of_a_checkpoint_counts(written: Book) -> None:
    notes = written.intruder.rows("SELECT size, note FROM checkpoints ORDER BY size")
    assert [size for size, _ in notes] == [5, SIZE]
    with Trial(written) as trial:
        for size, note in notes:
            for _, changed in flips(bytes(note)):
                trial.found("UPDATE checkpoints SET note = ? WHERE size = ?", changed, size)


# --- rows ------------------------------------------------------------------------------------------


def swapped(one: int, other: int) -> tuple[str, ...]:
    moves = ((-1, one), (one, other), (other, -1))
    return tuple(f"UPDATE entries SET idx = {to} WHERE idx = {of}" for to, of in moves)


def exchanged(*columns: str) -> tuple[str, ...]:
    """Entries 5 and 6 get each other's."""
    changes = ", ".join(f"{each} = (SELECT {each} FROM before WHERE idx = 11 - entries.idx)" for each in columns)
    return ("CREATE TEMP TABLE before AS SELECT * FROM entries", f"UPDATE entries SET {changes} WHERE idx IN (5, 6)")


def repeated(index: int, request: str = "request") -> tuple[str, ...]:
    """The entry once more, at the end."""
    rest = "month, kind, subject, caller, recipient, time, leaf, body"
    return (
        f"INSERT INTO entries (idx, {rest}, request) SELECT 8, {rest}, {request} FROM entries WHERE idx = {index}",
        "UPDATE tree SET size = 9",
    )


# What is done to the database, and the first index that must be found wrong (None: no one entry).
ROWS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "the first removed": (("DELETE FROM entries WHERE idx = 0",), 0),
    "one in the middle removed": (("DELETE FROM entries WHERE idx = 5",), 5),
    "the last removed": (("DELETE FROM entries WHERE idx = 7",), 7),
    "a row too many": (repeated(6)[:1], 8),
    "one removed and the gap closed": (
        (
            "DELETE FROM entries WHERE idx = 5", "UPDATE entries SET idx = 5 WHERE idx = 6",
            "UPDATE entries SET idx = 6 WHERE idx = 7", "UPDATE tree SET size = 7",
        ), 7,
    ),
    "a control repeated as another": (repeated(6, "request || 2"), 8),
    "an intent repeated as another": (repeated(1, "request || 2"), 8),
    "an outcome repeated as another": (repeated(3, "request || 2"), 8),
    "an open intent repeated": (repeated(7), 8),
    "a concluded intent repeated": (repeated(1), None),
    "an outcome repeated": (repeated(3), 8),
    "two rows swapped": (swapped(5, 6), 5),
    "two bodies swapped": (exchanged("body"), 5),
    "two leaves swapped": (exchanged("leaf"), 5),
    "two bodies swapped with their leaves": (exchanged("body", "leaf"), 5),
    "all but two bodies and leaves swapped": (exchanged("request", "time"), 5),
    "an outcome before its intent": (swapped(2, 4), 2),
    "the counter larger": (("UPDATE tree SET size = 9",), 8),
    "the counter smaller": (("UPDATE tree SET size = 7",), 7),
    "the counter negative": (("UPDATE tree SET size = -1",), -1),
    "the last time": (("UPDATE tree SET last_time = '2020-01-01T00:00:00.000Z'",), None),
    "the tree larger": (("UPDATE integrated SET size = 9",), 8),
    "the tree smaller": (("UPDATE integrated SET size = 7",), 7),
    "the tree forgotten": (("UPDATE integrated SET size = 0",), None),
    "a tile too many": (("INSERT INTO tiles SELECT 1, 0, hashes FROM tiles",), None),
    "entries emptied": (("DELETE FROM entries",), 0),
    "tree emptied": (("DELETE FROM tree",), 0),
    "integrated emptied": (("DELETE FROM integrated",), None),
    "tiles emptied": (("DELETE FROM tiles",), 0),
    "all emptied": (
        tuple(f"DELETE FROM {table}" for table in ("entries", "terms", "tree", "integrated", "tiles")), None,
    ),
    "the table cut to three": (("DELETE FROM entries WHERE idx >= 3",), 3),
    "a checkpoint of another size": (("UPDATE checkpoints SET size = 6 WHERE size = 5",), None),
    "checkpoints exchanged": (
        (
            "UPDATE checkpoints SET size = -1 WHERE size = 5", "UPDATE checkpoints SET size = 5 WHERE size = 8",
            "UPDATE checkpoints SET size = 8 WHERE size = -1",
        ), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "index"), ROWS.values(), ids=ROWS.keys())
async def test_rows_removed_repeated_or_moved_are_found(
    written: Book, statements: tuple[str, ...], index: int | None
) -> None:
    written.intruder.run(*statements)
    assert failed(written).index == index


@pytest.mark.parametrize("index", [0, 5, 6])
async def test_an_entry_repeated_is_found_when_the_tree_has_grown_over_it(written: Book, index: int) -> None:
    written.intruder.run(*repeated(index))
    await written.grow()
    found = failed(written)
    assert (found.index, str(found)) == (8, "entry 8 repeats an earlier one")


COLUMNS: list[Any] = [
    ("request = 'x'", 0), ("request = 'x'", 1), ("request = 'x'", 3), ("request = 'x'", 5), ("kind = 'review'", 5),
    ("kind = 'refusal'", 1), ("kind = 'nothing'", 0), ("subject = 'x'", 2),
    ("subject = 'x'", 3), ("subject = 'x'", 5), ("caller = 'x'", 1), ("caller = 'x'", 5),
    ("caller = NULL", 5), ("recipient = 'x'", 1), ("recipient = 'x'", 5),
    ("recipient = NULL", 5), ("time = '2020-01-01T00:00:00.000Z'", 1), ("time = '2020-01-01T00:00:00.000Z'", 3),
    ("time = '2020-01-01T00:00:00.000Z'", 5),
    ("caller = NULL", 1), ("recipient = NULL", 1), ("subject = NULL", 2), ("subject = NULL", 3),
    ("caller = 'x'", 3), ("recipient = 'x'", 3), ("caller = 'x'", 0), ("recipient = 'x'", 0), ("subject = 'x'", 0),
    ("kind = 'intent'", 3), ("kind = 'outcome'", 7), ("time = '2020-01-01T00:00:00.000Z'", 0),
]  # fmt: skip


@pytest.mark.parametrize(("change", "index"), COLUMNS)
async def test_a_column_that_was_edited_is_found(written: Book, change: str, index: int) -> None:
    written.intruder.change(f"UPDATE entries SET {change} WHERE idx = {index}")
    assert failed(written).index == index


@pytest.mark.parametrize("index", [1, 5])
async def test_an_entry_moved_to_another_month_is_found(written: Book, index: int) -> None:
    if not written.intruder.is_sqlite:
        written.intruder.run("CREATE TABLE entries_202001 PARTITION OF entries FOR VALUES IN (202001)")
    written.intruder.run(f"UPDATE entries SET month = 202001 WHERE idx = {index}")
    assert failed(written).index == index


BODIES = {
    "nothing": b"",
    "a number": b"5",
    "a list": b"[]",
    "brackets nested as deep as the reader goes": b'{"a":' + b"[" * 1020 + b"]" * 1020 + b"}",
    "a kind that is a list": canonical({"kind": []}),
    "an act without its kind": canonical({"kind": "control", "time": "2026-01-01T00:00:00.000Z"}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("index", [0, 3, 5])
async def test_a_body_that_is_no_entry_is_said_to_be_wrong(written: Book, body: bytes, index: int) -> None:
    written.intruder.change("UPDATE entries SET body = ?, leaf = ? WHERE idx = ?", body, leaf_hash(body), index)
    assert failed(written).index == index


# --- the whole past --------------------------------------------------------------------------------


async def regrow(book: Book) -> None:
    """Somebody makes terms, tiles and root that fit the entries as they now stand."""
    for index, body in book.intruder.rows("SELECT idx, body FROM entries"):
        book.intruder.change("UPDATE entries SET leaf = ? WHERE idx = ?", leaf_hash(bytes(body)), index)
    book.intruder.run("DELETE FROM terms")
    book.intruder.change("DELETE FROM tiles")
    book.intruder.change("UPDATE integrated SET size = 0, root = ?", EMPTY_ROOT)
    await book.grow()


async def rewrite(book: Book) -> None:
    """Another past, with everything that hangs on it made anew."""
    body = bytes(book.intruder.value("SELECT body FROM entries WHERE idx = 5"))
    assert body.count(b"reason 5") == 1
    book.intruder.change("UPDATE entries SET body = ? WHERE idx = 5", body.replace(b"reason 5", b"reason 9"))
    await regrow(book)


async def cut_tail(book: Book, size: int) -> None:
    book.intruder.run(f"DELETE FROM entries WHERE idx >= {size}", f"UPDATE tree SET size = {size}")
    book.intruder.run("DELETE FROM unsettled WHERE disclosure NOT IN (SELECT request FROM entries)")
    last = book.intruder.value("SELECT max(time) FROM entries WHERE kind IN ('intent', 'consent', 'withdrawal')")
    book.intruder.change("UPDATE tree SET last_time = ?", last)
    await regrow(book)


@pytest.mark.promise(4)
async def test_a_tail_that_was_cut_off_with_all_its_traces_is_found_by_a_checkpoint(
    written: Book, early: bytes
) -> None:
    late = written.checkpoints.outside.path.read_bytes()
    await cut_tail(written, 6)
    assert failed(written).index == 6
    written.intruder.change("DELETE FROM checkpoints WHERE size > 5")
    assert written.verified(kept=[early]).size == 6, "nothing inside tells"
    gone = failed(written, kept=[late])
    assert (gone.index, "rolled back" in str(gone)) == (6, True)
    with pytest.raises(LedgerRolledBack, match="signed over 8"):
        await written.checkpoints.start()


@pytest.mark.promise(4)
async def test_a_past_that_was_computed_anew_is_found_by_a_checkpoint_that_somebody_kept(
    written: Book, early: bytes
) -> None:
    late = written.checkpoints.outside.path.read_bytes()
    await rewrite(written)
    assert "first 8 entries" in str(failed(written))
    written.intruder.change("DELETE FROM checkpoints")
    assert written.verified(kept=[early]).size == SIZE, "nothing inside tells, and the early one is over what stands"
    assert "the past was changed" in str(failed(written, kept=[early, late]))
    with pytest.raises(LedgerRolledBack, match="forked copy, or its past was changed"):
        await written.checkpoints.start()


@pytest.mark.promise(4)
async def test_a_checkpoint_of_another_key_counts_for_nothing(written: Book, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with book_at("sqlite:///other.db", other) as forger:
        await forger.control()
        forged = await forger.sign()
    with pytest.raises(VerificationFailed):
        written.verified(kept=[forged])
    written.intruder.change("UPDATE checkpoints SET note = ? WHERE size = 5", forged)
    failed(written)


# --- the first of several --------------------------------------------------------------------------

# What is done to one entry, by its index.
HARMS: dict[str, str] = {
    "column": "UPDATE entries SET caller = 'x' WHERE idx = {}",
    "time": "UPDATE entries SET time = '2020-01-01T00:00:00.000Z' WHERE idx = {}",
    "gone": "DELETE FROM entries WHERE idx = {}",
    "leaf": "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE idx = 0) WHERE idx = {}",
}


@pytest.mark.promise(4)
@pytest.mark.parametrize("later", [*HARMS, "body"])
@pytest.mark.parametrize("earlier", [*HARMS, "body", "body and leaf"])
async def test_of_several_harms_the_first_is_said(written: Book, earlier: str, later: str) -> None:
    for harm, index in ((earlier, 2), (later, 6)):
        if harm in HARMS:
            written.intruder.change(HARMS[harm].format(index))
            continue
        body = bytes(written.intruder.value("SELECT body FROM entries WHERE idx = ?", index))
        changed = body.replace(b'"format":1', b'"format":2')
        written.intruder.change("UPDATE entries SET body = ? WHERE idx = ?", changed, index)
        if harm == "body and leaf":
            written.intruder.change("UPDATE entries SET leaf = ? WHERE idx = ?", leaf_hash(changed), index)
    assert failed(written).index == 2
