"""SQLite: one writer thread groups waiting writes into one durable transaction (WAL, synchronous=FULL).

A write is done when it is on disk, not before. Reads run on a connection of their own and never wait for
the writer. Several processes may share the file; the transaction's lock keeps indexes gapless.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.store.migrate import head, prepare, upgrade

Result = TypeVar("Result")
Unit = Callable[[Connection], Result]
"""Work inside a transaction. It may be run again after a roll-back, so it has no effect but on the connection."""

GROUP = 256
"""At most this many units share a transaction."""
BUSY_TIMEOUT_MS = 5_000


class Writes(Protocol):
    """What the ledger does around every transaction of the writer."""

    def begin(self, connection: Connection) -> None:
        """A transaction has begun, or has been rolled back and begun again."""

    def flush(self, connection: Connection) -> None:
        """All units have run; the transaction is about to be committed."""


@dataclass(slots=True)
class _Waiting:
    unit: Unit[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    """Committed, or failed by itself: nothing that happens to others changes that."""

    def settle(self) -> None:
        if self.future.done():  # the waiting task was cancelled; what is committed stays committed
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def _settle(group: list[_Waiting]) -> None:
    for waiting in group:
        waiting.settle()


def _mapped(error: BaseException) -> BaseException:
    if isinstance(error, SQLAlchemyError):
        return store_error(error)
    if isinstance(error, StopIteration | StopAsyncIteration):  # a future cannot carry these
        return RuntimeError(f"a unit of work ran out of an iterator ({type(error).__name__})")
    return error


def store_error(error: SQLAlchemyError) -> StoreUnavailable:
    """Our error for the database's; only its class and SQLite's own name of the cause are repeated."""
    cause = getattr(error, "orig", None)
    name = getattr(cause, "sqlite_errorname", None) or type(cause or error).__name__
    return StoreUnavailable(
        f"the database cannot be used ({name}): look at free space, permissions and the disk; nothing was sent"
    )


def parse_url(text: str, home: Path) -> URL:
    """The database's URL; a relative path lies in `home`. Raises NotConfigured for what is no SQLite file's URL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = make_url("none://")
    database = url.database or ""
    plain = url.drivername in {"sqlite", "sqlite+pysqlite"} and not (url.host or url.port or url.username)
    options = dict(url.query)
    modes = options.pop("mode", "rw") in {"ro", "rw", "rwc"} and options.pop("uri", "true") == "true"
    if not (plain and modes and not options) or database in {"", ":memory:", "file:", "file::memory:"}:
        raise NotConfigured("store.url must name an SQLite file, e.g. sqlite:///qaqpa.db")
    if database.startswith("file:"):
        return url.set(database=f"file:{home / database.removeprefix('file:')}")
    return url.set(database=str(home / database))


class SqliteStore:
    """One database file. Use `open` and `close`; a process needs one."""

    def __init__(self, url: URL) -> None:
        self._engine = self._make_engine(url)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reader: Connection | None = None
        self._writes: Writes | None = None

    @staticmethod
    def _make_engine(url: URL) -> Engine:
        engine = create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # transactions are begun below, not by the driver
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")  # a commit is on disk before it is reported
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA secure_delete = ON")  # deleted keys must not stay in free pages
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            mode = connection.get_execution_options().get("begin", "IMMEDIATE")
            if mode is not None:  # a single query is a transaction by itself
                connection.exec_driver_sql(f"BEGIN {mode}")

        return engine

    def open(self, writes: Writes | None = None) -> None:
        """Prepare the schema and start the writer. Raises StoreUnavailable or SchemaMismatch."""
        self._writes = writes
        self._make_private()
        try:
            with self._engine.begin() as connection:
                prepare(connection)
            self._reader = self._engine.connect().execution_options(begin=None)
        except SQLAlchemyError as error:
            raise store_error(error) from error
        self._thread = threading.Thread(target=self._write_groups, name="qaqpa-writer", daemon=True)
        self._thread.start()

    def _make_private(self) -> None:
        """A new database belongs to its owner alone; SQLite gives its side files the same mode."""
        if self._engine.url.query.get("mode") == "ro":
            return
        path = str(self._engine.url.database).removeprefix("file:")
        try:
            # Only ever a file that is not there yet: closing any descriptor of an open database would drop the locks
            # that this process holds on it (POSIX), and another process could then delete its write-ahead log.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StoreUnavailable(
                f"the database cannot be opened ({error.strerror}): look at the folder and its permissions; "
                "nothing was sent"
            ) from None

    def migrate(self) -> str:
        """Bring the schema to this version's in one transaction; returns its revision."""
        try:
            with self._engine.begin() as connection:
                upgrade(connection)
        except SQLAlchemyError as error:
            raise store_error(error) from error
        return head()

    def close(self) -> None:
        """Finish what is queued and let go of the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._engine.dispose()

    # --- reading ---------------------------------------------------------------------------------

    async def read(self, query: Unit[Result]) -> Result:
        """Run one short query on the state as last committed."""
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        try:
            with self._reader.begin():
                return query(self._reader)
        except SQLAlchemyError as error:
            raise store_error(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection with one unchanging view, for long reads (verification, listing)."""
        try:
            with self._engine.connect().execution_options(begin="DEFERRED") as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise store_error(error) from error

    # --- writing ---------------------------------------------------------------------------------

    async def write(self, unit: Unit[Result]) -> Result:
        """Run `unit` in a transaction that it may share with others; returns when it is durable.

        Raises what `unit` raises (its changes are undone, the others' are not) or StoreUnavailable.
        """
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Waiting(unit, loop, future))
        return await future

    def _write_groups(self) -> None:
        stopping = False
        connection: Connection | None = None
        while not stopping:
            group: list[_Waiting] = []
            first = self._queue.get()
            stopping = first is None
            if first is not None:
                group.append(first)
            while len(group) < GROUP and not stopping:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                stopping = following is None
                if following is not None:
                    group.append(following)
            if group:
                connection = self._write_group(connection, group)
        if connection is not None:
            connection.close()

    def _write_group(self, connection: Connection | None, group: list[_Waiting]) -> Connection | None:
        try:
            connection = connection or self._engine.connect()
            if not self._commit(connection, group):
                # One unit failed: each now gets a transaction of its own, so that the others are not lost with it.
                for waiting in group:
                    self._commit(connection, [waiting])
        except BaseException as error:  # noqa: BLE001 - whatever happened, every waiting task must hear of it
            mapped = _mapped(error)
            for waiting in group:
                waiting.error = waiting.error if waiting.done else mapped
            if connection is not None:
                with suppress(Exception):  # a connection that cannot even be closed is let go
                    connection.close()
                connection = None
        for loop in {waiting.loop for waiting in group}:
            mine = [waiting for waiting in group if waiting.loop is loop]
            with suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, mine)
        return connection

    def _commit(self, connection: Connection, group: list[_Waiting]) -> bool:
        """Whether the group is settled: committed, or a single unit that failed by itself."""
        transaction = connection.begin()
        try:
            if self._writes is not None:
                self._writes.begin(connection)
            for waiting in group:
                waiting.result = waiting.unit(connection)
            if self._writes is not None:
                self._writes.flush(connection)
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - a unit may fail in any way; only its own caller is to hear of it
            transaction.rollback()
            if len(group) > 1:
                return False
            group[0].error = _mapped(error)
        for waiting in group:
            waiting.done = True
        return True
