"""A disk that is full or read-only, a clock that was set back, keys that are gone: nothing leaves, exit code 5."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from datetime import timedelta

import pytest

from books import Intruder
from harness import PEOPLE, House, Ran, both_engines, give_consent, request, request_document
from qaqpa.errors import ClockSetBack, StoreUnavailable
from qaqpa.store import Connection
from qaqpa.store.sqlite import _PRAGMAS

PERSON = PEOPLE[0]


async def installed(house: House) -> str:
    """A consent on record; the request that it covers, as a file."""
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    return house.write("request.json", request_document(PERSON))


async def disclose(path: str, *, largest_file: int | None = None) -> Ran:
    """`qaqpa disclose` in a process of its own, which may write no file longer than `largest_file` bytes."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    def work() -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "qaqpa", "disclose", path, "--caller", "loan-scoring", "--json"],
            capture_output=True, text=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, preexec_fn=limit,
            check=False, timeout=60,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(work)


@pytest.mark.promise(1)
@pytest.mark.parametrize("room", [0, 4096, 8192, 16384])
async def test_on_a_full_disk_nothing_leaves(house: House, room: int) -> None:
    path = await installed(house)
    database = house.home / "qaqpa.db"
    # The write-ahead log is what grows; the limit lets it have `room` bytes.
    ran = await disclose(path, largest_file=room)
    assert ran.code == 5 and ran.json["code"] == "store_unavailable", ran.out + ran.err
    assert "nothing was sent" in ran.json["detail"]
    assert house.fcb.connections == 0
    async with house.gateway() as gateway:
        assert house.verified(gateway).kinds.get("intent", 0) == 0
    assert database.exists()
    assert (await disclose(path)).code == 0  # with room again it works


@pytest.mark.promise(1)
async def test_on_a_read_only_database_nothing_leaves(house: House) -> None:
    path = await installed(house)
    house.edit("gateway.toml", ("sqlite:///qaqpa.db", "sqlite:///file:qaqpa.db?mode=ro&uri=true"))
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, ran.json["code"]) == (5, "store_unavailable"), ran.out
    assert house.fcb.connections == 0


@pytest.mark.promise(1)
async def test_while_another_process_holds_the_database_nothing_leaves(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await installed(house)
    monkeypatch.setattr("qaqpa.store.sqlite._PRAGMAS", ("PRAGMA busy_timeout = 200", *_PRAGMAS[1:]))
    holder = sqlite3.connect(house.home / "qaqpa.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert (ran.code, ran.json["code"]) == (5, "store_unavailable"), ran.out
    assert house.fcb.connections == 0


@pytest.mark.promise(1)
async def test_a_disk_that_fills_after_opening_stops_the_next_disclosure(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON))
        await gateway.disclose("loan-scoring", asked)
        # From here on SQLite itself says that there is no page left; a little room in those that it has may remain.
        await gateway.store.write(fill)
        with pytest.raises(StoreUnavailable, match=r"SQLITE_FULL|could not be entered"):
            for _ in range(20):
                await gateway.disclose("loan-scoring", asked)
        calls = len(house.fcb.calls)
        with pytest.raises(StoreUnavailable):
            await gateway.disclose("loan-scoring", asked)
        assert len(house.fcb.calls) == calls == house.verified(gateway).kinds["intent"]


def fill(connection: Connection) -> None:
    """Let the writer's connection have no page more than it has."""
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').scalar()}").first()


@pytest.mark.promise(3)
@both_engines
async def test_with_the_clock_set_back_nothing_leaves(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        # In an hour somebody discloses; then the clock goes back by that hour.
        house.clock.offset = timedelta(hours=1)
        await give_consent(house, gateway, PEOPLE[1])
        house.clock.offset = timedelta(0)
        with pytest.raises(ClockSetBack, match="set the clock right"):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        with pytest.raises(ClockSetBack):
            await give_consent(house, gateway, PEOPLE[2])
    ran = await house.cli(
        "disclose", house.write("request.json", request_document(PERSON)), "--caller", "loan-scoring", "--json"
    )
    assert (ran.code, ran.json["code"]) == (5, "clock_set_back")
    assert house.fcb.connections == 0


@both_engines
async def test_a_refusal_is_entered_even_with_the_clock_set_back(house: House) -> None:
    async with house.gateway() as gateway:
        house.clock.offset = timedelta(hours=1)
        await give_consent(house, gateway, PEOPLE[1])
    ran = await house.cli(
        "disclose", house.write("request.json", request_document(PERSON)), "--caller", "loan-scoring", "--json"
    )
    assert (ran.code, ran.json["code"]) == (1, "denied")


@both_engines
@pytest.mark.parametrize("harm", ["missing", "open to others", "of another database", "cut short"])
async def test_without_the_right_keyring_nothing_leaves(house: House, harm: str) -> None:
    path = await installed(house)
    keyring = house.home / "keyring.json"
    if harm == "open to others":
        keyring.chmod(0o644)
    elif harm == "cut short":
        keyring.write_text(keyring.read_text()[:40])
    else:
        keyring.unlink()
    if harm == "of another database":
        assert (await house.cli("keys", "init")).code == 0
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, ran.json["code"]) == (5, "keyring_error")
    assert house.fcb.connections == 0


@both_engines
async def test_verification_that_fails_says_where_and_exits_with_6(house: House, store_url: str) -> None:
    await installed(house)
    intruder = Intruder(store_url, house.home)
    body = bytes(intruder.value("SELECT body FROM entries WHERE idx = 1"))
    intruder.change("UPDATE entries SET body = ? WHERE idx = 1", body.replace(b"otp", b"kdp"))
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"], ran.json["index"]) == (6, False, 1)
    ran = await house.cli("ledger", "verify")
    assert ran.code == 6
    assert "entry 1 was changed" in ran.err
