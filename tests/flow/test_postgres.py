"""PostgreSQL in trouble: restarted, locked, slow, not durable, not there. Nothing is lost, nothing leaves unentered."""

from __future__ import annotations

import asyncio
import builtins
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from books import Intruder, book_at
from harness import PEOPLE, House, give_consent, request, request_document
from qaqpa.errors import NotConfigured, NotSent, QaqpaError, StoreError, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.ledger.recovery import recover
from qaqpa.store import Connection, store_at

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
PERSON = PEOPLE[0]
ASKED = request(request_document(PERSON))


@pytest.fixture
def intruder(store_url: str, tmp_path: Path) -> Intruder:
    return Intruder(store_url, tmp_path)


# --- sessions that end -----------------------------------------------------------------------------


def end_sessions(intruder: Intruder, _server: Any) -> None:
    intruder.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def restart(mode: str) -> Any:
    def work(_intruder: Intruder, server: Any) -> None:
        running = server.server
        command = [str(running.bin_path / "pg_ctl"), "-w", "-D", str(server.folder), "-m", mode, "restart"]
        # The new server keeps what it is given to write to, so that is not a pipe that somebody reads to its end.
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, timeout=60, user=running.system_user, cwd=server.folder, **quiet)
        running.ensure_postgres_running()  # so that it is the new one that is stopped in the end

    return work


TROUBLES = {"every session ended": end_sessions, "restarted": restart("fast"), "crashed": restart("immediate")}


@pytest.mark.promise(1)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_nothing_that_was_sent_is_lost_when_the_server_goes_away(
    house: House, intruder: Intruder, postgres: Any, trouble: Any
) -> None:
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 50"))
    house.edit("recipients/first-credit-bureau.toml", ("failures = 5", "failures = 1000"))
    stop = asyncio.Event()
    told: list[str] = []
    errors: list[QaqpaError] = []

    async def disclosing(gateway: Gateway) -> None:
        while not stop.is_set():
            try:
                told.append((await gateway.disclose("loan-scoring", ASKED)).id)
            except QaqpaError as error:
                errors.append(error)
                await asyncio.sleep(0.02)

    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        tasks = [asyncio.create_task(disclosing(gateway)) for _ in range(6)]
        for _ in range(2):
            await enough(told)
            await asyncio.to_thread(trouble, intruder, postgres)
            await enough(told)
        stop.set()
        await asyncio.gather(*tasks)
        async with asyncio.timeout(20):
            while gateway.ledger.has_unfinished:  # noqa: ASYNC110 - the upkeep's work
                await asyncio.sleep(0.02)
        assert await recover(gateway.ledger) == 0
        found = house.verified(gateway)
        assert found.open_intents == ()
        assert found.unknown == (), "its own process knows what came of every one"
        results = {entry["intent"]: entry["result"] for entry in house.entries(gateway, "outcome")}
        delivered = {disclosure for disclosure, result in results.items() if result == "delivered"}
        assert len(house.fcb.calls) == len(delivered), "what the bureau received is in the ledger"
        assert set(told) <= delivered
        assert delivered - set(told) <= {error.disclosure for error in errors}
        for error in errors:
            if isinstance(error, NotSent):
                assert results[error.disclosure] == "not_sent"
            else:
                assert isinstance(error, StoreError), error
                assert (error.disclosure is None) == ("nothing was sent" in str(error)), error


async def enough(told: list[Any]) -> None:
    """Five more disclosures have come through."""
    wanted = len(told) + 5
    async with asyncio.timeout(30):
        while len(told) < wanted:  # noqa: ASYNC110 - other tasks' work
            await asyncio.sleep(0.01)


async def test_a_gateway_whose_sessions_ended_still_counts_as_living(house: House, intruder: Intruder) -> None:
    """Otherwise another gateway would conclude as unknown what this one is sending at the moment."""
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 50"))
    async with house.gateway() as one, house.gateway() as other:
        await give_consent(house, one, PERSON)
        await asyncio.to_thread(end_sessions, intruder, None)
        for _ in range(100):
            try:
                await one.disclose("loan-scoring", ASKED)
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(other.store.engine.lives, one.ledger.gateway)


