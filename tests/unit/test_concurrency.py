"""Two gateways on one database, at the same moment: what one of them may do, and what both must see."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from books import OK, Book, Intruder, book_at
from harness import PEOPLE, both_engines
from qaqpa.errors import DecisionOutdated, DuplicateRequest, StoreError
from qaqpa.ledger.entries import Kind, control
from qaqpa.ledger.integrate import integrate
from qaqpa.model.disclosure import Intent
from qaqpa.store import Connection
from qaqpa.store.postgres import PostgresConnection

pytestmark = both_engines


@pytest.fixture
async def books(tmp_path: Path, store_url: str) -> Any:
    """Two gateways' ledgers on one database."""
    with book_at(store_url, tmp_path) as one:
        await one.ledger.record_policy([], "digest")
        with book_at(store_url, tmp_path) as other:
            yield one, other


Pair = tuple[Book, Book]


# --- the tree --------------------------------------------------------------------------------------


@pytest.fixture(params=["as it is", "without the advisory lock"])
def lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param != "as it is":
        monkeypatch.setattr(PostgresConnection, "try_lock", lambda *_: True)
    yield


@pytest.mark.usefixtures("lock")
async def test_two_integrators_grow_one_right_tree(books: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.ledger.integrate.BATCH", 7)
    done = asyncio.Event()

    async def grow(book: Book) -> int:
        grown = 0
        while not done.is_set():
            grown += await book.store.write(integrate)
            await asyncio.sleep(0)
        return grown

    async def append(book: Book, at: int) -> None:
        await asyncio.sleep(at % 11 / 100)
        await book.control(at)

    growing = [asyncio.create_task(grow(book)) for book in books for _ in range(3)]
    await asyncio.gather(*(append(book, at) for at in range(300) for book in books))
    done.set()
    grown = sum(await asyncio.gather(*growing))
    for book in books:
        await book.grow()
    found = books[0].verified()
    assert (found.size, found.in_tree) == (601, 601)
    assert 0 < grown <= 601
    tiles = books[0].intruder.rows("SELECT level, number, length(hashes) / 32 FROM tiles ORDER BY level, number")
    assert tiles == [(0, 0, 256), (0, 1, 256), (0, 2, 89), (1, 0, 2)]


async def test_two_gateways_sign_checkpoints_of_one_history(books: Pair) -> None:
    async def sign(book: Book) -> None:
        for number in range(15):
            await book.control(number)
            await book.checkpoints.make()

    await asyncio.gather(*(sign(book) for book in books))
    await books[0].checkpoints.make()
    last = books[0].checkpoints.outside.path.read_bytes()
    found = books[0].verified(kept=[last])
    assert (found.size, found.in_tree) == (31, 31)
    assert found.checkpoints >= 2


# --- said once -------------------------------------------------------------------------------------


@pytest.mark.promise(6)
async def test_of_two_stores_with_one_idempotency_key_one_makes_an_intent(books: Pair) -> None:
    for number in range(20):
        work = [book.intend(key=f"k{number}") for book in books]
        neighbours = [book.control(number) for book in books]
        *made, _, _ = await asyncio.gather(*work, *neighbours, return_exceptions=True)
        intents = [each for each in made if isinstance(each, Intent)]
        refused = [each for each in made if isinstance(each, DuplicateRequest)]
        assert (len(intents), len(refused)) == (1, 1), made
        assert refused[0].disclosure == intents[0].id
    assert books[0].verified().kinds == {"policy": 1, "intent": 20, "control": 40}


@pytest.mark.promise(6)
async def test_of_two_keys_taken_by_two_stores_in_opposite_order_each_goes_to_one(books: Pair) -> None:
    """In one group the locks of several keys are held together: whoever waits crosswise is not left without answer."""
    for number in range(5):
        names = [f"{number}-{at}" for at in range(6)]
        work = [books[0].intend(key=name) for name in names] + [books[1].intend(key=name) for name in reversed(names)]
        done = await asyncio.gather(*work, return_exceptions=True)
        assert sorted(type(each).__name__ for each in done) == ["DuplicateRequest"] * 6 + ["Intent"] * 6
    assert books[0].verified().kinds["intent"] == 30


async def test_of_two_outcomes_by_two_stores_one_is_entered_and_neighbours_are_unharmed(books: Pair) -> None:
    for _ in range(10):
        intents = [await books[0].intend() for _ in range(3)]
        disputed, *alone = intents
        work = [book.ledger.conclude(disputed, OK) for book in books]
        work += [book.ledger.conclude(intent, OK) for book, intent in zip(books, alone, strict=True)]
        done = await asyncio.gather(*work, return_exceptions=True)
        assert sorted(isinstance(each, StoreError) for each in done[:2]) == [False, True]
        assert all(isinstance(each, int) for each in done[2:])
    found = books[0].verified()
    assert found.kinds == {"policy": 1, "intent": 30, "outcome": 30}
    assert found.open_intents == ()


async def test_a_subject_that_two_stores_make_at_once_is_one(books: Pair) -> None:
    for person in PEOPLE:
        work = [book.ledger.subjects.ensure(person.iin) for book in books for _ in range(3)]
        made = await asyncio.gather(*work)
        assert len(set(made)) == 1, "one person got two ids or two keys"
    for table in ("subjects", "subject_keys"):
        assert books[0].intruder.value(f"SELECT count(*) FROM {table}") == len(PEOPLE)


# --- what forbids ----------------------------------------------------------------------------------

SUSPEND = "INSERT INTO suspensions (recipient, since, person, reason) VALUES ('bureau', '2026', 'p', 'r')"


def allowed(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM suspensions WHERE recipient = ?", ("bureau",)).first() is None


async def suspend(book: Book, act: str = "suspend") -> int:
    def also(connection: Connection) -> None:
        connection.execute("DELETE FROM suspensions WHERE recipient = 'bureau'")
        if act == "suspend":
            connection.execute(SUSPEND)

    public = control(act, "bureau", "c", "p", "r", at=book.clock())
    return await book.ledger.record(Kind.CONTROL, public, also=also)


@pytest.mark.promise(3)
async def test_an_intent_that_looked_before_a_suspension_stands_before_it(books: Pair) -> None:
    """The intent's transaction looks, dawdles and then takes its index; the suspension must wait for it."""
    looked = threading.Event()

    def dawdling(connection: Connection) -> bool:
        held = allowed(connection)
        looked.set()
        time.sleep(0.4)
        return held

    intending = asyncio.create_task(books[0].intend(holds=dawdling))
    await asyncio.to_thread(looked.wait, 5)
    suspended = await suspend(books[1])
    intent = await intending
    assert intent.index < suspended, "an intent stands after a suspension that it did not see"


@pytest.mark.promise(3)
async def test_an_intent_that_comes_while_a_suspension_is_written_sees_it(books: Pair) -> None:
    writing = threading.Event()

    def also(connection: Connection) -> None:
        connection.execute(SUSPEND)
        writing.set()
        time.sleep(0.4)

    public = control("suspend", "bureau", "c", "p", "r", at=books[1].clock())
    suspending = asyncio.create_task(books[1].ledger.record(Kind.CONTROL, public, also=also))
    await asyncio.to_thread(writing.wait, 5)
    with pytest.raises(DecisionOutdated):
        await books[0].intend(holds=allowed)
    await suspending
    assert books[0].contents("intent") == []


@pytest.mark.promise(3)
async def test_between_a_suspension_and_its_end_no_intent_ever_stands(books: Pair) -> None:
    done = asyncio.Event()

    async def intending(book: Book) -> int:
        made = 0
        while not done.is_set():
            results = await asyncio.gather(*(book.intend(holds=allowed) for _ in range(4)), return_exceptions=True)
            assert all(isinstance(each, Intent | DecisionOutdated) for each in results), results
            made += sum(isinstance(each, Intent) for each in results)
        return made

    tasks = [asyncio.create_task(intending(book)) for book in books]
    for _ in range(15):
        await suspend(books[1])
        await suspend(books[0], "resume")
    done.set()
    assert sum(await asyncio.gather(*tasks)) > 0
    suspended = False
    for at, entry in enumerate(books[0].contents()):
        if entry["kind"] == "control":
            suspended = entry["act"] == "suspend"
        assert not (suspended and entry["kind"] == "intent"), f"entry {at} was sent to a suspended recipient"
    books[0].verified()


async def test_whoever_forbids_is_not_kept_waiting_by_those_who_come_later(books: Pair) -> None:
    """Writers that overlap without a gap must not starve a suspension."""
    done = asyncio.Event()

    async def busy(book: Book) -> None:
        while not done.is_set():
            await asyncio.gather(*(book.control(at) for at in range(5)))

    tasks = [asyncio.create_task(busy(book)) for book in books for _ in range(3)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(4):
        await suspend(books[0])
    done.set()
    await asyncio.gather(*tasks)


def test_an_intruder_is_somebody_else(store_url: str, tmp_path: Path) -> None:
    """The tests' own hand really opens the database that the book is kept in."""
    with book_at(store_url, tmp_path):
        assert Intruder(store_url, tmp_path).value("SELECT size FROM tree") == 0
