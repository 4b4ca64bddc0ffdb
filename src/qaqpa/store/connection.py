"""What a unit of work is given: SQL with `?` on either engine, run as it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

Row = tuple[Any, ...]
Dialect = Literal["sqlite", "postgresql"]

LOCK_TIMEOUT_MS = 5_000
"""Longest wait for a lock that another process holds."""
STATEMENT_TIMEOUT_MS = 30_000
"""Longest run of one statement; reading through the whole ledger (`snapshot`) has none."""


class Cursor(Protocol):
    """What both drivers' cursors have."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Rows:
    """The rows that a statement answered with."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def first(self) -> Row | None:
        """The first row, if there is one."""
        row: Row | None = self._cursor.fetchone()
        return row

    def one(self) -> Row:
        """The row that must be there. Raises LookupError."""
        row = self.first()
        if row is None:
            raise LookupError("a row that must be there is missing")
        return row

    def scalar(self) -> Any:
        """The first column of the first row, None without one."""
        row = self.first()
        return None if row is None else row[0]

    def all(self) -> list[Row]:
        """Every row."""
        return self._cursor.fetchall()


EntryRow = tuple[int, str, str, str | None, str | None, str | None, str, bytes, bytes]
"""One entry as it is stored: month (of its time, as 202611), request, kind, subject, caller, recipient, time, leaf,
body. Its index is given by the store."""


class Connection(ABC):
    """A connection of one engine. Beginning and ending transactions is the store's business."""

    dialect: ClassVar[Dialect]

    @abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run one statement."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each row of values; returns how many rows of the table it changed in all."""

    @abstractmethod
    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a long query, in bounded memory inside a transaction."""

    @abstractmethod
    def append(self, rows: Sequence[EntryRow], last_time: str, *, moved_back: bool) -> int:
        """Give the entries the next indexes without a gap; returns the first.

        The time of the last authorising entry becomes `last_time`, unless a later one stands and no person moved it
        back.
        """

    @abstractmethod
    def make_month(self, month: int) -> None:
        """Room for the bodies of a month."""

    @abstractmethod
    def drop_month(self, month: int) -> bool:
        """Delete the bodies of a month; False, with nothing deleted, while somebody reads the ledger for long."""

    @abstractmethod
    def try_lock(self, key: int) -> bool:
        """Take a lock until the transaction ends, if nobody holds it. With one writer (SQLite) it is always free."""

    @abstractmethod
    def is_damage(self, error: Exception) -> bool:
        """Whether the error says that what stands in the database is not what belongs there (a table that is gone,
        a value of another type), and not that the database cannot be reached."""

    @abstractmethod
    def begin(self, mode: Literal["write", "alone", "snapshot"]) -> None:
        """Begin a transaction: one writer's among others, one that no other writer overlaps, or one unchanging view."""

    @abstractmethod
    def try_begin(self) -> bool:
        """Begin a writer's transaction unless another writer is at it; whether it has begun."""

    @abstractmethod
    def tidy(self) -> None:
        """Between transactions: what the engine wants done now and then."""

    @abstractmethod
    def commit(self) -> None:
        """End the transaction; what it wrote is durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the transaction."""

    @abstractmethod
    def close(self) -> None:
        """Let go."""


class Claim(Protocol):
    """A gateway's sign that it lives, gone when its process is."""

    number: int

    def keep(self) -> None:
        """Give it again, should the database have lost it."""

    def release(self) -> None:
        """It is over."""


class Engine(ABC):
    """One kind of database."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """The driver's exceptions."""
    waits: ClassVar[tuple[type[Exception], ...]]
    """Those of them after which a whole group fails at once: waiting again for each unit would take as long again."""
    outdated: ClassVar[tuple[type[Exception], ...]]
    """Those of them after which the session knows better what there is: the transaction is run once more."""
    readers: ClassVar[int]
    """Threads that read beside the event loop; 0 where a read is so short that it runs in the loop."""
    commits_in_loop: ClassVar[bool]
    """A commit is so short that it runs in the event loop, while no other writer is at it."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the schema in an empty database; refuse one that is older or newer. Raises SchemaMismatch."""

    @abstractmethod
    def migrate(self) -> str:
        """Bring the schema to this version's; returns its revision. Raises SchemaMismatch."""

    @abstractmethod
    def connect(self, *, patient: bool = False, waits: bool = True) -> Connection:
        """A new connection. A `patient` one has no limit on the time of a statement; one that `waits` not never waits
        for another writer and is tidied by others."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a database of ours to read, without making one."""

    @abstractmethod
    def describe(self) -> str:
        """Where it is, without a password."""

    @abstractmethod
    def cause(self, error: Exception) -> str:
        """The database's own name for what happened."""

    @abstractmethod
    def jobs(self) -> tuple[str, Path | None]:
        """Where the books of jobs are kept: a URL, and the file that the one process locks that runs them. No file
        where several may."""

    @abstractmethod
    def claim(self) -> Claim:
        """Say that a gateway with a number of its own lives on this database."""

    @abstractmethod
    def lives(self, number: int) -> bool:
        """Whether the gateway with this number lives."""

    @abstractmethod
    def shrink(self) -> None:
        """After keys were deleted: leave as little of them on disk as the engine can promise."""
