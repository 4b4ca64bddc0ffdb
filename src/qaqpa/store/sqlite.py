"""SQLite: one file, no server. WAL with synchronous=FULL: a commit is on disk before it is reported."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from sqlalchemy import NullPool, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.store import migrate
from qaqpa.store.connection import LOCK_TIMEOUT_MS, Claim, Connection, Dialect, Engine, EntryRow, Row, Rows
from qaqpa.store.migrate import Work

_PRAGMAS = (
    f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit is on disk before it is reported
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # deleted keys must not stay in free pages
)
_NEVER_HELD_UP = ("PRAGMA busy_timeout = 0", "PRAGMA wal_autocheckpoint = 0")
_COUNT = (
    "UPDATE tree SET size = size + ?, last_time = CASE WHEN ? THEN ? ELSE max(last_time, ?) END "
    "WHERE id = 1 RETURNING size"
)
_ENTRIES = (
    "INSERT INTO entries (idx, month, request, kind, subject, caller, recipient, time, leaf, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_BEGUN = ".begun"
"""Of the name of a gateway's file until it is held."""
_TRIES = 100

_DAMAGE = {
    sqlite3.SQLITE_ERROR,  # a statement that does not fit the tables
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
}


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
        raise NotConfigured("store.url must name an SQLite file, e.g. sqlite:///qaqpa.db, or a PostgreSQL database")
    if database.startswith("file:"):
        return url.set(database=f"file:{home / database.removeprefix('file:')}")
    return url.set(database=str(home / database))


_ROW_OF_VALUES = re.compile(r"(?<= VALUES )\(\?(?:, \?)*\)")
_AT_ONCE = 500
"""Rows of one statement at most: of ten values each, far below what SQLite takes."""


def _sizes(count: int) -> Iterator[int]:
    """So many rows as statements of few sizes, each of which is prepared once: of 500, then powers of two.

    The driver lets go of Python's lock for each statement and each row that it fetches, and beside a thread that
    computes waits milliseconds until it has it again: 500 rows one by one took twelve times as long as all at once.
    """
    while count >= _AT_ONCE:
        yield _AT_ONCE
        count -= _AT_ONCE
    while count:
        yield (size := 1 << count.bit_length() - 1)
        count -= size


class SqliteConnection(Connection):
    """A connection to the file."""

    dialect: ClassVar[Dialect] = "sqlite"

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        return Rows(self._raw.execute(sql, values))

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        row = _ROW_OF_VALUES.search(sql)
        if row is None or len(rows) == 1:
            return self._raw.executemany(sql, rows).rowcount
        before, after = sql[: row.start()], sql[row.end() :]
        done = at = 0
        for count in _sizes(len(rows)):
            values = list(chain.from_iterable(rows[at : at + count]))
            done += self._raw.execute(f"{before}{', '.join([row[0]] * count)}{after}", values).rowcount
            at += count
        return done

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        return self._raw.execute(sql, values)

    def append(self, rows: Sequence[EntryRow], last_time: str, *, moved_back: bool) -> int:
        count = len(rows)
        size: int = self._raw.execute(_COUNT, (count, moved_back, last_time, last_time)).fetchall()[0][0]
        first = size - count
        self.execute_many(_ENTRIES, [(first + at, *row) for at, row in enumerate(rows)])
        return first

    def make_month(self, month: int) -> None:
        """One table holds all months."""

    def drop_month(self, month: int) -> bool:
        self._raw.execute("DELETE FROM entries WHERE month = ?", (month,))
        return True

    def try_lock(self, key: int) -> bool:
        return True

    def is_damage(self, error: Exception) -> bool:
        # The driver's own errors (a text that is not UTF-8) have no code; the lowest byte of one is its class.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        return isinstance(error, sqlite3.Error) and code & 0xFF in _DAMAGE

    def begin(self, mode: Literal["write", "alone", "snapshot"]) -> None:
        self._raw.execute("BEGIN DEFERRED" if mode == "snapshot" else "BEGIN IMMEDIATE")
        if mode == "snapshot":  # a deferred transaction sees the moment of its first read
            self._raw.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()

    def try_begin(self) -> bool:
        try:
            self._raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise
        return True

    def tidy(self) -> None:
        """Move the write-ahead log into the database, and let the next writer begin it anew, if nobody is at it now."""
        self._raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._raw.execute("PRAGMA busy_timeout = 0")  # the second step holds writers up, so it never waits itself
        try:
            for _ in range(3):
                if self._raw.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0:
                    break
        finally:
            self._raw.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")

    def commit(self) -> None:
        self._raw.execute("COMMIT")

    def rollback(self) -> None:
        if self._raw.in_transaction:  # a full disk has ended it already
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        self._raw.close()


