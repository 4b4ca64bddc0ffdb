"""The ledger beside the bare thing: appends, verification, proofs, search, rotation, on both engines."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
from ledgers import ledger_of

from harness import ROOT
from qaqpa.gateway import load_setup
from qaqpa.keys import Keyring
from qaqpa.ledger import Ledger
from qaqpa.ledger.checkpoints import Checkpoints
from qaqpa.ledger.entries import Draft, Kind, control
from qaqpa.ledger.integrate import tree_of
from qaqpa.ledger.read import Wanted, latest
from qaqpa.ledger.rotation import rotate
from qaqpa.ledger.verify import verify
from qaqpa.model.canonical import canonical
from qaqpa.report.named import Drawn, Names
from qaqpa.report.plain import plain_report
from qaqpa.report.reading import read_report
from qaqpa.report.saying import Saying
from qaqpa.report.telling import tell
from qaqpa.store import Connection, Store, store_at
from servers import Server

Row = dict[str, object]
ENTRIES = int(os.environ.get("QAQPA_BENCH_ENTRIES", "100000"))
"""Size of the ledger that is verified, proved and searched: 10000000 takes a quarter of an hour to write."""
APPENDS = int(os.environ.get("QAQPA_BENCH_APPENDS", "6000"))
SUBJECTS = int(os.environ.get("QAQPA_BENCH_SUBJECTS", "20000"))
WRITERS = (1, 8, 32, 128)
COLUMNS = "month, request, kind, subject, caller, recipient, time, leaf, body"


def now() -> datetime:
    return datetime.now(UTC)


def row(name: str, value: float, unit: str, goal: float | None = None, baseline: float | None = None) -> Row:
    return {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "baseline": baseline}


# --- appends ---------------------------------------------------------------------------------------


class Bare:
    """A grouped insert of the same bytes and nothing else: one table, one thread, one commit for all that wait."""

    def __init__(self, connect: Callable[[], Any], marks: str) -> None:
        self._queue: queue.SimpleQueue[tuple[tuple[Any, ...], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._connect = connect
        self._sql = f"INSERT INTO bare ({COLUMNS}) VALUES ({', '.join([marks] * 9)})"
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def append(self, values: tuple[Any, ...]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((values, future))
        await future

    def _run(self) -> None:
        connection = self._connect()
        cursor = connection.cursor()
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < 256 and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
            cursor.execute("BEGIN")
            cursor.executemany(self._sql, [values for values, _ in group])
            cursor.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._settle, [future for _, future in group])
        connection.close()

    @staticmethod
    def _settle(futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            future.set_result(None)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()


def bare_sqlite(folder: Path) -> Callable[[], Any]:
    def connect() -> sqlite3.Connection:
        raw = sqlite3.connect(folder / "bare.db", isolation_level=None)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute(f"CREATE TABLE IF NOT EXISTS bare (idx INTEGER PRIMARY KEY, {COLUMNS})")
        return raw

    return connect


def bare_postgres(url: str) -> Callable[[], Any]:
    def connect() -> Any:
        raw = psycopg.connect(url, autocommit=True)
        raw.execute(
            "CREATE TABLE IF NOT EXISTS bare (idx bigserial PRIMARY KEY, month int, request text, kind text, "
            "subject text, caller text, recipient text, time text, leaf bytea, body bytea)"
        )
        return raw

    return connect


async def pace(writers: int, count: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Appends a second."""
    numbers = iter(range(count))

    async def writer() -> None:
        for number in numbers:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    return count / (time.perf_counter() - started)


async def appends(engine: str, url: str, folder: Path, connect: Callable[[], Any], marks: str) -> list[Row]:
    """Both, in turn, three times for each number of writers; while the tree grows and checkpoints are signed."""
    keyring = Keyring.create(folder / f"{engine}.json")
    found: list[Row] = []
    with closing(store_at(url, folder)) as store, closing(Ledger(store, keyring, now, clock_tolerance_s=30)) as ledger:
        store.open(ledger)
        ledger.open()
        checkpoints = Checkpoints(store, keyring, "bench.example/log", folder / f"{engine}.txt", now)
        bare = Bare(connect, marks)
        growing = asyncio.create_task(_grow(checkpoints))
        for writers in WRITERS:
            count = APPENDS if writers > 1 else APPENDS // 6
            ratios, ours = [], []
            for _ in range(3):
                drafts = _drafts(count)
                values = [draft.row() for draft in drafts]
                bare_pace = await pace(writers, count, lambda number, values=values: bare.append(values[number]))
                our_pace = await pace(
                    writers,
                    count,
                    lambda number, drafts=drafts: store.write(lambda c: ledger.append(c, drafts[number])),
                )
                ratios.append(our_pace / bare_pace)
                ours.append((our_pace, bare_pace))
            ratio = statistics.median(ratios)
            pair = ours[ratios.index(ratio)]
            name = f"ledger_append_vs_bare_{engine}_{writers}"
            if (engine, writers) == ("sqlite", 32):
                name = "ledger_append_vs_bare"
            found.append(row(name, ratio, f"ratio; {pair[0]:.0f}/s", 0.8 if writers == 32 else None, round(pair[1])))
        growing.cancel()
        bare.close()
    return found


