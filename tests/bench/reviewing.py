"""What people who review disclosures wait for: queries, and whole pages of the console; on both engines."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
from console_pages import page_rows
from ledgers import ledger_of

from harness import PASSPHRASE, built
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger.disclosures import DisclosureResult, Page, Query, entry_context, search
from qaqpa.ledger.figures import Period, overview
from qaqpa.store import Connection, Store
from servers import Server

Row = dict[str, object]
SIZES = tuple(int(each) for each in os.environ.get("QAQPA_BENCH_REVIEWED", "20000").split(","))
"""Entries: 1000000,10000000 takes half an hour to write on both engines, and 25 GB."""
GOAL_MS = 100
TODAY = datetime.now(UTC).date()
COUNT = 50


def timed(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Milliseconds of one call: the median, and the slowest."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken), max(taken)


def queries(size: int, subject: str) -> dict[str, Query]:
    """Frequent and rare ones, and combinations that never occur together."""
    middle = TODAY - timedelta(days=180)
    return {
        "latest": Query(),
        "old": Query(before=size // 3),
        "frequent": Query(caller="loan-scoring", purpose="application_review", result=DisclosureResult.DELIVERED),
        "day": Query(since=middle, until=middle, recipient="first-credit-bureau"),
        "rare": Query(recipient="demo-collector", result=DisclosureResult.REJECTED),
        "rare_in_a_month": Query(
            since=middle, until=middle + timedelta(days=30), recipient="demo-collector", ground="service",
            result=DisclosureResult.REJECTED,
        ),
        "never_together": Query(ground="service", purpose="legal_duty", result=DisclosureResult.REJECTED,
                                recipient="demo-collector", field="identity.field_5"),
        "open": Query(result=DisclosureResult.OPEN),
        "subject": Query(subject=subject),
        "subject_rejected": Query(subject=subject, result=DisclosureResult.REJECTED),
        "nobody": Query(handover="none"),
    }  # fmt: skip


def pages(connection: Connection, query: Query) -> list[Page]:
    """Until a page is full or nothing is left: what a person who goes on sees."""
    found = [search(connection, query, COUNT)]
    while not found[-1].is_whole and len(found) < 20:
        before = found[-1].before
        found.append(search(connection, Query(**{**_set(query), "before": before}), COUNT))
    return found


def _set(query: Query) -> dict[str, object]:
    return {name: getattr(query, name) for name in query.__slots__}


def measured(store: Store, engine: str, size: int) -> Iterator[Row]:
    """Rows of one ledger."""
    with store.snapshot() as connection:
        subject = connection.execute("SELECT subject FROM entries WHERE idx = ?", (size // 2,)).scalar()
        name = f"{engine}_{size}"
        worst = 0.0
        for what, query in queries(size, subject).items():
            median, slowest = timed(partial(search, connection, query, COUNT), 9)
            if what == "subject":
                yield _row(f"review_subject_ms_{name}", median)
            worst = max(worst, median)
            calls = len(pages(connection, query))
            sys.stderr.write(f"{name} {what}: {median:.1f} ms (slowest {slowest:.1f}), {calls} calls\n")
        yield _row(f"review_page_ms_{name}", worst)
        for days in (30, 365):
            period = Period(since=TODAY - timedelta(days=days))
            yield _row(f"review_overview_{days}_days_ms_{name}", timed(partial(overview, connection, period), 5)[0])
        yield _row(f"review_entry_ms_{name}", timed(lambda: entry_context(connection, size // 2), 9)[0])


def analyze(url: str) -> None:
    """What the server does by itself some time after so much was written."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _row(name: str, value: float) -> Row:
    return {"name": name, "value": round(value, 3), "unit": "ms", "goal": GOAL_MS, "baseline": None}


def reviewing_rows() -> Iterator[Row]:
    """Everything."""
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-bench-"))
    server = Server(folder / "pg")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_wal_size = '2GB'")  # of the filling, not of what is measured
        connection.execute("SELECT pg_reload_conf()")
    try:
        for size in SIZES:
            for engine, url in (("sqlite", None), ("postgresql", server.database())):
                place = folder / f"{engine}-{size}"
                place.mkdir()
                yield from asyncio.run(_of_engine(place, engine, url, size))
    finally:
        server.server.cleanup()
        shutil.rmtree(folder)


async def _of_engine(folder: Path, engine: str, url: str | None, size: int) -> list[Row]:
    async with built(folder, url) as house:
        with (
            closing(Keyring.load(house.home / "keyring.json", Unlock(PASSPHRASE))) as keyring,
            ledger_of(size, url or "sqlite:///qaqpa.db", house.home, keyring) as store,
        ):
            if url is not None:
                analyze(url)
            rows = list(measured(store, engine, size))
        return [*rows, *await page_rows(house, engine, size)]
