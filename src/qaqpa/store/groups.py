"""Units of work that share a durable transaction: run one after another, committed as one, each told its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, TypeVar

from qaqpa import metrics
from qaqpa.errors import StoreUnavailable
from qaqpa.store.connection import Connection, Engine

Result = TypeVar("Result")
Unit = Callable[[Connection], Result]
"""Work inside a transaction. It may be run again after a roll-back, so it has no effect but on the connection."""

GROUP = 256
"""At most this many units share a transaction."""


class Writes(Protocol):
    """What the ledger does around every transaction that writes."""

    def begin(self, connection: Connection) -> None:
        """A transaction has begun, or has been rolled back and begun again."""

    def flush(self, connection: Connection) -> None:
        """All units have run; the transaction is about to be committed."""


@dataclass(slots=True)
class Waiting:
    """A unit and who waits for it."""

    unit: Unit[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    alone: bool = False
    since: float = field(default_factory=perf_counter)
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    """Committed, or failed by itself: nothing that happens to others changes that."""


def settle(group: Iterable[Waiting]) -> None:
    """Tell everybody who still waits, in their own event loop."""
    for waiting in group:
        if waiting.future.done():  # the waiting task was cancelled; what is committed stays committed
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)


def unavailable(engine: Engine, error: Exception) -> StoreUnavailable:
    """Our error for the database's; only the database's own name of the cause is repeated."""
    return StoreUnavailable(
        f"the database cannot be used ({engine.cause(error)}): look at free space, permissions, the disk and "
        "the server; nothing was sent"
    )


class Groups:
    """Writes groups of units through one connection, which it makes when needed and again after it broke."""

    def __init__(self, engine: Engine, writes: Writes | None) -> None:
        self._engine = engine
        self._writes = writes
        self._connection: Connection | None = None
        self.commit_s = 0.0
        """Seconds that the last commit took."""

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            with suppress(*self._engine.failures):
                self._connection.close()
            self._connection = None

    def write(self, group: list[Waiting], *, wait: bool = True) -> bool:
        """Whether the group is over: each unit committed, or failed with its error noted.

        Without `wait`, False says that nothing was done: another writer was at it, or one of several units failed.
        """
        try:
            connection = self._connection = self._connection or self._engine.connect(waits=wait)
            if not wait and not connection.try_begin():
                return False
            if not self._commit(connection, group, begun=not wait):
                if not wait:
                    return False
                # One unit failed: each now gets a transaction of its own, so that the others are not lost with it.
                for waiting in group:
                    self._commit(connection, [waiting])
        except BaseException as error:  # noqa: BLE001 - whatever happened, every waiting task must hear of it
            mapped = self._mapped(error)
            for waiting in group:
                waiting.error = waiting.error if waiting.done else mapped
            with suppress(Exception):  # a connection that cannot even be closed is let go
                self.close()
            self._connection = None
        return True

    def tidy(self) -> None:
        """What the engine wants done now and then between transactions."""
        with suppress(*self._engine.failures):
            self._connection = self._connection or self._engine.connect()
            self._connection.tidy()

    def _mapped(self, error: BaseException) -> BaseException:
        if isinstance(error, self._engine.failures):
            return unavailable(self._engine, error)
        if isinstance(error, StopIteration | StopAsyncIteration):  # a future cannot carry these
            return RuntimeError(f"a unit of work ran out of an iterator ({type(error).__name__})")
        return error

    def _commit(self, connection: Connection, group: list[Waiting], *, begun: bool = False, again: bool = True) -> bool:
        """Whether the group is settled: committed, or a single unit that failed by itself."""
        if not begun:
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
            if again and isinstance(error, self._engine.outdated):
                return self._commit(connection, group, again=False)
            if len(group) > 1 and not isinstance(error, self._engine.waits):
                return False
            for waiting in group:
                waiting.error = self._mapped(error)
        else:
            self.commit_s = perf_counter() - committing
            metrics.COMMITS.observe(self.commit_s)
            metrics.GROUPS.observe(len(group))
            metrics.QUEUED.observe(committing - group[0].since)
        for waiting in group:
            waiting.done = True
        return True
