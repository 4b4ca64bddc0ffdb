"""PostgreSQL: several machines, many gateways. Needs the extra `postgres` (psycopg 3).

Indexes stay gapless because one statement takes them from a counter row, whose lock orders the writers; a sequence
would leave gaps at every roll-back.
"""

from __future__ import annotations

import itertools
import secrets
import select
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.store import migrate
from qaqpa.store.connection import (
    LOCK_TIMEOUT_MS,
    STATEMENT_TIMEOUT_MS,
    Claim,
    Connection,
    Dialect,
    Engine,
    EntryRow,
    Row,
    Rows,
)
from qaqpa.store.migrate import Work

_WRITERS = 7_101_701
"""Advisory lock: shared by ordinary writers, exclusive for what forbids."""
_SCHEMA = 7_101_702
_PARTITION = 7_101_703
_GATEWAYS = 7_101_704
"""Class of the locks by which living gateways are known (two-key form: class, number)."""
_DROP_WAIT_MS = 100
_ATTACHED = (
    "SELECT p.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid "
    "WHERE i.inhparent = 'entries'::regclass AND pg_get_expr(p.relpartbound, p.oid) = %s"
)
_IS_TAKEN = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = %s AND relnamespace = current_schema()::regnamespace)"
_STREAMED = 2_000
"""Rows of a long query fetched at once."""

_APPEND = r"""
WITH counted AS (
  UPDATE tree SET size = size + %s,
    last_time = CASE WHEN %s THEN %s ELSE GREATEST(last_time, %s) END
  WHERE id = 1 RETURNING size - %s AS first
), entered AS (
  INSERT INTO entries (idx, month, request, kind, subject, caller, recipient, time, leaf, body)
  SELECT counted.first + ord - 1, f[1]::int, f[2], f[3], NULLIF(f[4], ''), NULLIF(f[5], ''), NULLIF(f[6], ''), f[7],
    decode(f[8], 'hex'), convert_to(f[9], 'UTF8')
  FROM counted, unnest(string_to_array(%s, E'\n')) WITH ORDINALITY AS given(line, ord),
    LATERAL string_to_array(line, E'\x1f') AS f
)
SELECT first FROM counted
"""
"""Rows come as one text: a line each, parted by U+001F. Arrays of the driver's cost five times as much."""


def _lines(rows: Sequence[EntryRow]) -> str:
    """No value holds a control character: JSON escapes them in a body, the rest are names and times of ours."""
    text = "\n".join(
        f"{month}\x1f{request}\x1f{kind}\x1f{subject or ''}\x1f{caller or ''}\x1f{recipient or ''}\x1f{time}\x1f"
        f"{leaf.hex()}\x1f{body.decode()}"
        for month, request, kind, subject, caller, recipient, time, leaf, body in rows
    )
    if text.count("\x1f") != 8 * len(rows) or text.count("\n") != len(rows) - 1:
        raise ValueError("an entry's columns hold a control character")
    return text


@lru_cache(maxsize=512)
def _translated(sql: str) -> str:
    """`?` as this driver writes it. No statement of ours holds either sign in a literal."""
    return sql.replace("?", "%s")


