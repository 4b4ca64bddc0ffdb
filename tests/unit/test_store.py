"""The store: writes share transactions without sharing their fate, and what is reported done is on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event

from harness import House
from qaqpa.errors import NotConfigured, NotFound, SchemaMismatch, StoreUnavailable
from qaqpa.ledger import Keyring, Ledger
from qaqpa.ledger.entries import Kind, control
from qaqpa.ledger.verify import Verified, verify
from qaqpa.store import SqliteStore
from qaqpa.store import sqlite as store_sqlite
from qaqpa.store.migrate import head
from qaqpa.store.schema import metadata
from qaqpa.store.sqlite import parse_url

ADD = "INSERT INTO meta (name, value) VALUES (?, ?)"


@contextmanager
def opened(path: Path, text: str | None = None) -> Iterator[SqliteStore]:
    store = SqliteStore(parse_url(text or f"sqlite:///{path.name}", path.parent))
    try:
        store.open()
        yield store
    finally:
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with opened(path) as made:
        yield made


def add(name: str) -> Callable[[Connection], str]:
    def unit(connection: Connection) -> str:
        connection.exec_driver_sql(ADD, (name, "v"))
        return name

    return unit


def names(path: Path) -> set[str]:
    """What somebody else reads in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM meta")}


# --- groups ----------------------------------------------------------------------------------------


async def test_many_writes_share_few_transactions(store: SqliteStore, path: Path) -> None:
    commits = 0

    def count(_connection: Connection) -> None:
        nonlocal commits
        commits += 1

    event.listen(store._engine, "commit", count)
    wanted = [f"n{number}" for number in range(500)]
    assert await asyncio.gather(*(store.write(add(name)) for name in wanted)) == wanted
    assert names(path) == set(wanted)
    assert 0 < commits <= 50


class Odd(Exception):
    """An exception that nobody expects."""


FAILURES = [
    NotFound("ours"), ValueError("v"), KeyError("k"), TypeError("t"), RuntimeError("r"), AssertionError("a"),
    AttributeError("a"), OverflowError("o"), RecursionError("r"), OSError("o"), Odd("o"),
]  # fmt: skip


def failing(name: str, error: Exception) -> Callable[[Connection], None]:
    def unit(connection: Connection) -> None:
        connection.exec_driver_sql(ADD, (name, "v"))
        raise error

    return unit


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_unit_that_raises_harms_nobody_else_and_leaves_nothing(
    store: SqliteStore, path: Path, error: Exception
) -> None:
    units = [store.write(add(f"good{number}")) for number in range(20)]
    units.insert(10, store.write(failing("bad", error)))
    async with asyncio.timeout(5):
        results = await asyncio.gather(*units, return_exceptions=True)
    assert results.pop(10) is error
    assert results == [f"good{number}" for number in range(20)]
    assert names(path) == set(results)


async def test_a_unit_that_runs_out_of_an_iterator_leaves_nobody_waiting(store: SqliteStore) -> None:
    # A future cannot carry StopIteration; its task must hear of something all the same, and so must the others.
    units = [store.write(failing("bad", StopIteration())), store.write(add("good"))]
    async with asyncio.timeout(3):
        results = await asyncio.gather(*units, return_exceptions=True)
    assert isinstance(results[0], Exception)
    assert results[1] == "good"


async def test_a_statement_that_fails_is_ours_and_harms_nobody(store: SqliteStore, path: Path) -> None:
    units = (store.write(add("same")), store.write(add("same")), store.write(add("other")))
    results = await asyncio.gather(*units, return_exceptions=True)
    assert results[0] == "same" and results[2] == "other"
    assert isinstance(results[1], StoreUnavailable)
    assert names(path) == {"same", "other"}


async def test_what_is_reported_done_is_seen_by_another_process(store: SqliteStore, path: Path) -> None:
    await store.write(add("done"))
    script = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT name FROM meta').fetchone())"
    command = [sys.executable, "-c", script, str(path)]
    assert await asyncio.to_thread(subprocess.check_output, command, text=True) == "done\n"