class _Lock:
    """A file beside the database that a living gateway holds a lock on."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self._path = path
        self._held = [_locked(path)]

    def keep(self) -> None:
        # The operating system keeps the lock, and who tidies the folder may delete the file. The old one stays locked
        # too: whoever has just opened it must find it held.
        if not self._path.exists():
            self._held.append(_locked(self._path))

    def release(self) -> None:
        with suppress(OSError):
            self._path.unlink()
        for descriptor in self._held:
            os.close(descriptor)


def _locked(path: Path) -> int:
    """Make the file; its descriptor, which holds a lock on it. Raises StoreUnavailable."""
    # Whoever looks for killed gateways locks what it finds and deletes it, so the file gets its name only when it is
    # held. One that is deleted before (its maker may have been killed, too) is made again.
    begun = path.with_name(f"{path.name}{_BEGUN}")
    for _ in range(_TRIES):
        try:
            descriptor = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be made: {error.strerror}; nothing is sent") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun.rename(path)
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            begun.unlink(missing_ok=True)
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(f"{path} cannot be made: {error.strerror}; nothing is sent") from None
        else:
            return descriptor
    raise StoreUnavailable(f"{path} cannot be made: others delete it; nothing is sent")


def _is_held(path: Path) -> bool:
    """Whether somebody holds the file; one that nobody holds is deleted."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


class SqliteEngine(Engine):
    """One database file."""

    failures: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, SQLAlchemyError)
    waits: ClassVar[tuple[type[Exception], ...]] = ()  # whoever waits for this lock does so before any unit runs
    outdated: ClassVar[tuple[type[Exception], ...]] = ()
    readers: ClassVar[int] = 0
    commits_in_loop: ClassVar[bool] = True

    def __init__(self, text: str, home: Path) -> None:
        self._url = parse_url(text, home)
        database = str(self._url.database)
        self.path = Path(database.removeprefix("file:"))
        self._mode = str(self._url.query.get("mode", "rwc"))

    def describe(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    def cause(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        return getattr(cause, "sqlite_errorname", None) or type(cause).__name__

    def _raw(self) -> sqlite3.Connection:
        raw = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={self._mode}",
            uri=True,
            isolation_level=None,  # transactions are begun above, not by the driver
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in _PRAGMAS:
            raw.execute(pragma).fetchall()
        return raw

    def connect(self, *, patient: bool = False, waits: bool = True) -> Connection:
        raw = self._raw()
        if not waits:
            for pragma in _NEVER_HELD_UP:
                raw.execute(pragma).fetchall()
        return SqliteConnection(raw)

    def prepare(self) -> None:
        self._make_private()
        raw = self._raw()
        try:
            tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            revision = None
            if "alembic_version" in tables:
                revision = [row[0] for row in raw.execute("SELECT version_num FROM alembic_version")]
        finally:
            raw.close()
        if revision != [migrate.HEAD]:
            self._alembic(migrate.prepare)

    def migrate(self) -> str:
        self._alembic(migrate.upgrade)
        return migrate.HEAD

    def _alembic(self, work: Work) -> None:
        engine = create_engine(self._url.set(drivername="sqlite+pysqlite"), poolclass=NullPool)

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            for pragma in _PRAGMAS:
                connection.execute(pragma).fetchall()

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        with engine.begin() as connection:
            work(connection)

    def _make_private(self) -> None:
        """A new database belongs to its owner alone; SQLite gives its side files the same mode."""
        if self._mode == "ro":
            return
        try:
            # Only ever a file that is not there yet: closing any descriptor of an open database would drop the locks
            # that this process holds on it (POSIX), and another process could then delete its write-ahead log.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StoreUnavailable(
                f"the database cannot be opened ({error.strerror}): look at the folder and its permissions; "
                "nothing was sent"
            ) from None

    def jobs(self) -> tuple[str, Path | None]:
        path = self.path.absolute()
        return f"sqlite:///{path}-jobs.db", path.with_name(f"{path.name}-jobs.lock")

    # --- who lives -------------------------------------------------------------------------------

    def _lock_path(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}-gateway-{number}")

    def claim(self) -> Claim:
        for left in self.path.parent.glob(f"{glob.escape(self.path.name)}-gateway-*"):
            _is_held(left)  # those of killed processes go
        number = secrets.randbits(31)
        return _Lock(self._lock_path(number), number)

    def lives(self, number: int) -> bool:
        return _is_held(self._lock_path(number))

    def shrink(self) -> None:
        raw = self._raw()
        try:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            raw.close()
