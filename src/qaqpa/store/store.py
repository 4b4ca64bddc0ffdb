"""Waiting writes are grouped into one durable transaction; reads never wait for it.

A write is done when it is on disk, not before. Several processes may share the database. A thread writes; where a
commit is as short as a read (SQLite on a healthy disk), the event loop itself does, because handing work to a thread
and back costs more than the work. What would hold the loop up is the thread's: long work, another process's
transaction, a slow disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from time import perf_counter

from qaqpa.errors import NotPossible, StoreUnavailable
from qaqpa.store.connection import Connection, Engine
from qaqpa.store.groups import GROUP, Groups, Result, Unit, Waiting, Writes, settle, unavailable

_SLOW_COMMIT_S = 0.02
"""A commit that took longer held the event loop up; for a while the thread commits."""
_IN_THREAD_FOR_S = 5.0
_READERS_ASIDE = 1
"""Threads for long reads where short ones run in the loop: who waits for a list waits for one before it."""
_TIDY_EVERY = 2_000
"""Units."""


class _Order(Enum):
    """What the thread is told beside units."""

    TIDY = "tidy"
    STOP = "stop"


class Store:
    """A database. Use `open` and `close`; a process needs one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._queue: queue.SimpleQueue[Waiting | _Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reader: Connection | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._readers: list[Connection] = []
        self._writes: Writes | None = None
        self._here: list[Waiting] = []
        """What the event loop commits next."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that commits."""
        self._in_loop: Groups | None = None
        self._in_thread_until = 0.0
        self._untidied = 0

    def open(self, writes: Writes | None = None) -> None:
        """Prepare the schema and start the writer. Raises StoreUnavailable or SchemaMismatch."""
        self._writes = writes
        try:
            self.engine.prepare()
            threads = self.engine.readers or _READERS_ASIDE
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qaqpa-reader")
            if not self.engine.readers:
                self._reader = self.engine.connect()
        except self.engine.failures as error:
            raise unavailable(self.engine, error) from error
        if self.engine.commits_in_loop:
            self._in_loop = Groups(self.engine, writes)
        self._thread = threading.Thread(target=self._write_in_thread, name="qaqpa-writer", daemon=True)
        self._thread.start()

    def exists(self) -> bool:
        """Whether there is a database of ours to read, without making one."""
        try:
            return self.engine.exists()
        except self.engine.failures as error:
            raise unavailable(self.engine, error) from error

    def migrate(self) -> str:
        """Bring the schema to this version's in one transaction; returns its revision."""
        try:
            return self.engine.migrate()
        except self.engine.failures as error:
            raise unavailable(self.engine, error) from error

    def close(self) -> None:
        """Finish what is queued and let go of the database."""
        for waiting in self._here:
            self._queue.put(waiting)
        self._here.clear()
        if self._in_loop is not None:
            self._in_loop.close()
            self._in_loop = self._loop = None
        if self._thread is not None:
            self._queue.put(_Order.STOP)
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

    # --- reading ---------------------------------------------------------------------------------

    async def read(self, query: Unit[Result]) -> Result:
        """Run one short query on the state as last committed."""
        if self._reader is None:
            return await self.read_aside(query)
        try:
            return query(self._reader)
        except self.engine.failures as error:
            raise unavailable(self.engine, error) from error

    async def read_aside(self, query: Unit[Result]) -> Result:
        """The same for what takes longer, as a page of a file does: never in the event loop."""
        if self._pool is None:
            raise StoreUnavailable("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_in_thread, query)

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
            raise unavailable(self.engine, error) from error

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
            raise unavailable(self.engine, error) from error

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
            raise unavailable(self.engine, error) from error

    def write_once(self, unit: Unit[Result]) -> Result:
        """Run `unit` in a transaction of its own, for a command that opens no store. Raises StoreUnavailable."""
        try:
            connection = self.engine.connect()
            try:
                connection.begin("write")
                try:
                    done = unit(connection)
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
                return done
            finally:
                connection.close()
        except self.engine.failures as error:
            raise unavailable(self.engine, error) from error

    # --- writing ---------------------------------------------------------------------------------

    async def write(self, unit: Unit[Result], *, alone: bool = False, long: bool = False) -> Result:
        """Run `unit` in a transaction that it may share with others; returns when it is durable.

        `long` is for what takes more than a millisecond or two: it never runs in the event loop.

        `alone` is for what forbids (a suspension, a withdrawal, an erasure): no other writer of any process runs beside
        it, so whoever looks afterwards, in a transaction of its own, sees it. Raises what `unit` raises (its changes
        are undone, the others' are not) or StoreUnavailable.
        """
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        waiting = Waiting(unit, loop, future, alone)
        if self._commits_in(loop) and not (alone or long) and waiting.since >= self._in_thread_until:
            self._here.append(waiting)
            if len(self._here) == 1:
                loop.call_soon(self._write_here)
        else:
            self._queue.put(waiting)
        return await future

    def _commits_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self._in_loop is not None and (self._loop is None or self._loop.is_closed()):
            self._loop = loop
        return self._loop is loop

    def _write_here(self) -> None:
        group, self._here = self._here[:GROUP], self._here[GROUP:]
        if self._here and self._loop is not None:
            self._loop.call_soon(self._write_here)
        if self._in_loop is None or not group:
            return
        if not self._in_loop.write(group, wait=False):
            for waiting in group:
                self._queue.put(waiting)
            return
        if self._in_loop.commit_s > _SLOW_COMMIT_S:
            self._in_thread_until = perf_counter() + _IN_THREAD_FOR_S
        self._untidied += len(group)
        if self._untidied >= _TIDY_EVERY:
            self._untidied = 0
            self._queue.put(_Order.TIDY)
        settle(group)

    def _write_in_thread(self) -> None:
        groups = Groups(self.engine, self._writes)
        held: Waiting | _Order | None = None
        while (first := held or self._queue.get()) is not _Order.STOP:
            held = None
            if not isinstance(first, Waiting):
                groups.tidy()
                continue
            group = [first]
            while not first.alone and len(group) < GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if not isinstance(following, Waiting) or following.alone:
                    held = following
                    break
                group.append(following)
            groups.write(group)
            for loop in {waiting.loop for waiting in group}:
                mine = [waiting for waiting in group if waiting.loop is loop]
                with suppress(RuntimeError):  # its loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, mine)
        groups.close()
