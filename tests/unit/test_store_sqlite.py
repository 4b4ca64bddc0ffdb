"""What is about SQLite's file alone: its disk, its mode, its address."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.keys import Keyring
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.identifiers import uuid7
from qaqpa.store import Connection, Store, store_at
from qaqpa.store.connection import Claim
from qaqpa.store.sqlite import SqliteEngine


@contextmanager
def opened(path: Path, text: str | None = None) -> Iterator[Store]:
    with closing(store_at(text or f"sqlite:///{path.name}", path.parent)) as store:
        store.open()
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def verified(path: Path) -> Verified:
    with opened(path) as store, store.snapshot() as connection:
        return verify(connection)


APPENDER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger
from qaqpa.ledger.entries import Kind, control
from qaqpa.store import store_at

async def main(path, count, size):
    store = store_at(f"sqlite:///{path.name}", path.parent)
    ledger = Ledger(store, Keyring.load(path.parent / "k.json"), lambda: datetime.now(UTC), clock_tolerance_s=5)
    store.open(ledger)
    try:
        if size:  # a full disk, for this process alone
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        one = lambda n: ledger.record(Kind.CONTROL, control("test", "r", "c", str(n), "r" * 500, at=datetime.now(UTC)))
        done = await asyncio.gather(*(one(n) for n in range(count)), return_exceptions=True)
        errors = [each for each in done if not isinstance(each, int)]
        print(len(done) - len(errors), *sorted({getattr(each, "code", repr(each)) for each in errors}))
    finally:
        store.close()

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""


def append(path: Path, count: int, *, size: int = 0) -> list[str]:
    command = [sys.executable, "-c", APPENDER, str(path), str(count), str(size)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def test_a_full_disk_loses_nothing_that_was_reported(path: Path) -> None:
    Keyring.create(path.parent / "k.json")
    with opened(path):
        pass
    written, *codes = append(path, 2_000, size=600_000)
    assert codes == ["store_unavailable"]
    assert verified(path).size == int(written) < 2_000
    assert append(path, 10) == ["10"], "with space again the ledger goes on"
    assert verified(path).size == int(written) + 10


def test_a_new_database_is_its_owners_alone(path: Path) -> None:
    with opened(path):
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.glob("s.db*")}
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"these are minutes of a meeting\n" * 200)
    with pytest.raises(StoreUnavailable, match="SQLITE_NOTADB"), opened(path):
        pass


def test_a_folder_that_is_missing_is_unavailable(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"), opened(path.parent / "nowhere" / "s.db"):
        pass


def test_a_file_that_is_not_there_is_not_made_by_looking_for_it(path: Path) -> None:
    assert not store_at(f"sqlite:///{path.name}", path.parent).exists()
    assert list(path.parent.iterdir()) == []


BAD_URLS = {
    "nothing": "",
    "no URL": "qaqpa.db",
    "another database": "mysql://localhost/qaqpa",
    "another database with a rubbish port": "mysql://localhost:abc/qaqpa",
    "no file": "sqlite://",
    "memory": "sqlite:///:memory:",
    "memory as a URI": "sqlite:///file::memory:?uri=true",
    "memory by its mode": "sqlite:///file:x?mode=memory&uri=true",
    "a host": "sqlite://host/qaqpa.db",
    "a driver that is not there": "sqlite+nonsense:///qaqpa.db",
    "an asynchronous driver": "sqlite+aiosqlite:///qaqpa.db",
    "a time-out that is no number": "sqlite:///qaqpa.db?timeout=soon",
    "an option that SQLite does not know": "sqlite:///qaqpa.db?colour=red",
    "PostgreSQL without a database": "postgresql://localhost",
    "PostgreSQL with a rubbish option": "postgresql://localhost/qaqpa?colour=red",
    "PostgreSQL without slashes": "postgresql:qaqpa",
    "PostgreSQL by an asynchronous driver": "postgresql+asyncpg://localhost/qaqpa",
}


@pytest.mark.parametrize("text", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_bad_address_is_not_configured(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotConfigured, match=r"store\.url"), opened(tmp_path / "x", text or " "):
        pass
    assert list(tmp_path.iterdir()) == []


def _writers_thread(connection: Connection) -> int:
    connection.execute("INSERT INTO meta (name, value) VALUES (?, 'x')", (uuid7(),))
    return threading.get_ident()


async def test_a_short_commit_runs_in_the_loop_and_what_would_hold_it_up_does_not(path: Path) -> None:
    here = threading.get_ident()
    with opened(path) as store:
        assert await store.write(_writers_thread) == here
        assert await store.write(_writers_thread, long=True) != here
        assert await store.write(_writers_thread, alone=True) != here
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.create_task(store.write(_writers_thread)) for _ in range(3)]
            started, longest = time.perf_counter(), 0.0
            for _ in range(20):
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                longest = max(longest, time.perf_counter() - before)
            assert not any(task.done() for task in waiting)
            assert longest < (time.perf_counter() - started) / 2, "the loop stood still while another process wrote"
            other.execute("ROLLBACK")
        assert here not in await asyncio.gather(*waiting)
        assert await store.write(_writers_thread) == here


async def test_after_a_slow_commit_the_thread_commits_for_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    monkeypatch.setattr("qaqpa.store.store._SLOW_COMMIT_S", 0.0)
    monkeypatch.setattr("qaqpa.store.store._IN_THREAD_FOR_S", 0.2)
    with opened(path) as store:
        assert await store.write(_writers_thread) == here
        assert await store.write(_writers_thread) != here
        await asyncio.sleep(0.25)
        assert await store.write(_writers_thread) == here


@pytest.mark.parametrize("every", [50, 10_000])
async def test_the_log_does_not_grow_though_the_loop_commits(
    path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr("qaqpa.store.store._TIDY_EVERY", every)
    with opened(path) as store:
        for number in range(600):
            await store.write(_writers_thread)
            if number % 50 == 0:
                await store.write(_writers_thread, long=True)  # comes after the tidying, in the same thread
        size = path.with_name("s.db-wal").stat().st_size
    assert (size < 2 * 2**20) == (every == 50), size


def test_who_looks_for_the_dead_never_takes_the_living_for_dead(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, lock, looked = SqliteEngine(f"sqlite:///{path.name}", path.parent), fcntl.flock, list[Claim]()

    def after_somebody_looked(descriptor: int, how: int) -> None:
        if not looked:  # between making the file and locking it
            monkeypatch.undo()
            looked.append(engine.claim())
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", after_somebody_looked)
    claims = [engine.claim(), *looked]
    assert len(claims) == 2 and all(engine.lives(claim.number) for claim in claims)
    for claim in claims:
        claim.release()
        assert not engine.lives(claim.number)
    assert list(path.parent.iterdir()) == []