# --- a month's start -------------------------------------------------------------------------------


def test_two_writers_begin_a_month_at_once(store_url: str, tmp_path: Path, intruder: Intruder) -> None:
    store = store_at(store_url, tmp_path)
    store.open()
    first, second = store.engine.connect(), store.engine.connect()

    def begin_too() -> None:
        second.begin("write")
        second.make_month(203001)
        second.commit()

    try:
        first.begin("write")
        first.make_month(203001)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(begin_too)
            waits_for = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not waiting.done() and intruder.rows(waits_for) != [(1,)]:
                time.sleep(0.01)
            assert not waiting.done(), "the second writer did not wait for the first one's month"
            first.commit()
            waiting.result(timeout=10)
        found = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'entries_203001'::regclass"
        assert intruder.rows(found) == [(1,)]
    finally:
        first.close()
        second.close()
        store.close()


async def test_a_stray_table_with_a_months_name_stops_no_entry(
    house: House, intruder: Intruder, tmp_path: Path
) -> None:
    then = house.clock() - timedelta(days=62)
    month = then.year * 100 + then.month
    intruder.run(f"CREATE TABLE entries_{month} (LIKE entries)")
    house.clock.offset = timedelta(days=-62)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        moved = await gateway.compliance.archive("compliance", month, tmp_path, person="A. O.", reason="room")
        assert moved.entries == 2
        assert house.verified(gateway).unread == 2
    assert intruder.value("SELECT count(*) FROM pg_class WHERE relname LIKE %s", f"entries_{month}%") == 1


# --- a server that is slow or held -----------------------------------------------------------------


@contextmanager
def held_tree(intruder: Intruder) -> Iterator[None]:
    with intruder.connected() as other:
        other.execute("SELECT size FROM tree WHERE id = 1 FOR UPDATE")
        yield
        other.rollback()


