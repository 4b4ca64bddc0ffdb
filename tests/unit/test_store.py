"""The store: writes share transactions without sharing their fate, and what is reported done is on disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from books import OK, Intruder, book_at
from harness import both_engines
from qaqpa.errors import NotFound, StoreUnavailable
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger
from qaqpa.ledger.entries import Kind, control
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.disclosure import Outcome
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection, Store, store_at
from qaqpa.store.connection import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS
from qaqpa.store.sqlite import _PRAGMAS

pytestmark = both_engines
ADD = "INSERT INTO meta (name, value) VALUES (?, ?)"


@contextmanager
def opened(url: str, home: Path) -> Iterator[Store]:
    with closing(store_at(url, home)) as store:
        store.open()
        yield store


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    with opened(store_url, tmp_path) as made:
        yield made


@pytest.fixture
def intruder(store_url: str, tmp_path: Path) -> Intruder:
    return Intruder(store_url, tmp_path)


def add(name: str) -> Callable[[Connection], str]:
    def unit(connection: Connection) -> str:
        connection.execute(ADD, (name, "v"))
        return name

    return unit


def names(intruder: Intruder) -> set[str]:
    """What somebody else reads."""
    return {row[0] for row in intruder.rows("SELECT name FROM meta")}


# --- groups ----------------------------------------------------------------------------------------


async def test_many_writes_share_few_transactions(
    store: Store, intruder: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(await store.write(lambda connection: connection))
    commits, commit = [0], kind.commit

    def counted(self: Connection) -> None:
        commits[0] += 1
        commit(self)

    monkeypatch.setattr(kind, "commit", counted)
    wanted = [f"n{number}" for number in range(500)]
    assert await asyncio.gather(*(store.write(add(name)) for name in wanted)) == wanted
    assert names(intruder) == set(wanted)
    assert 0 < commits[0] <= 50


class Odd(Exception):
    """An exception that nobody expects."""


FAILURES = [
    NotFound("ours"), ValueError("v"), KeyError("k"), TypeError("t"), RuntimeError("r"), AssertionError("a"),
    AttributeError("a"), OverflowError("o"), RecursionError("r"), OSError("o"), Odd("o"),
]  # fmt: skip


def failing(name: str, error: Exception) -> Callable[[Connection], None]:
    def unit(connection: Connection) -> None:
        connection.execute(ADD, (name, "v"))
        raise error

    return unit


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_unit_that_raises_harms_nobody_else_and_leaves_nothing(
    store: Store, intruder: Intruder, error: Exception
) -> None:
    units = [store.write(add(f"good{number}")) for number in range(20)]
    units.insert(10, store.write(failing("bad", error)))
    async with asyncio.timeout(5):
        results = await asyncio.gather(*units, return_exceptions=True)
    assert results.pop(10) is error
    assert results == [f"good{number}" for number in range(20)]
    assert names(intruder) == set(results)


async def test_a_unit_that_runs_out_of_an_iterator_leaves_nobody_waiting(store: Store) -> None:
    # A future cannot carry StopIteration; its task must hear of something all the same, and so must the others.
    units = [store.write(failing("bad", StopIteration())), store.write(add("good"))]
    async with asyncio.timeout(3):
        results = await asyncio.gather(*units, return_exceptions=True)
    assert isinstance(results[0], Exception)
    assert results[1] == "good"


async def test_a_statement_that_fails_is_ours_and_harms_nobody(store: Store, intruder: Intruder) -> None:
    units = (store.write(add("same")), store.write(add("same")), store.write(add("other")))
    results = await asyncio.gather(*units, return_exceptions=True)
    assert results[0] == "same" and results[2] == "other"
    assert isinstance(results[1], StoreUnavailable)
    assert names(intruder) == {"same", "other"}


async def test_a_failure_that_a_unit_keeps_to_itself_is_not_reported_done_unless_it_is(
    store: Store, intruder: Intruder
) -> None:
    """PostgreSQL answers COMMIT after a failed statement with a roll-back, and calls that a success."""

    def unit(connection: Connection) -> str:
        connection.execute(ADD, ("first", "v"))
        try:
            connection.execute(ADD, ("first", "v"))
        except store.engine.failures:
            return "went on"
        raise AssertionError("a name may stand there once")

    (result,) = await asyncio.gather(store.write(unit), return_exceptions=True)
    assert names(intruder) == ({"first"} if result == "went on" else set())
    assert await store.write(add("after")) == "after"


async def test_what_is_reported_done_is_seen_by_another_process(store: Store, store_url: str, tmp_path: Path) -> None:
    await store.write(add("done"))
    script = (
        "import sys; from pathlib import Path; from qaqpa.store import store_at\n"
        "with store_at(sys.argv[1], Path(sys.argv[2])).snapshot() as c: print(c.execute('SELECT name FROM meta').one())"
    )
    command = [sys.executable, "-c", script, store_url, str(tmp_path)]
    assert await asyncio.to_thread(subprocess.check_output, command, text=True) == "('done',)\n"


async def test_a_waiting_task_that_is_cancelled_disturbs_nobody(store: Store, intruder: Intruder) -> None:
    gate, running = asyncio.Event(), asyncio.get_running_loop()

    def slow(_connection: Connection) -> None:
        running.call_soon_threadsafe(gate.set)
        time.sleep(0.2)

    first = asyncio.create_task(store.write(slow, long=True))
    await gate.wait()
    cancelled, kept = asyncio.create_task(store.write(add("c"))), asyncio.create_task(store.write(add("k")))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.gather(first, kept)
    assert cancelled.cancelled() and "k" in names(intruder)
    assert await store.write(add("after")) == "after"


async def test_closing_finishes_what_is_queued_and_takes_nothing_more(store: Store, intruder: Intruder) -> None:
    tasks = [asyncio.create_task(store.write(add(f"n{number}"))) for number in range(600)]
    await asyncio.sleep(0)
    store.close()
    await asyncio.gather(*tasks)
    assert len(names(intruder)) == 600
    for closed in (store.write(add("late")), store.read(lambda connection: None)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await closed


DURABLE = {
    "sqlite": {
        "PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2, "PRAGMA secure_delete": 1, "PRAGMA foreign_keys": 1,
        "PRAGMA busy_timeout": LOCK_TIMEOUT_MS,
    },
    "postgresql": {
        "SHOW synchronous_commit": "on", "SHOW lock_timeout": f"{LOCK_TIMEOUT_MS // 1000}s",
        "SHOW statement_timeout": f"{STATEMENT_TIMEOUT_MS // 1000}s",
    },
}  # fmt: skip


async def test_the_writer_really_runs_with_what_durability_needs(store: Store, engine: str) -> None:
    def unit(connection: Connection) -> dict[str, Any]:
        return {query: connection.execute(query).scalar() for query in DURABLE[engine]}

    assert await store.write(unit, long=True) == DURABLE[engine]
    in_loop = {"PRAGMA busy_timeout": 0} if engine == "sqlite" else {}  # the loop waits for nobody
    assert await store.write(unit) == DURABLE[engine] | in_loop


async def test_a_snapshot_sees_one_moment_and_other_transactions_nothing_unfinished(
    store: Store, intruder: Intruder
) -> None:
    await store.write(add("before"))

    def count(connection: Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM meta").scalar())

    with store.snapshot() as seen:
        await store.write(add("after"))
        assert (count(seen), await store.read(count)) == (1, 2)

    def half(connection: Connection) -> int:
        connection.execute(ADD, ("half", "v"))
        return len(names(intruder))

    assert await store.write(half) == 2


async def test_a_long_query_streams_what_another_query_runs_beside(store: Store) -> None:
    def fill(connection: Connection) -> None:
        connection.execute_many(ADD, [(f"{number:05}", "v") for number in range(5_000)])

    await store.write(fill)
    with store.snapshot() as connection:
        seen = []
        for row in connection.stream("SELECT name FROM meta WHERE name >= ? ORDER BY name", ("00010",)):
            seen.append(row[0])
            if len(seen) % 1000 == 1:
                assert connection.execute("SELECT value FROM meta WHERE name = ?", (row[0],)).one() == ("v",)
    assert seen == [f"{number:05}" for number in range(10, 5_000)]


# --- several writers -------------------------------------------------------------------------------

APPENDER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger
from qaqpa.ledger.entries import Kind, control
from qaqpa.store import store_at

async def main(url, home, name, count):
    store = store_at(url, home)
    ledger = Ledger(store, Keyring.load(home / "k.json"), lambda: datetime.now(UTC), clock_tolerance_s=5)
    store.open(ledger)
    try:
        one = lambda n: ledger.record(Kind.CONTROL, control("test", name, "c", str(n), "r" * 500, at=datetime.now(UTC)))
        print(*(await asyncio.gather(*(one(n) for n in range(count)))))
    finally:
        store.close()

asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
"""