class PostgresConnection(Connection):
    """A session of the server."""

    dialect: ClassVar[Dialect] = "postgresql"

    def __init__(self, raw: psycopg.Connection[Row]) -> None:
        self._raw = raw
        self._cursors = itertools.count()
        self._months: set[int] = set()
        """Months whose partition this session has seen."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        return Rows(self._raw.execute(_translated(sql), values))

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        with self._raw.cursor() as cursor:
            cursor.executemany(_translated(sql), rows)
            return cursor.rowcount

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        if self._raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            yield from self.execute(sql, values).all()  # a cursor of the server's lives in a transaction only
            return
        with self._raw.cursor(name=f"qaqpa_{next(self._cursors)}", binary=True) as cursor:
            cursor.itersize = _STREAMED
            cursor.execute(_translated(sql), values)
            yield from cursor

    def append(self, rows: Sequence[EntryRow], last_time: str, *, moved_back: bool) -> int:
        for month in {row[0] for row in rows} - self._months:
            self.make_month(month)
        count = len(rows)
        values = (count, moved_back, last_time, last_time, count, _lines(rows))
        try:
            first: int = self._raw.execute(_APPEND, values, prepare=True).fetchall()[0][0]
        except psycopg.errors.CheckViolation:  # no partition: somebody moved a month that this session has seen
            self._months.clear()
            raise
        return first

    def make_month(self, month: int) -> None:
        if self._partition(month) is not None:
            self._months.add(month)  # committed by somebody before us, so it stays, unless the month is moved to a file
            return
        self._raw.execute("SELECT pg_advisory_xact_lock(%s)", (_PARTITION,))
        if self._partition(month) is None:  # nobody made it while we waited
            name = f"entries_{month:d}"
            if self._raw.execute(_IS_TAKEN, (name,)).fetchall()[0][0]:  # by a table that belongs to nothing
                name += f"_{secrets.token_hex(4)}"
            # Made and then attached: whoever reads the ledger for long, a verification say, is not waited for.
            self._raw.execute(f"CREATE TABLE {name} (LIKE entries INCLUDING ALL)")
            self._raw.execute(f"ALTER TABLE entries ATTACH PARTITION {name} FOR VALUES IN ({month:d})")

    def _partition(self, month: int) -> str | None:
        """Its name. A plain query: `to_regclass` remembers, inside a transaction, that it once found nothing."""
        found = self._raw.execute(_ATTACHED, (f"FOR VALUES IN ({month:d})",)).fetchall()
        return str(found[0][0]) if found else None

    def drop_month(self, month: int) -> bool:
        # Waits for whoever reads the ledger, and whoever appends waits behind it: so it does for a moment only.
        self._raw.execute(f"SAVEPOINT drop_month; SET LOCAL lock_timeout = {_DROP_WAIT_MS}")
        try:
            if (name := self._partition(month)) is not None:
                self._raw.execute(f"DROP TABLE {name}")
        except psycopg.errors.LockNotAvailable:
            self._raw.execute("ROLLBACK TO SAVEPOINT drop_month")
            return False
        self._raw.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        self._months.discard(month)
        return True

    def try_lock(self, key: int) -> bool:
        taken: bool = self._raw.execute("SELECT pg_try_advisory_xact_lock(%s)", (key,)).fetchall()[0][0]
        return taken

    def is_damage(self, error: Exception) -> bool:
        return isinstance(error, psycopg.DataError | psycopg.IntegrityError | psycopg.ProgrammingError)

    def begin(self, mode: Literal["write", "alone", "snapshot"]) -> None:
        if mode == "snapshot":
            # The view is that of the first query, so that one comes at once.
            self._raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1")
        else:
            lock = "pg_advisory_xact_lock" if mode == "alone" else "pg_advisory_xact_lock_shared"
            self._raw.execute(f"BEGIN; SELECT {lock}({_WRITERS})")

    def try_begin(self) -> bool:
        self.begin("write")
        return True

    def tidy(self) -> None:
        """The server does."""

    def commit(self) -> None:
        # After a failed statement that its unit kept to itself, COMMIT rolls back and raises nothing.
        if self._raw.execute("COMMIT").statusmessage != "COMMIT":
            raise psycopg.OperationalError("the transaction was rolled back")

    def rollback(self) -> None:
        self._raw.execute("ROLLBACK")

    def close(self) -> None:
        self._raw.close()


class _Session:
    """A session that holds a gateway's lock for as long as the gateway lives."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Row]], number: int) -> None:
        self.number = number
        self._connect = connect
        self._raw = self._taken()

    def _taken(self) -> psycopg.Connection[Row]:
        raw = self._connect()
        raw.execute("SELECT pg_advisory_lock(%s, %s)", (_GATEWAYS, self.number))
        return raw

    def keep(self) -> None:
        # The lock ends with its session (a restart): to others this gateway would be dead, and what it sends unknown.
        if not self._is_there():
            self._raw.close()
            self._raw = self._taken()

    def _is_there(self) -> bool:
        """Without asking the server: nothing comes on an idle session until it ends."""
        try:
            waiting = select.poll()
            waiting.register(self._raw.fileno(), select.POLLIN)
            while waiting.poll(0):
                self._raw.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return True

    def release(self) -> None:
        self._raw.close()


