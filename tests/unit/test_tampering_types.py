"""What is stored under another type than it had, or in a table of another shape, is found: no search would find it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, LargeBinary, Table, Text

from books import Book, Intruder, book_at, failed, write_early, write_late
from harness import PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.store.schema import entries, metadata

COLUMNS = [column for table in metadata.sorted_tables for column in table.columns]
OF_ENTRIES = [column for column in entries.columns if column.name not in {"idx", "leaf"}]


@pytest.fixture
async def written(tmp_path: Path, store_url: str) -> Iterator[Book]:
    """A ledger of eight entries."""
    with book_at(store_url, tmp_path) as book:
        await write_late(book, await write_early(book))
        yield book


def named(column: Column) -> str:
    return f"{column.table.name}.{column.name}"


def recast(column: Column) -> str:
    """SQL: its values under another type, which look the same when they are read as bytes."""
    other = "TEXT" if isinstance(column.type, LargeBinary) else "BLOB"
    return f"UPDATE {column.table.name} SET {column.name} = CAST({column.name} AS {other})"


def loosened(intruder: Intruder, table: Table) -> None:
    """The table made anew without types."""
    intruder.run(
        f"ALTER TABLE {table.name} RENAME TO before",
        f"CREATE TABLE {table.name} AS SELECT * FROM before",
        "DROP TABLE before",
    )


def given_a_row(book: Book, table: Table) -> None:
    if not book.intruder.value(f"SELECT count(*) FROM {table.name}"):
        values = [
            b"x" if isinstance(column.type, LargeBinary) else "x" if isinstance(column.type, Text) else 5
            for column in table.columns
        ]
        book.intruder.change(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(values))})", *values)


@pytest.mark.parametrize("column", COLUMNS, ids=named)
async def test_no_column_takes_a_value_of_another_type(written: Book, column: Column) -> None:
    given_a_row(written, column.table)
    statement = recast(column) if named(column) != "entries.idx" else "UPDATE entries SET idx = CAST('x' AS BLOB)"
    with pytest.raises(sqlite3.IntegrityError):
        written.intruder.run(statement)


@pytest.mark.promise(4)
@pytest.mark.parametrize("column", COLUMNS, ids=named)
async def test_a_value_of_another_type_in_a_table_that_takes_any_is_found(written: Book, column: Column) -> None:
    given_a_row(written, column.table)
    loosened(written.intruder, column.table)
    if column.table is not entries:  # a filled row alone fails too, in other words
        written.intruder.change(recast(column))
        assert f"the table {column.table.name} was changed" in str(failed(written))
        assert "not of its column's type" in str(failed(written))
        return
    assert written.verified().size == 8
    written.intruder.change(recast(column) + " WHERE idx = 2")
    assert failed(written).index in {2, None}


@pytest.mark.parametrize("column", OF_ENTRIES, ids=named)
async def test_it_is_said_which_entry_has_a_value_of_another_type(written: Book, column: Column) -> None:
    loosened(written.intruder, entries)
    written.intruder.change(recast(column) + " WHERE idx = 2")
    assert failed(written).index == 2


async def test_a_number_that_looks_like_the_text_is_found(written: Book) -> None:
    loosened(written.intruder, entries)
    written.intruder.run("CREATE TABLE other AS SELECT * FROM entries", "DROP TABLE entries")
    made = "idx INTEGER, month, request, kind, subject, caller, recipient, time, leaf, body"
    written.intruder.run(f"CREATE TABLE entries ({made})", "INSERT INTO entries SELECT * FROM other")
    assert written.verified().size == 8
    written.intruder.change("UPDATE entries SET month = CAST(month AS TEXT) WHERE idx = 5")
    assert failed(written).index == 5


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
@both_engines
async def test_a_table_that_is_gone_is_said(written: Book, table: Table) -> None:
    written.intruder.run(f"DROP TABLE {table.name}")
    assert f"the table {table.name} was changed" in str(failed(written))


@both_engines
async def test_a_column_that_is_gone_is_said(written: Book) -> None:
    written.intruder.run("ALTER TABLE unsettled DROP COLUMN since")
    assert "the table unsettled was changed: since is not in it" in str(failed(written))


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("table", "column", "to"),
    [
        ("terms", "term", "bytea USING term::bytea"),
        ("unsettled", "subject", "varchar"),
        ("meta", "value", "char(200)"),
        ("entries", "recipient", "bytea USING recipient::bytea"),
        ("integrated", "root", "text"),
    ],
)
async def test_a_column_of_another_type_is_found(written: Book, table: str, column: str, to: str) -> None:
    written.intruder.run(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {to}")
    assert f"the table {table} was changed: its column {column} is of the type" in str(failed(written))


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TRIGGER planted AFTER INSERT ON suspensions BEGIN DELETE FROM suspensions; END",
        "CREATE VIEW planted AS SELECT * FROM entries",
    ],
)
async def test_what_acts_by_itself_in_the_database_is_found(written: Book, made: str) -> None:
    written.intruder.run(made)
    assert "planted stands in the database" in str(failed(written))


CRASHED = {
    "a block that is no number": ("terms", "INSERT INTO terms VALUES ('kind:x', 'abc')"),
    "a checkpoint that is text": ("checkpoints", "UPDATE checkpoints SET note = 'x'"),
    "a disclosure that is bytes": ("unsettled", "INSERT INTO unsettled VALUES (x'ff', 's', 'r', 0, 'open', 't')"),
    "a subject that is bytes": ("subject_keys", "UPDATE subject_keys SET subject = x'ff'"),
    "a root that is text": ("integrated", "UPDATE integrated SET root = 'x'"),
}


@pytest.mark.parametrize(("table", "statement"), CRASHED.values(), ids=CRASHED.keys())
async def test_what_cannot_be_read_does_not_verify(house: House, store_url: str, table: str, statement: str) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
    intruder = Intruder(store_url, house.home)
    loosened(intruder, metadata.tables[table])
    intruder.change(statement)
    ran = await house.cli("ledger", "verify")
    assert (ran.code, f"the table {table} was changed" in ran.err) == (6, True), ran.err
    if table == "integrated":
        ran = await house.cli("ledger", "show", "--caller", "compliance")
        assert (ran.code, "the table integrated was changed" in ran.err) == (6, True), ran.err


async def test_text_that_is_no_text_is_found(written: Book) -> None:
    written.intruder.change("UPDATE entries SET caller = CAST(x'ff' AS TEXT) WHERE idx = 2")
    assert "the database holds what Qaqpa did not write" in str(failed(written))


@pytest.mark.promise(4)
async def test_disclosures_are_not_hidden_by_the_type_of_a_column(house: House, store_url: str, tmp_path: Path) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
        await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
    intruder = Intruder(store_url, house.home)
    loosened(intruder, entries)
    intruder.change("UPDATE entries SET recipient = CAST(recipient AS BLOB) WHERE kind = 'intent'")
    ran = await house.cli("ledger", "verify")
    assert (ran.code, "entry 2: its columns do not say what its body says" in ran.err) == (6, True)
    ran = await house.cli("backup", str(tmp_path / "b.db"))
    assert (ran.code, (tmp_path / "b.db").exists()) == (6, False)
    intruder.change("UPDATE entries SET body = CAST(body AS TEXT) WHERE idx = 2")
    for arguments in (("show", "2"), ("show", "--raw", "2"), ("show",), ("export", str(tmp_path / "out"))):
        ran = await house.cli("ledger", *arguments, "--caller", "compliance")
        assert (ran.code, "entry 2" in ran.err) == (6, True), ran.err