@pytest.mark.promise(1)
async def test_while_another_session_holds_the_counter_nothing_leaves(
    house: House, intruder: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.store.postgres.LOCK_TIMEOUT_MS", 300)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with held_tree(intruder):
            started = time.monotonic()
            work = (gateway.disclose("loan-scoring", ASKED) for _ in range(20))
            done = await asyncio.gather(*work, return_exceptions=True)
            assert time.monotonic() - started < 5
            assert {type(each) for each in done} == {StoreUnavailable}
            assert "LockNotAvailable" in str(done[0]) and "nothing was sent" in str(done[0])
        assert house.fcb.connections == 0
        await gateway.disclose("loan-scoring", ASKED)
        await recover(gateway.ledger)
        found = house.verified(gateway)
        assert (found.kinds["intent"], found.open_intents) == (1, ())


async def test_a_statement_that_runs_too_long_is_ended(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.store.postgres.STATEMENT_TIMEOUT_MS", 200)

    def slow(connection: Connection) -> None:
        connection.execute("SELECT pg_sleep(30)").all()

    with book_at(store_url, tmp_path) as book:
        async with asyncio.timeout(5):
            for work in (book.store.write(slow), book.store.read(slow)):
                with pytest.raises(StoreUnavailable, match="QueryCanceled"):
                    await work
        assert await book.control() == 0
        with book.store.snapshot() as connection:
            connection.execute("SELECT pg_sleep(0.4)").all()  # reading through the whole ledger may take its time


# --- a server that is not fit, or not there --------------------------------------------------------


@contextmanager
def server_setting(intruder: Intruder, name: str, value: str) -> Iterator[None]:
    def system(sql: str) -> None:
        with psycopg.connect(intruder.url, autocommit=True) as connection:
            connection.execute(sql)
            connection.execute("SELECT pg_reload_conf()")

    system(f"ALTER SYSTEM SET {name} = {value}")
    try:
        wait_for(intruder, name, value)
        yield
    finally:
        system(f"ALTER SYSTEM RESET {name}")
        wait_for(intruder, name, "on")


def wait_for(intruder: Intruder, name: str, value: str) -> None:
    for _ in range(200):
        if intruder.value(f"SHOW {name}") == value:
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} did not become {value}")


@pytest.mark.promise(1)
async def test_a_server_that_does_not_write_to_the_disk_is_refused(
    house: House, store_url: str, intruder: Intruder
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    with server_setting(intruder, "fsync", "off"):
        with pytest.raises(StoreUnavailable, match="fsync = off"):
            async with house.gateway():
                pass
        path = house.write("request.json", request_document(PERSON))
        ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
        assert (ran.code, ran.json["code"]) == (5, "store_unavailable")
    assert house.fcb.connections == 0
    async with house.gateway() as gateway:
        await gateway.disclose("loan-scoring", ASKED)


@contextmanager
def passwords_asked(server: Any, intruder: Intruder) -> Iterator[None]:
    """The server lets `guarded` in with a password only."""
    rules = server.folder / "pg_hba.conf"
    before = rules.read_text()
    intruder.run("DROP ROLE IF EXISTS guarded", "CREATE ROLE guarded LOGIN PASSWORD 'right-canary'")
    rules.write_text("local all guarded scram-sha-256\n" + before)
    try:
        intruder.rows("SELECT pg_reload_conf()")
        time.sleep(0.3)
        yield
    finally:
        rules.write_text(before)
        intruder.rows("SELECT pg_reload_conf()")
        intruder.run("DROP ROLE guarded")


def test_a_wrong_password_is_said_without_it(
    store_url: str, tmp_path: Path, postgres: Any, intruder: Intruder, capfd: pytest.CaptureFixture[str]
) -> None:
    url = store_url.replace("postgres@", "guarded:wrong-canary@")
    with passwords_asked(postgres, intruder):
        store = store_at(url, tmp_path)
        for work in (store.open, store.exists, store.migrate):
            with pytest.raises(StoreUnavailable) as raised:
                work()
            assert "canary" not in f"{raised.value} {store.engine.describe()}"
            assert "OperationalError" in str(raised.value)
    assert "canary" not in "".join(capfd.readouterr())


WRONG = {
    "no server there": ("host=", "host=/nowhere"),
    "no such database": ("/t", "/not_there_"),
    "no such user": ("postgres@", "stranger@"),
}


@pytest.mark.promise(1)
@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG.keys())
async def test_an_address_that_leads_nowhere_is_unavailable(house: House, store_url: str, old: str, new: str) -> None:
    assert old in store_url
    house.edit("gateway.toml", (store_url, store_url.replace(old, new, 1)))
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        async with house.gateway():
            pass
    ran = await house.cli("disclose", house.write("r.json", request_document(PERSON)), "--caller", "loan-scoring")
    assert ran.code == 5
    assert house.fcb.connections == 0


ADDRESSES = {
    "no database": "postgresql://user:canary@localhost",
    "a rubbish port": "postgresql://user:canary@localhost:port/qaqpa",
    "an unknown option": "postgresql://user:canary@localhost/qaqpa?colour=red",
    "a broken escape": "postgresql://user:canary%zz@localhost/qaqpa",
}


@pytest.mark.parametrize("url", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_address_that_is_none_is_said_without_its_password(tmp_path: Path, engine: str, url: str) -> None:
    assert engine == "postgresql"
    with pytest.raises((NotConfigured, StoreUnavailable)) as raised:
        store_at(url, tmp_path).open()
    assert "canary" not in str(raised.value)


def test_without_the_driver_it_is_said_how_to_get_it(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name == "psycopg" or name.startswith("psycopg."):
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.delitem(sys.modules, f"qaqpa.store.{'postgres'}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotConfigured, match=r"pip install qaqpa\[postgres\]"):
        store_at(f"{engine}://localhost/qaqpa", tmp_path)
    store_at("sqlite:///x.db", tmp_path)
