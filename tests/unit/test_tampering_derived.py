"""Who changes what is derived from the entries hides nothing: the index by which they are found, registers, keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from books import SIZE, Book, Intruder, book_at, failed, write_early, write_late
from harness import PEOPLE, House, both_engines, give_consent
from qaqpa.errors import VerificationFailed

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


def of(index: int, column: str) -> str:
    """SQL: the term under which an entry is found by this column."""
    return f"(SELECT '{column}:' || {column} FROM entries WHERE idx = {index})"


def removed(index: int, column: str) -> str:
    return f"DELETE FROM terms WHERE idx = {index} AND term = {of(index, column)}"


def moved(index: int, column: str, to: int) -> str:
    """Entry `to` is found in the place of `index`."""
    return f"UPDATE terms SET idx = {to} WHERE idx = {index} AND term = {of(index, column)}"


def renamed(index: int, column: str, to: str) -> str:
    """The entry is found by another value in place of its own."""
    return f"UPDATE terms SET term = {to} WHERE idx = {index} AND term = {of(index, column)}"


def added(index: int, term: str) -> str:
    return f"INSERT INTO terms (term, idx) VALUES ({term}, {index})"


NAMES = ("kind", "request", "subject", "caller", "recipient")
TERMS: dict[str, str] = {
    **{f"{each} of an intent removed": removed(1, each) for each in NAMES},
    **{f"{each} of an outcome removed": removed(3, each) for each in ("kind", "request", "subject")},
    **{f"{each} of a control removed": removed(5, each) for each in ("kind", "request", "caller", "recipient")},
    **{f"{each} of an intent moved to another index": moved(1, each, 5) for each in NAMES if each != "kind"},
    **{f"{each} of the last moved beyond it": moved(7, each, SIZE) for each in NAMES},
    "kind of an intent moved to another index": moved(1, "kind", 3),
    "kind of a control moved to another index": moved(5, "kind", 0),
    "recipient of a control moved to another index": moved(5, "recipient", 0),
    **{f"{each} of an intent moved to a made-up value": renamed(1, each, f"'{each}:x'") for each in NAMES[2:]},
    "kind of an intent moved to a made-up value": renamed(1, "kind", "'kind:x'"),
    "kind of an intent moved to another kind": renamed(1, "kind", "'kind:refusal'"),
    "caller of an intent moved to another caller": renamed(1, "caller", of(5, "caller")),
    "recipient of an intent moved to another recipient": renamed(1, "recipient", of(5, "recipient")),
    "request of an open intent moved to another request": renamed(7, "request", of(5, "request")),
    "request of a control moved to another request": renamed(5, "request", of(6, "request")),
    "request of an intent moved to a made-up one": renamed(1, "request", "'request:x'"),
    "subject of an intent moved to another person": renamed(1, "subject", of(7, "subject")),
    **{f"a made-up {each} added": added(1, f"'{each}:x'") for each in NAMES},
    **{f"{each} of another entry added": added(0, of(1, each)) for each in NAMES},
    **{f"{each} beyond the last entry added": added(SIZE, of(1, each)) for each in NAMES},
    **{f"an empty {each} added": added(1, f"'{each}:'") for each in NAMES},
    **{f"a bare {each} added": added(1, f"'{each}'") for each in NAMES},
    "an empty term added": added(1, "''"),
    "a term of no column added": added(1, "'zone:x'"),
    "all of an entry removed": "DELETE FROM terms WHERE idx = 5",
    "all of a person removed": f"DELETE FROM terms WHERE term = {of(1, 'subject')}",
    "all of a person moved to another": f"UPDATE terms SET term = 'subject:x' WHERE term = {of(1, 'subject')}",
    "all kinds removed": "DELETE FROM terms WHERE substr(term, 1, 5) = 'kind:'",
    "all requests removed": "DELETE FROM terms WHERE substr(term, 1, 8) = 'request:'",
    "all subjects removed": "DELETE FROM terms WHERE substr(term, 1, 8) = 'subject:'",
    "all callers removed": "DELETE FROM terms WHERE substr(term, 1, 7) = 'caller:'",
    "all recipients removed": "DELETE FROM terms WHERE substr(term, 1, 10) = 'recipient:'",
    "all removed": "DELETE FROM terms",
    "the later half removed": "DELETE FROM terms WHERE idx >= 4",
}


@pytest.mark.parametrize("statement", TERMS.values(), ids=TERMS.keys())
async def test_no_entry_is_hidden_from_a_search_or_made_up_in_one(written: Book, statement: str) -> None:
    written.intruder.change(statement)
    found = failed(written)
    assert ("the index by which entries are found was changed" in str(found), found.index) == (True, None)


async def test_an_index_that_was_changed_and_put_back_verifies(written: Book) -> None:
    written.intruder.run(removed(1, "subject"), f"INSERT INTO terms SELECT {of(1, 'subject')}, 1")
    assert written.verified().size == SIZE


async def test_what_is_not_in_the_tree_yet_is_not_missed_in_the_index(written: Book) -> None:
    await written.control(8)
    found = written.verified()
    assert (found.size, found.in_tree) == (SIZE + 1, SIZE)


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
