"""Who changes what is derived from the entries hides nothing: the index by which they are found, registers, keys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from books import SIZE, Book, Intruder, book_at, failed, write_early, write_late
from harness import PEOPLE, House, both_engines, give_consent
from qaqpa.errors import VerificationFailed
from qaqpa.ledger.integrate import BLOCK
from qaqpa.ledger.read import Wanted, latest

pytestmark = both_engines


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


@pytest.fixture
async def written(book: Book) -> Book:
    """A ledger of eight entries."""
    await write_late(book, await write_early(book))
    return book


# --- by what entries are found ---------------------------------------------------------------------

OTHER = BLOCK + 4
"""Index of an intent about a third person."""
FULL = 2 * BLOCK + 8
"""Two blocks that are indexed, and some entries that are not yet."""


@pytest.fixture
async def indexed(written: Book) -> Book:
    """Two blocks of entries, nearly all of them controls, and a few more."""
    await asyncio.gather(*(written.control(number) for number in range(SIZE, OTHER)))
    await written.intend(iin=PEOPLE[2].iin)
    await asyncio.gather(*(written.control(number) for number in range(OTHER + 1, FULL)))
    await written.grow()
    found = written.verified()
    assert (found.size, found.in_tree) == (FULL, FULL)
    return written


def of(index: int, column: str) -> str:
    """SQL: the term under which an entry is found by this column."""
    return f"(SELECT '{column}:' || {column} FROM entries WHERE idx = {index})"


def removed(index: int, column: str) -> str:
    return f"DELETE FROM terms WHERE block = {index // BLOCK} AND term = {of(index, column)}"


def moved(index: int, column: str, to: int) -> str:
    """The entry is found in another block than its own."""
    return f"UPDATE terms SET block = {to} WHERE block = {index // BLOCK} AND term = {of(index, column)}"


def exchanged(column: str) -> str:
    """Two entries are each found in the other's block: as many rows as before, and the same sum of their blocks."""
    return f"UPDATE terms SET block = 1 - block WHERE term IN ({of(1, column)}, {of(OTHER, column)})"


def renamed(index: int, column: str, to: str) -> str:
    """The entry is found by another value in place of its own."""
    return f"UPDATE terms SET term = {to} WHERE block = {index // BLOCK} AND term = {of(index, column)}"


def added(block: int, term: str) -> str:
    return f"INSERT INTO terms (term, block) VALUES ({term}, {block})"


NAMES = ("kind", "request", "subject", "caller", "recipient")
OWN = ("request", "subject")
TERMS: dict[str, str] = {
    **{f"{each} of an intent removed": removed(1, each) for each in NAMES},
    **{f"{each} of the other intent removed": removed(OTHER, each) for each in NAMES},
    **{f"{each} of a control removed": removed(5, each) for each in ("kind", "request", "caller", "recipient")},
    **{f"{each} of an intent moved to the next block": moved(1, each, 1) for each in OWN},
    **{f"{each} of an intent moved beyond what is indexed": moved(1, each, 2) for each in NAMES},
    **{f"{each} of the other intent moved before all": moved(OTHER, each, -1) for each in NAMES},
    "request of a control moved to the block before": moved(BLOCK + 1, "request", 0),
    **{f"{each} of two intents exchanged": exchanged(each) for each in OWN},
    **{f"{each} of an intent moved to a made-up value": renamed(1, each, f"'{each}:x'") for each in NAMES},
    "kind of an intent moved to another kind": renamed(1, "kind", "'kind:refusal'"),
    "subject of an intent moved to another person": renamed(1, "subject", of(OTHER, "subject")),
    "request of a control moved to another request": renamed(5, "request", of(OTHER, "request")),
    **{f"a made-up {each} added": added(0, f"'{each}:x'") for each in NAMES},
    **{f"{each} of another block added": added(1, of(1, each)) for each in OWN},
    **{f"{each} of another block added to the first": added(0, of(OTHER, each)) for each in OWN},
    **{f"{each} beyond what is indexed added": added(2, of(1, each)) for each in NAMES},
    **{f"an empty {each} added": added(0, f"'{each}:'") for each in NAMES},
    **{f"a bare {each} added": added(1, f"'{each}'") for each in NAMES},
    "an empty term added": added(1, "''"),
    "a term of no column added": added(1, "'zone:x'"),
    "all of a block removed": "DELETE FROM terms WHERE block = 1",
    "all of a person removed": f"DELETE FROM terms WHERE term = {of(1, 'subject')}",
    "all of a person moved to another": f"UPDATE terms SET term = 'subject:x' WHERE term = {of(1, 'subject')}",
    "all kinds removed": "DELETE FROM terms WHERE substr(term, 1, 5) = 'kind:'",
    "all requests removed": "DELETE FROM terms WHERE substr(term, 1, 8) = 'request:'",
    "all subjects removed": "DELETE FROM terms WHERE substr(term, 1, 8) = 'subject:'",
    "all callers removed": "DELETE FROM terms WHERE substr(term, 1, 7) = 'caller:'",
    "all recipients removed": "DELETE FROM terms WHERE substr(term, 1, 10) = 'recipient:'",
    "all removed": "DELETE FROM terms",
}
_ROWS = "SELECT block, term FROM terms"