async def test_a_waiting_task_that_is_cancelled_disturbs_nobody(store: SqliteStore, path: Path) -> None:
    gate, running = asyncio.Event(), asyncio.get_running_loop()

    def slow(_connection: Connection) -> None:
        running.call_soon_threadsafe(gate.set)
        time.sleep(0.2)

    first = asyncio.create_task(store.write(slow))
    await gate.wait()
    cancelled, kept = asyncio.create_task(store.write(add("c"))), asyncio.create_task(store.write(add("k")))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.gather(first, kept)
    assert cancelled.cancelled()
    assert "k" in names(path)
    assert await store.write(add("after")) == "after"


async def test_closing_finishes_what_is_queued_and_takes_nothing_more(path: Path) -> None:
    with opened(path) as store:
        tasks = [asyncio.create_task(store.write(add(f"n{number}"))) for number in range(600)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*tasks)
        assert len(names(path)) == 600
        for closed in (store.write(add("late")), store.read(lambda connection: None)):
            with pytest.raises(StoreUnavailable, match="not open"):
                await closed
        store.close()


async def test_the_writer_really_runs_with_what_durability_needs(store: SqliteStore) -> None:
    asked = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout")

    def unit(connection: Connection) -> dict[str, Any]:
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked}

    assert await store.write(unit) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "busy_timeout": store_sqlite.BUSY_TIMEOUT_MS,
    }


# --- several writers -------------------------------------------------------------------------------

APPENDER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from qaqpa.errors import QaqpaError
from qaqpa.ledger import Keyring, Ledger
from qaqpa.ledger.entries import Kind, control
from qaqpa.store import SqliteStore
from qaqpa.store.sqlite import parse_url

async def main(path, name, count, size):
    store = SqliteStore(parse_url(f"sqlite:///{path.name}", path.parent))
    ledger = Ledger(store, Keyring.load(path.parent / "k.json"), lambda: datetime.now(UTC), clock_tolerance_s=5)
    store.open(ledger)
    try:
        if size:  # a full disk, for this process alone
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        one = lambda n: ledger.record(Kind.CONTROL, control("test", name, "c", str(n), "r" * 500, at=datetime.now(UTC)))
        done = await asyncio.gather(*(one(n) for n in range(count)), return_exceptions=True)
        errors = [each for each in done if not isinstance(each, int)]
        print(len(done) - len(errors), *sorted({getattr(each, "code", repr(each)) for each in errors}))
    finally:
        store.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def append(path: Path, name: str, count: int, *, size: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", APPENDER, str(path), name, str(count), str(size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def verified(path: Path) -> Verified:
    with opened(path) as store, store.snapshot() as connection:
        return verify(connection)


async def test_two_stores_on_one_file_keep_indexes_gapless(path: Path) -> None:
    keyring = Keyring.create(path.parent / "k.json")
    with opened(path):
        pass
    stores = [SqliteStore(parse_url(f"sqlite:///{path.name}", path.parent)) for _ in range(2)]
    ledgers = [Ledger(store, keyring, lambda: datetime.now(UTC), clock_tolerance_s=5) for store in stores]
    try:
        for store, ledger in zip(stores, ledgers, strict=True):
            store.open(ledger)

        async def record(ledger: Ledger, number: int) -> int | None:
            await asyncio.sleep(number % 7 / 1000)
            return await ledger.record(Kind.CONTROL, control("t", "r", "c", str(number), "x", at=datetime.now(UTC)))

        indexes = await asyncio.gather(*(record(ledger, number) for number in range(150) for ledger in ledgers))
    finally:
        for store in stores:
            store.close()
    assert sorted(index for index in indexes if index is not None) == list(range(300))
    assert verified(path).size == 300


def test_two_processes_on_one_file_keep_indexes_gapless(path: Path) -> None:
    Keyring.create(path.parent / "k.json")
    with opened(path):
        pass
    running = [append(path, name, 300) for name in ("one", "two")]
    assert [process.communicate(timeout=60)[0].split() for process in running] == [["300"], ["300"]]
    assert verified(path).kinds == {"control": 600}


# --- what may go wrong with a file -----------------------------------------------------------------


def test_a_full_disk_loses_nothing_that_was_reported(path: Path) -> None:
    Keyring.create(path.parent / "k.json")
    with opened(path):
        pass
    out, _ = append(path, "full", 2_000, size=600_000).communicate(timeout=60)
    written, *codes = out.split()
    assert codes == ["store_unavailable"]
    assert verified(path).size == int(written) < 2_000
    out, _ = append(path, "free", 10).communicate(timeout=60)
    assert out.split() == ["10"], "with space again the ledger goes on"
    assert verified(path).size == int(written) + 10


async def test_a_database_that_may_only_be_read_is_refused_or_refuses_writes(path: Path) -> None:
    with opened(path):
        pass
    with pytest.raises(StoreUnavailable), opened(path, f"sqlite:///file:{path.name}?mode=ro&uri=true") as store:
        await store.write(add("x"))
    assert names(path) == set()


async def test_a_database_locked_by_another_is_unavailable_until_it_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_sqlite, "BUSY_TIMEOUT_MS", 50)
    with opened(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(store.write(add(f"n{n}")) for n in range(5)), return_exceptions=True)
        assert [type(each) for each in results] == [StoreUnavailable] * 5
        assert "SQLITE_BUSY" in str(results[0])
        assert await store.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM meta").scalar()) == 0
        with pytest.raises(StoreUnavailable), opened(path):
            pass
        other.execute("ROLLBACK")
        assert await store.write(add("free")) == "free"
    assert names(path) == {"free"}


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"these are minutes of a meeting\n" * 200)
    with pytest.raises(StoreUnavailable, match="SQLITE_NOTADB"), opened(path):
        pass