def verified(url: str, home: Path) -> Verified:
    with opened(url, home) as store, store.snapshot() as connection:
        return verify(connection)


async def test_three_stores_on_one_database_keep_indexes_gapless(store_url: str, tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "k.json")
    stores = [store_at(store_url, tmp_path) for _ in range(3)]
    ledgers = [Ledger(store, keyring, lambda: datetime.now(UTC), clock_tolerance_s=5) for store in stores]
    try:
        for store, ledger in zip(stores, ledgers, strict=True):
            store.open(ledger)

        async def record(ledger: Ledger, number: int) -> int:
            await asyncio.sleep(number % 7 / 1000)
            return await ledger.record(Kind.CONTROL, control("t", "r", "c", str(number), "x", at=datetime.now(UTC)))

        indexes = await asyncio.gather(*(record(ledger, number) for number in range(100) for ledger in ledgers))
    finally:
        for store in stores:
            store.close()
    assert sorted(indexes) == list(range(300))
    assert verified(store_url, tmp_path).size == 300


def test_three_processes_on_one_database_keep_indexes_gapless(store_url: str, tmp_path: Path) -> None:
    Keyring.create(tmp_path / "k.json")
    with opened(store_url, tmp_path):
        pass
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, store_url, str(tmp_path), name, "300"], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three")
    ]
    indexes = [int(each) for process in running for each in process.communicate(timeout=60)[0].split()]
    assert sorted(indexes) == list(range(900)), "an index was told to two processes, or to none"
    assert verified(store_url, tmp_path).kinds == {"control": 900}