async def _grow(checkpoints: Checkpoints) -> None:
    while True:
        await asyncio.sleep(1)
        await checkpoints.make()


def _drafts(count: int) -> list[Draft]:
    """Entries about nobody, as large as a usual intent's, so that both sides write the same bytes."""
    made = []
    for _ in range(count):
        public = control("bench", "", "bench", "bench", "x" * 550, at=now())
        made.append(Draft(Kind.CONTROL, str(public["id"]), None, public, canonical(public)))
    return made


# --- reading ---------------------------------------------------------------------------------------


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds, the median."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def reading(store: Store, size: int) -> Iterator[Row]:
    """Verification, proofs and search on a ledger of `size` entries."""
    with store.snapshot() as connection:
        started = time.process_time()
        verify(connection)
        yield row("ledger_verify_per_s", size / (time.process_time() - started), "entries/s/core", 250_000)
        rng = random.Random(2)
        yield row(
            f"proof_ms_{size}", timed(lambda: tree_of(connection).inclusion(rng.randrange(size)), 200), "ms, cold", 1.0
        )
        subject = connection.execute("SELECT subject FROM entries WHERE idx = ?", (size // 2,)).scalar()
        pages = {
            "latest": Wanted(),
            "kind": Wanted(kind="outcome", before=size // 2),
            "recipient": Wanted(recipient="demo-collector", before=size // 3),
            "subject": Wanted(subject=subject),
        }
        slowest = max(timed(lambda wanted=wanted: latest(connection, 50, wanted), 20) for wanted in pages.values())
        yield row(f"search_ms_{size}", slowest, "ms, slowest page of 50", 100)
        yield row(
            f"subject_report_ms_{size}", reported(connection, size), "ms, the slower of median and 9th of 10", 100
        )


def reported(connection: Connection, size: int) -> float:
    """Milliseconds of a person's report: read, told in Russian, made JSON of; of several people, each once."""
    policy = load_setup(ROOT / "config", home=Path(), environ={}).policy
    rng, taken = random.Random(3), []
    for _ in range(20):
        subject = connection.execute("SELECT subject FROM entries WHERE idx = ?", (rng.randrange(size),)).scalar()
        started = time.perf_counter()
        drawn = Drawn(now(), size, None, None)
        report = read_report(connection, Names(policy), drawn, subject, key=None)
        say = Saying("ru", policy.operator.time_zone)
        assert tell(report, "ru", policy.operator.time_zone).sections
        assert orjson.dumps(plain_report(report, say))
        taken.append((time.perf_counter() - started) * 1000)
        assert sum(each.count for each in report.disclosures) > 0
    return max(statistics.median(taken), sorted(taken)[17])


async def rotation(url: str, folder: Path) -> Row:
    """Re-wrap and index every subject anew."""
    keyring = Keyring.create(folder / "rotating.json")
    with ExitStack() as stack:
        store = stack.enter_context(ledger_of(SUBJECTS * 2, url, folder, keyring, per_subject=2))
        stack.enter_context(closing(store))
        ledger = stack.enter_context(closing(Ledger(store, keyring, now, clock_tolerance_s=30)))
        store.open(ledger)
        ledger.open()
        started = time.perf_counter()
        done = await rotate(ledger, caller="bench", person="bench", reason="bench")
        took = time.perf_counter() - started
        assert done.subjects >= SUBJECTS
    return row("rotation_subjects_per_s", SUBJECTS / took, "subjects/s")


@contextmanager
def room() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


async def ledger_rows() -> list[Row]:
    """Everything."""
    with ExitStack() as stack:
        folder = stack.enter_context(room())
        server = Server(folder / "pg")
        stack.callback(server.server.cleanup)
        found = await appends("sqlite", "sqlite:///ours.db", folder, bare_sqlite(folder), "?")
        bare, ours = server.database(), server.database()
        found += await appends("postgresql", ours, folder, bare_postgres(bare), "%s")
        keyring = Keyring.create(folder / "reading.json")
        with ledger_of(ENTRIES, "sqlite:///reading.db", folder, keyring) as store:
            found += reading(store, ENTRIES)
        found.append(await rotation("sqlite:///rotating.db", folder))
    return found