def test_a_folder_that_is_missing_is_unavailable(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"), opened(path.parent / "nowhere" / "s.db"):
        pass


# --- addresses -------------------------------------------------------------------------------------

BAD_URLS = {
    "nothing": "",
    "no URL": "qaqpa.db",
    "another database": "postgresql://localhost/qaqpa",
    "another database with a rubbish port": "postgresql://localhost:abc/qaqpa",
    "no file": "sqlite://",
    "memory": "sqlite:///:memory:",
    "memory as a URI": "sqlite:///file::memory:?uri=true",
    "memory by its mode": "sqlite:///file:x?mode=memory&uri=true",
    "a host": "sqlite://host/qaqpa.db",
    "a driver that is not there": "sqlite+nonsense:///qaqpa.db",
    "an asynchronous driver": "sqlite+aiosqlite:///qaqpa.db",
    "a time-out that is no number": "sqlite:///qaqpa.db?timeout=soon",
    "an option that SQLite does not know": "sqlite:///qaqpa.db?colour=red",
}


@pytest.mark.parametrize("text", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_bad_address_is_not_configured(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotConfigured, match=r"store\.url"), opened(tmp_path / "x", text or " "):
        pass
    assert list(tmp_path.iterdir()) == []


# --- schema ----------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables_of_the_schema(store: SqliteStore) -> None:
    with store.snapshot() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == head()


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


OTHER_SCHEMAS = {
    "a newer revision": ("UPDATE alembic_version SET version_num = '9999'",),
    "no revision beside tables": ("DELETE FROM alembic_version",),
    "two revisions": ("INSERT INTO alembic_version VALUES ('0000')",),
    "tables of somebody else": ("DROP TABLE alembic_version", "CREATE TABLE theirs (id INTEGER)"),
}


@pytest.mark.parametrize("statements", OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS.keys())
def test_another_schema_is_refused(path: Path, statements: tuple[str, ...]) -> None:
    with opened(path):
        pass
    run_sql(path, *statements)
    with pytest.raises(SchemaMismatch), opened(path):
        pass


@pytest.mark.parametrize("statements", OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS.keys())
def test_a_schema_that_cannot_be_upgraded_is_left_as_it_is(path: Path, statements: tuple[str, ...]) -> None:
    with opened(path):
        pass
    run_sql(path, *statements)
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    with pytest.raises(SchemaMismatch):
        SqliteStore(parse_url(f"sqlite:///{path.name}", path.parent)).migrate()
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


def test_an_older_schema_is_refused_and_told_to_migrate(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path):
        pass
    monkeypatch.setattr("qaqpa.store.migrate.head", lambda: "next")
    with pytest.raises(SchemaMismatch, match="`qaqpa migrate`"), opened(path):
        pass


async def test_migrate_on_the_command_line(house: House) -> None:
    async with house.gateway():
        pass
    ran = await house.cli("migrate")
    assert (ran.code, f"the schema is at {head()}" in ran.out + ran.err) == (0, True)
    run_sql(house.home / "qaqpa.db", "UPDATE alembic_version SET version_num = '9999'")
    ran = await house.cli("migrate")
    assert ran.code == 5 and "9999" in ran.err