class PostgresEngine(Engine):
    """One database of a server."""

    failures: ClassVar[tuple[type[Exception], ...]] = (psycopg.Error, SQLAlchemyError)
    waits: ClassVar[tuple[type[Exception], ...]] = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
    outdated: ClassVar[tuple[type[Exception], ...]] = (psycopg.errors.CheckViolation,)
    readers: ClassVar[int] = 4
    commits_in_loop: ClassVar[bool] = False

    def __init__(self, text: str) -> None:
        self._url = text
        try:
            self._parts = conninfo_to_dict(self._url)
        except psycopg.ProgrammingError:
            raise NotConfigured(
                "store.url is not a PostgreSQL address: postgresql://user:password@host/database"
            ) from None
        if not self._parts.get("dbname"):
            raise NotConfigured("store.url names no database: postgresql://user:password@host/database")

    def describe(self) -> str:
        return f"PostgreSQL database {self._parts['dbname']} on {self._parts.get('host', 'this machine')}"

    def exists(self) -> bool:
        raw = self._raw()
        try:
            found = raw.execute("SELECT to_regclass('alembic_version')").fetchall()
            return found[0][0] is not None
        finally:
            raw.close()

    def cause(self, error: Exception) -> str:
        return type(getattr(error, "orig", None) or error).__name__

    def _raw(self, *, patient: bool = False) -> psycopg.Connection[Row]:
        raw = psycopg.connect(self._url, autocommit=True, connect_timeout=10, application_name="qaqpa")
        raw.execute("SET synchronous_commit = on")  # a commit is on disk before it is reported
        raw.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        raw.execute(f"SET statement_timeout = {0 if patient else STATEMENT_TIMEOUT_MS}")
        raw.execute("SET idle_in_transaction_session_timeout = 0")
        return raw

    def connect(self, *, patient: bool = False, waits: bool = True) -> Connection:
        return PostgresConnection(self._raw(patient=patient))

    def prepare(self) -> None:
        raw = self._raw()
        try:
            found = raw.execute("SELECT to_regclass('alembic_version')").fetchall()[0][0]
            revision = raw.execute("SELECT version_num FROM alembic_version").fetchall() if found else []
            if raw.execute("SHOW fsync").fetchall()[0][0] != "on":
                raise StoreUnavailable("PostgreSQL runs with fsync = off: no entry is durable; nothing is sent")
        finally:
            raw.close()
        if revision != [(migrate.HEAD,)]:
            self._alembic(migrate.prepare)

    def migrate(self) -> str:
        self._alembic(migrate.upgrade)
        return migrate.HEAD

    def _alembic(self, work: Work) -> None:
        engine = create_engine("postgresql+psycopg://", poolclass=NullPool, creator=lambda: psycopg.connect(self._url))
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA})")  # several gateways start at once
            work(connection)

    def jobs(self) -> tuple[str, Path | None]:
        return self._url, None

    # --- who lives -------------------------------------------------------------------------------

    def claim(self) -> Claim:
        return _Session(lambda: self._raw(patient=True), secrets.randbits(31))

    def lives(self, number: int) -> bool:
        raw = self._raw()
        try:
            return not raw.execute("SELECT pg_try_advisory_lock(%s, %s)", (_GATEWAYS, number)).fetchall()[0][0]
        finally:
            raw.close()

    def shrink(self) -> None:
        """Dead rows and back-ups keep what was deleted until they go: there the old epoch's death is what counts."""
