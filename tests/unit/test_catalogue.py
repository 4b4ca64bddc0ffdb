"""The catalogue says what the entries say, by definition; in whichever steps it is made, on either engine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from books import ZONE, Book, book_at
from harness import both_engines
from histories import History, concluding, counts, terms
from qaqpa.errors import StoreUnavailable
from qaqpa.ledger import catalogue as catalogues
from qaqpa.ledger.catalogue import PREFIXES, Catalogued, catalogue, catalogue_more, catalogued
from qaqpa.ledger.integrate import BLOCK, integrate
from qaqpa.model.words import OutcomeResult

pytestmark = both_engines
KEPT = "disclosure, day, caller, recipient, purpose, operation, fields, block"


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


def held(book: Book, zone: int = ZONE) -> None:
    """The tables are just what the entries make by definition."""
    contents = book.contents()
    counted = book.intruder.rows("SELECT what, day, caller, recipient, purpose, name, n FROM counts")
    assert {tuple(row[:6]): row[6] for row in counted} == counts(contents, zone)
    found = {(term, block) for term, block in book.intruder.rows("SELECT term, block FROM terms")}
    assert {row for row in found if row[0].partition(":")[0] in PREFIXES} == terms(contents, zone)
    kept = book.intruder.rows(f"SELECT {KEPT}, n FROM concluding")
    assert {tuple(row[:8]): row[8] for row in kept} == concluding(contents, zone)


@pytest.mark.parametrize("seed", range(4))
async def test_it_says_what_the_entries_say_in_whichever_steps_it_is_made(
    book: Book, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    await book.ledger.record_policy([], "digest")
    history = History(book, rng)
    for _ in range(6):
        await history.go_on(rng.randint(1, 120))
        monkeypatch.setattr(catalogues, "BATCH", rng.choice([1, 7, 256, 300, 4_096]))
        while await book.store.write(integrate):
            pass
        await catalogue_more(book.store, ZONE, at_most=10_000)
        held(book)
        await history.stand()
        assert book.verified().size == len(book.contents())


async def test_what_came_of_a_notice_of_recall_may_stand_in_a_later_block(book: Book) -> None:
    """It comes minutes after the notice, whatever was entered meanwhile."""
    await book.ledger.record_policy([], "digest")
    history = History(book, random.Random(0))
    disclosure = await history.single()
    await history.conclude(disclosure, OutcomeResult.DELIVERED)
    history.done = [disclosure]
    while len(book.contents()) < BLOCK - 2:
        await history.look()
    await history.recall()
    assert [(each["kind"], "recall" in each) for each in book.contents()[BLOCK:]] == [("outcome", True)]
    await history.stand()
    await book.grow()
    held(book)
    assert book.verified().in_tree == BLOCK + 1


async def made(book: Book, seed: int, steps: int, *, everything: bool = True) -> History:
    """A history, in the catalogue."""
    await book.ledger.record_policy([], "digest")
    history = History(book, random.Random(seed))
    await history.go_on(steps)
    if everything:
        await book.grow()
    return history


async def test_another_zone_has_all_counted_anew_and_what_comes_after_by_it(book: Book) -> None:
    history = await made(book, 11, 300)
    held(book)
    assert await catalogue_more(book.store, -3)
    held(book, -3)
    await history.go_on(100)
    await book.store.write(integrate)
    assert await catalogue_more(book.store, -3)
    held(book, -3)
    await history.stand()
    assert book.verified().size == len(book.contents())


async def test_it_is_caught_up_with_in_turns_and_a_ledger_verifies_meanwhile(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await made(book, 12, 400, everything=False)).stand()
    await book.store.write(integrate)
    monkeypatch.setattr(catalogues, "BATCH", 100)
    done, size = 0, len(book.contents())
    while not await catalogue_more(book.store, ZONE, at_most=1):
        done = min(done + 100, size)
        with book.store.snapshot() as connection:
            assert catalogued(connection) == Catalogued(done, ZONE, routes=True)
        assert book.verified().size == size
    assert done >= 300
    held(book)


async def test_of_two_that_are_at_it_one_does_it(book: Book) -> None:
    await made(book, 13, 50, everything=False)
    await book.store.write(integrate)
    size = len(book.contents())
    assert await book.store.write(lambda connection: catalogue(connection, ZONE)) == size
    assert await book.store.write(lambda connection: catalogue(connection, ZONE)) == 0
    held(book)


BROKEN = {
    "an entry is gone": "DELETE FROM entries WHERE idx = 20",
    "nobody knows how far it came": "DELETE FROM catalogued",
    "a body is no JSON": "UPDATE entries SET body = {bytes} WHERE idx = 20",
}


@pytest.mark.parametrize("attack", BROKEN.values(), ids=BROKEN.keys())
async def test_a_ledger_that_was_changed_is_not_catalogued_on(book: Book, attack: str) -> None:
    await made(book, 14, 60, everything=False)
    await book.store.write(integrate)
    text = "X'7b7d'" if book.intruder.is_sqlite else "'\\x7b7d'::bytea"
    book.intruder.change(attack.format(bytes=text))
    with pytest.raises(StoreUnavailable, match="qaqpa ledger verify"):
        await book.store.write(lambda connection: catalogue(connection, ZONE))
    assert book.intruder.rows("SELECT * FROM counts") == []
