"""One writer thread groups waiting writes into one durable transaction; reads never wait for it.

A write is done when it is on disk, not before. Several processes may share the database.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, TypeVar

from qaqpa import metrics
from qaqpa.errors import NotPossible, StoreUnavailable
from qaqpa.store.connection import Connection, Engine

Result = TypeVar("Result")
Unit = Callable[[Connection], Result]
"""Work inside a transaction. It may be run again after a roll-back, so it has no effect but on the connection."""

GROUP = 256
"""At most this many units share a transaction."""


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
    alone: bool = False
    since: float = field(default_factory=perf_counter)
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


class Store:
    """A database. Use `open` and `close`; a process needs one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reader: Connection | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._readers: list[Connection] = []
        self._writes: Writes | None = None

    def open(self, writes: Writes | None = None) -> None:
        """Prepare the schema and start the writer. Raises StoreUnavailable or SchemaMismatch."""
        self._writes = writes
        try:
            self.engine.prepare()
            if self.engine.readers:
                self._pool = ThreadPoolExecutor(self.engine.readers, thread_name_prefix="qaqpa-reader")
            else:
                self._reader = self.engine.connect()
        except self.engine.failures as error:
            raise self._unavailable(error) from error
        self._thread = threading.Thread(target=self._write_groups, name="qaqpa-writer", daemon=True)
        self._thread.start()

    def exists(self) -> bool:
        """Whether there is a database of ours to read, without making one."""
        try:
            return self.engine.exists()
        except self.engine.failures as error:
            raise self._unavailable(error) from error

    def migrate(self) -> str:
        """Bring the schema to this version's in one transaction; returns its revision."""
        try:
            return self.engine.migrate()
        except self.engine.failures as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Finish what is queued and let go of the database."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for reader in [*self._readers, *([self._reader] if self._reader else [])]:
            with suppress(*self.engine.failures):
                reader.close()
        self._readers.clear()
        self._reader = None

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        """Our error for the database's; only the database's own name of the cause is repeated."""
        return StoreUnavailable(
            f"the database cannot be used ({self.engine.cause(error)}): look at free space, permissions, the disk and "
            "the server; nothing was sent"
        )

    def _mapped(self, error: BaseException) -> BaseException:
        if isinstance(error, self.engine.failures):
            return self._unavailable(error)
        if isinstance(error, StopIteration | StopAsyncIteration):  # a future cannot carry these
            return RuntimeError(f"a unit of work ran out of an iterator ({type(error).__name__})")
        return error

    # --- reading ---------------------------------------------------------------------------------

    async def read(self, query: Unit[Result]) -> Result:
        """Run one short query on the state as last committed."""
        if self._pool is not None:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_in_thread, query)
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        try:
            return query(self._reader)
        except self.engine.failures as error:
            raise self._unavailable(error) from error

    def _read_in_thread(self, query: Unit[Result]) -> Result:
        connection: Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self.engine.connect()
                self._readers.append(connection)
            return query(connection)
        except self.engine.failures as error:
            self._local.connection = None  # a broken connection is not asked again
            if connection is not None:
                self._readers.remove(connection)
                with suppress(*self.engine.failures):
                    connection.close()
            raise self._unavailable(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection with one unchanging view, for long reads (verification, listing, back-ups)."""
        try:
            connection = self.engine.connect(patient=True)
            try:
                connection.begin("snapshot")
                yield connection
                connection.rollback()
            finally:
                connection.close()
        except self.engine.failures as error:
            raise self._unavailable(error) from error

    @contextmanager
    def filled(self) -> Iterator[Connection]:
        """A connection that fills a new, empty database in one transaction. Raises NotPossible for one in use."""
        try:
            self.engine.prepare()
            connection = self.engine.connect(patient=True)
            try:
                connection.begin("alone")
                if connection.execute("SELECT size FROM tree WHERE id = 1").scalar():
                    raise NotPossible(
                        [f"{self.engine.describe()}: holds entries; move it away, or give store.url an empty database"]
                    )
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
            finally:
                connection.close()
        except self.engine.failures as error:
            raise self._unavailable(error) from error

    # --- writing ---------------------------------------------------------------------------------

    async def write(self, unit: Unit[Result], *, alone: bool = False) -> Result:
        """Run `unit` in a transaction that it may share with others; returns when it is durable.

        `alone` is for what forbids (a suspension, a withdrawal, an erasure): no other writer of any process runs beside
        it, so whoever looks afterwards, in a transaction of its own, sees it. Raises what `unit` raises (its changes
        are undone, the others' are not) or StoreUnavailable.
        """
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Waiting(unit, loop, future, alone))
        return await future

    def _write_groups(self) -> None:
        connection: Connection | None = None
        held: _Waiting | None = None
        stopping = False
        while not stopping or held is not None:
            first, held = held if held is not None else self._queue.get(), None
            if first is None:
                break
            group = [first]
            while not first.alone and len(group) < GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    stopping = True
                    break
                if following.alone:
                    held = following
                    break
                group.append(following)
            connection = self._write_group(connection, group)
        if connection is not None:
            with suppress(*self.engine.failures):
                connection.close()

    def _write_group(self, connection: Connection | None, group: list[_Waiting]) -> Connection | None:
        try:
            connection = connection or self.engine.connect()
            if not self._commit(connection, group):
                # One unit failed: each now gets a transaction of its own, so that the others are not lost with it.
                for waiting in group:
                    self._commit(connection, [waiting])
        except BaseException as error:  # noqa: BLE001 - whatever happened, every waiting task must hear of it
            mapped = self._mapped(error)
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

    def _commit(self, connection: Connection, group: list[_Waiting], *, again: bool = True) -> bool:
        """Whether the group is settled: committed, or a single unit that failed by itself."""
        connection.begin("alone" if group[0].alone else "write")
        try:
            if self._writes is not None:
                self._writes.begin(connection)
            for waiting in group:
                waiting.result = waiting.unit(connection)
            if self._writes is not None:
                self._writes.flush(connection)
            committing = perf_counter()
            connection.commit()
        except Exception as error:  # noqa: BLE001 - a unit may fail in any way; only its own caller is to hear of it
            connection.rollback()  # raises when the connection is broken: then the whole group hears of that
            if again and isinstance(error, self.engine.outdated):
                return self._commit(connection, group, again=False)
            if len(group) > 1 and not isinstance(error, self.engine.waits):
                return False
            for waiting in group:
                waiting.error = self._mapped(error)
        else:
            metrics.COMMITS.observe(perf_counter() - committing)
            metrics.GROUPS.observe(len(group))
            metrics.QUEUED.observe(committing - group[0].since)
        for waiting in group:
            waiting.done = True
        return True