@pytest.mark.parametrize("statement", TERMS.values(), ids=TERMS.keys())
async def test_no_entry_is_hidden_from_a_search_or_made_up_in_one(indexed: Book, statement: str) -> None:
    before = set(indexed.intruder.rows(_ROWS))
    indexed.intruder.change(statement)
    first = min(before ^ set(indexed.intruder.rows(_ROWS)))[0]
    found = failed(indexed)
    assert ("the index by which entries are found was changed" in str(found), found.index) == (True, first * BLOCK)


async def test_an_index_that_was_changed_and_put_back_verifies(indexed: Book) -> None:
    indexed.intruder.run(removed(1, "subject"), f"INSERT INTO terms SELECT {of(1, 'subject')}, 0")
    assert indexed.verified().size == FULL


@pytest.mark.parametrize("index", [6, BLOCK + 6, 2 * BLOCK + 6])
async def test_an_entry_that_is_repeated_is_found_however_old_the_first_one_is(indexed: Book, index: int) -> None:
    rest = "month, request, kind, subject, caller, recipient, time, leaf, body"
    indexed.intruder.run(
        f"INSERT INTO entries (idx, {rest}) SELECT {FULL}, {rest} FROM entries WHERE idx = {index}",
        f"UPDATE tree SET size = {FULL + 1}",
    )
    assert str(failed(indexed)) == f"entry {FULL} repeats an earlier one"
    await asyncio.gather(*(indexed.control(number) for number in range(BLOCK)))
    await indexed.grow()
    assert str(failed(indexed)) == f"entry {FULL} repeats an earlier one"


@pytest.mark.parametrize("size", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1])
async def test_every_entry_is_found_however_many_there_are(book: Book, size: int) -> None:
    await asyncio.gather(*(book.control(number) for number in range(size)))
    for _ in range(2):
        assert [content["reason"] for content in book.contents("control")] == [f"reason {n}" for n in range(size)]
        wanted = Wanted(recipient="r", caller="c")
        with book.store.snapshot() as connection:
            pages = [[entry.index for entry in latest(connection, 100, wanted)]]
            while pages[-1]:
                wanted = replace(wanted, before=pages[-1][0])
                pages.append([entry.index for entry in latest(connection, 100, wanted)])
            assert latest(connection, 1, Wanted(recipient="r", caller="somebody else")) == []
        assert [index for page in reversed(pages) for index in page] == list(range(size))
        assert {len(page) for page in pages[:-2]} <= {100}
        await book.grow()


async def test_what_is_not_in_the_tree_yet_is_not_missed_in_the_index(indexed: Book) -> None:
    await asyncio.gather(*(indexed.control(number) for number in range(BLOCK)))
    found = indexed.verified()
    assert (found.size, found.in_tree) == (FULL + BLOCK, FULL)


# --- registers and keys ----------------------------------------------------------------------------

OPEN = "(SELECT request FROM entries WHERE idx = 7)"
UNKNOWN = "(SELECT request FROM entries WHERE idx = 2)"
SETTLED = "(SELECT request FROM entries WHERE idx = 1)"
REGISTER: dict[str, str] = {
    "an open one forgotten": f"DELETE FROM unsettled WHERE disclosure = {OPEN}",
    "an unknown one forgotten": f"DELETE FROM unsettled WHERE disclosure = {UNKNOWN}",
    "all forgotten": "DELETE FROM unsettled",
    "an open one unknown": f"UPDATE unsettled SET state = 'unknown' WHERE disclosure = {OPEN}",
    "an unknown one open": f"UPDATE unsettled SET state = 'open' WHERE disclosure = {UNKNOWN}",
    "a state that is none": f"UPDATE unsettled SET state = 'x' WHERE disclosure = {OPEN}",
    "a settled one back": (
        f"INSERT INTO unsettled SELECT {SETTLED}, subject, recipient, gateway, state, since FROM unsettled "
        "WHERE state = 'open'"
    ),
    "a made-up one": "INSERT INTO unsettled VALUES ('made-up', 's', 'r', 0, 'unknown', '2026-01-01T00:00:00.000Z')",
    "about another subject": "UPDATE unsettled SET subject = 'x'",
    "at another recipient": "UPDATE unsettled SET recipient = 'x'",
    "since another time": "UPDATE unsettled SET since = '2026-01-01T00:00:00.000Z'",
}


@pytest.mark.parametrize("statement", REGISTER.values(), ids=REGISTER.keys())
async def test_the_register_of_what_is_unsettled_is_held_against_the_entries(written: Book, statement: str) -> None:
    written.intruder.change(statement)
    assert "the register unsettled was changed" in str(failed(written))


async def test_a_key_that_is_gone_without_an_erasure_is_found(written: Book) -> None:
    written.intruder.change("DELETE FROM subject_keys")
    assert "no entry says that it was erased" in str(failed(written))


async def test_a_withdrawn_consent_does_not_stand_again_because_its_entry_is_repeated(
    house: House, store_url: str
) -> None:
    intruder = Intruder(store_url, house.home)
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PEOPLE[0])
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        rest = "month, request, kind, subject, caller, recipient, time, leaf, body"
        intruder.run(
            f"INSERT INTO entries (idx, {rest}) SELECT 3, {rest} FROM entries WHERE kind = 'consent'",
            "UPDATE tree SET size = 4",
            "UPDATE consents SET withdrawal_asked_at = NULL, withdrawn_at = NULL",
        )
        with pytest.raises(VerificationFailed, match="gives a consent that was given before") as raised:
            house.verified(gateway)
        assert raised.value.index == 3