async def test_an_index_that_was_rolled_back_is_given_again(store_url: str, tmp_path: Path, intruder: Intruder) -> None:
    with book_at(store_url, tmp_path) as book:
        assert await book.control(0) == 0
        rest = "month, request, kind, subject, caller, recipient, time, leaf, body"
        intruder.change(f"INSERT INTO entries (idx, {rest}) SELECT 1, {rest} FROM entries")
        with pytest.raises(StoreUnavailable):
            await book.control(1)
        intruder.change("DELETE FROM entries WHERE idx = 1")
        assert await book.control(2) == 1
        assert book.verified().size == 2


# --- one outcome -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", list(OutcomeResult))
@pytest.mark.parametrize("second", list(OutcomeResult))
async def test_a_disclosure_has_one_outcome_and_the_first_one_stands(
    store_url: str, tmp_path: Path, first: OutcomeResult, second: OutcomeResult
) -> None:
    with book_at(store_url, tmp_path) as book:
        await book.ledger.record_policy([], "digest")
        intent = await book.intend()
        await book.ledger.conclude(intent, Outcome(first, "first"))
        with pytest.raises(StoreUnavailable, match="has an outcome already"):
            await book.ledger.enter_outcome(intent, Outcome(second, "second"))
        assert [(each["result"], each["code"]) for each in book.contents("outcome")] == [(first, "first")]
        assert len(book.verified().unknown) == (first is OutcomeResult.UNKNOWN)


async def test_of_many_outcomes_at_once_one_stands_and_nobody_else_is_harmed(store_url: str, tmp_path: Path) -> None:
    with book_at(store_url, tmp_path) as book, book_at(store_url, tmp_path) as elsewhere:
        await book.ledger.record_policy([], "digest")
        intent = await book.intend()
        both = (book, elsewhere)
        outcomes = (each.ledger.enter_outcome(intent, OK) for each in both for _ in range(5))
        acts = (each.control(number) for each in both for number in range(5))
        results = await asyncio.gather(*outcomes, *acts, return_exceptions=True)
        refused = [each for each in results if isinstance(each, StoreUnavailable)]
        assert len(refused) == 9 and all("has an outcome already" in str(each) for each in refused)
        assert sorted(each for each in results if isinstance(each, int)) == list(range(2, 13))
        assert book.verified().kinds == {"policy": 1, "intent": 1, "outcome": 1, "control": 10}


# --- a database that cannot be written -------------------------------------------------------------


@contextmanager
def held(intruder: Intruder) -> Iterator[None]:
    """Another session holds what every write of these tests needs."""
    with intruder.connected() as other:
        if intruder.is_sqlite:
            other.isolation_level = None
        other.execute("BEGIN IMMEDIATE" if intruder.is_sqlite else "LOCK TABLE meta IN EXCLUSIVE MODE")
        yield
        other.execute("ROLLBACK")


async def test_a_database_locked_by_another_is_unavailable_until_it_is_free(
    store_url: str, tmp_path: Path, intruder: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.store.sqlite._PRAGMAS", ("PRAGMA busy_timeout = 200", *_PRAGMAS[1:]))
    monkeypatch.setattr("qaqpa.store.postgres.LOCK_TIMEOUT_MS", 200)
    with opened(store_url, tmp_path) as store:
        await store.write(lambda connection: None)
        started = time.monotonic()
        with held(intruder):
            async with asyncio.timeout(20):
                results = await asyncio.gather(*(store.write(add(f"n{n}")) for n in range(40)), return_exceptions=True)
            took = time.monotonic() - started
            assert [type(each) for each in results] == [StoreUnavailable] * 40
            assert any(cause in str(results[0]) for cause in ("SQLITE_BUSY", "LockNotAvailable"))
            assert "nothing was sent" in str(results[0])
            assert await store.read(lambda c: c.execute("SELECT count(*) FROM meta").scalar()) == 0
        assert took < 3, f"a group waits for a lock together, not each of its members in turn: {took:.1f} s"
        assert await store.write(add("free")) == "free"
    assert names(intruder) == {"free"}


async def test_a_database_that_may_only_be_read_refuses_writes(
    store: Store, store_url: str, tmp_path: Path, intruder: Intruder
) -> None:
    if intruder.is_sqlite:
        url = f"sqlite:///file:{store_url.removeprefix('sqlite:///')}?mode=ro&uri=true"
    else:
        database = intruder.value("SELECT current_database()")
        intruder.run(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        url = store_url
    with opened(url, tmp_path) as unwritable:
        with pytest.raises(StoreUnavailable):
            await unwritable.write(add("x"))
        assert await unwritable.read(lambda c: c.execute("SELECT count(*) FROM meta").scalar()) == 0
    assert names(intruder) == set()
