"""Who changes the catalogue hides no disclosure from a search and changes no figure: each term, count and note of it is
held against the entries.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from books import Book, book_at, failed
from harness import both_engines
from histories import History
from qaqpa.ledger.catalogue import PREFIXES

pytestmark = both_engines
BLOCKS = 3


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


@pytest.fixture
async def written(book: Book) -> Book:
    """Some of everything, in the catalogue; what is open and unknown among it."""
    await book.ledger.record_policy([], "digest")
    history = History(book, random.Random(5))
    await history.go_on(420)
    await history.rows(3)
    await history.single()
    await history.stand()
    await book.grow()
    assert book.verified().in_tree > 2 * 256
    return book


def found_in(book: Book, prefix: str) -> tuple[str, int]:
    """A term of this kind, and the last block that it stands in."""
    query = "SELECT term, block FROM terms WHERE term >= ? AND term < ? ORDER BY block DESC, term LIMIT 1"
    term, block = book.intruder.rows(query, f"{prefix}:", f"{prefix};")[0]
    return str(term), int(block)


async def test_a_term_that_is_removed_moved_renamed_or_made_up_is_found(written: Book) -> None:
    for prefix in PREFIXES:
        _attack_terms(written, prefix)
        assert written.verified().size, "put back, it verifies"


def _attack_terms(written: Book, prefix: str) -> None:
    term, block = found_in(written, prefix)
    change, here = written.intruder.change, "WHERE term = ? AND block = ?"
    changes = (
        ("DELETE FROM terms " + here, (term, block)),
        ("UPDATE terms SET block = 9999 " + here, (term, block)),
        (f"UPDATE terms SET term = '{prefix}:x' " + here, (term, block)),
        ("INSERT INTO terms (term, block) VALUES (?, ?)", (f"{prefix}:made-up", block)),
        ("INSERT INTO terms (term, block) VALUES (?, 9999)", (term,)),
    )
    for statement, values in changes:
        before = written.intruder.rows("SELECT term, block FROM terms")
        change(statement, *values)
        assert "the index by which entries are found was changed" in str(failed(written)), statement
        after = written.intruder.rows("SELECT term, block FROM terms")
        for row in set(after) - set(before):
            change("DELETE FROM terms " + here, *row)
        for row in set(before) - set(after):
            change("INSERT INTO terms (term, block) VALUES (?, ?)", *row)


WHATS = (
    "intent",
    "result",
    "refusal",
    "reason",
    "field",
    "route",
    "kept",
    "reused",
    "receipt",
    "recall",
    "review",
    "control",
    "policy",
)
ONE = "SELECT day, caller, recipient, purpose, name FROM counts WHERE what = ? ORDER BY n DESC, 1, 2, 3, 4, 5 LIMIT 1"
THERE = " WHERE what = ? AND day = ? AND caller = ? AND recipient = ? AND purpose = ? AND name = ?"
COUNTS = {
    "one more": "UPDATE counts SET n = n + 1",
    "one less": "UPDATE counts SET n = n - 1",
    "removed": "DELETE FROM counts",
    "of another kind": "UPDATE counts SET what = 'x'",
    "on another day": "UPDATE counts SET day = '2020-01-01'",
    "by another caller": "UPDATE counts SET caller = 'x'",
    "to another recipient": "UPDATE counts SET recipient = 'x'",
    "for another purpose": "UPDATE counts SET purpose = 'x'",
    "by another name": "UPDATE counts SET name = 'x'",
}


async def test_a_figure_that_is_changed_is_found(written: Book) -> None:
    for what in WHATS:
        _attack_figures(written, what)
        assert written.verified().size, "put back, it verifies"


def _attack_figures(written: Book, what: str) -> None:
    row = written.intruder.rows(ONE, what)[0]
    for statement in COUNTS.values():
        with kept(written, "counts"):
            written.intruder.change(statement + THERE, what, *row)
            assert "the table counts was changed" in str(failed(written)), statement


@contextmanager
def kept(book: Book, *tables: str) -> Iterator[None]:
    """Put the rows of tables back as they were."""
    before = {table: book.intruder.rows(f"SELECT * FROM {table}") for table in tables}
    yield
    mark = "?" if book.intruder.is_sqlite else "%s"
    with book.intruder.connected() as connection:
        for table, rows in before.items():
            connection.execute(f"DELETE FROM {table}")
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join(mark for _ in row)})", row)


OTHERS = {
    "a figure of nothing": ("INSERT INTO counts VALUES ('intent', '2026-01-01', 'a', 'b', 'c', 'd', 0)", "counts"),
    "all figures gone": ("DELETE FROM counts", "counts"),
    "an open one forgotten": (
        "DELETE FROM concluding WHERE disclosure = (SELECT max(disclosure) FROM concluding)",
        "concluding",
    ),
    "all open ones forgotten": ("DELETE FROM concluding", "concluding"),
    "another disclosure": ("UPDATE concluding SET disclosure = disclosure || 'x'", "concluding"),
    "open since another day": ("UPDATE concluding SET day = '2020' || substr(day, 5)", "concluding"),
    "open by another caller": ("UPDATE concluding SET caller = 'x'", "concluding"),
    "open to another recipient": ("UPDATE concluding SET recipient = 'x'", "concluding"),
    "open for another purpose": ("UPDATE concluding SET purpose = 'x'", "concluding"),
    "by another operation": ("UPDATE concluding SET operation = operation || 'x'", "concluding"),
    "with other fields": ("UPDATE concluding SET fields = fields || ' '", "concluding"),
    "in another block": ("UPDATE concluding SET block = 77", "concluding"),
    "as another number": ("UPDATE concluding SET n = n + 1", "concluding"),
    "a made-up one": (
        "INSERT INTO concluding VALUES ('x', '2026-01-01', 'a', 'b', 'c', 'd', '[]', 0, 1)",
        "concluding",
    ),
    "nobody knows how far it came": ("DELETE FROM catalogued", "catalogued"),
    "it came too far": ("UPDATE catalogued SET size = size + 1", "catalogued"),
    "it came less far": ("UPDATE catalogued SET size = 100", "index by which entries are found"),
    "it came nowhere": ("UPDATE catalogued SET size = 0", "index by which entries are found"),
    "by another zone": ("UPDATE catalogued SET zone = -12", "index by which entries are found"),
    "by a zone that is none": ("UPDATE catalogued SET zone = 99", "catalogued"),
    "said twice": ("INSERT INTO catalogued VALUES (2, 0, 0, 1)", "catalogued"),
    "without its routes": ("UPDATE catalogued SET routes = 0", "counts"),
    "with routes and without": ("UPDATE catalogued SET routes = 2", "catalogued"),
    "a month was never in it": ("INSERT INTO uncatalogued VALUES (202611)", "uncatalogued"),
}


async def test_what_the_catalogue_goes_by_is_held_against_the_entries(written: Book) -> None:
    for name, (statement, said) in OTHERS.items():
        with kept(written, "counts", "concluding", "catalogued", "uncatalogued"):
            written.intruder.change(statement)
            assert said in str(failed(written)), name
    assert written.verified().size, "put back, it verifies"
