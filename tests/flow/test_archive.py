"""A month that is over is moved to a file: its bodies are gone from the database, and the whole still verifies."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.errors import InvalidRequest, NotFound, StoreUnavailable, VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.gateway.setup import make_upkeep
from qaqpa.ledger import archive, entries
from qaqpa.ledger.archive import Archived, archives, from_folder
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import entry_at
from qaqpa.ledger.verifications import VerificationResult, last_verification
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.words import timestamp
from qaqpa.store import store_at

PERSON = PEOPLE[0]
SAID = {"person": "A. Operator", "reason": "room"}
ACT = ("--caller", "compliance", "--person", "A. Operator", "--reason", "room")
TWO_MONTHS, ONE_MONTH = timedelta(days=-62), timedelta(days=-31)


def month_of(house: House, offset: timedelta) -> int:
    at = house.clock() - house.clock.offset + offset
    return at.year * 100 + at.month


def written(month: int) -> str:
    return f"{month // 100}-{month % 100:02d}"


async def history(house: House) -> list[int]:
    """Entries of the month before the last one, of the last one and of this; returns the two that are over."""
    for offset in (TWO_MONTHS, ONE_MONTH, timedelta(0)):
        house.clock.offset = offset
        async with house.gateway() as gateway:
            for person in PEOPLE[:2]:
                await give_consent(house, gateway, person)
                await gateway.disclose("loan-scoring", request(request_document(person)))
    return [month_of(house, TWO_MONTHS), month_of(house, ONE_MONTH)]


async def move(gateway: Gateway, month: int, folder: Path) -> Archived:
    return await gateway.compliance.archive("compliance", month, folder, **SAID)


def bodies_of(gateway: Gateway, month: int) -> int:
    with gateway.store.snapshot() as connection:
        return int(connection.execute("SELECT count(*) FROM entries WHERE month = ?", (month,)).scalar())


def whole(gateway: Gateway, folder: Path | None) -> Verified:
    with gateway.store.snapshot() as connection:
        return verify(connection, key=gateway.setup.log_key, archived=None if folder is None else from_folder(folder))


@both_engines
async def test_a_month_is_moved_and_with_its_file_the_whole_verifies(house: House, tmp_path: Path) -> None:
    months = await history(house)
    folder = tmp_path / "files"
    async with house.gateway() as gateway:
        before = whole(gateway, None)
        with gateway.store.snapshot() as connection:
            stood = [entry_at(connection, index).body for index in range(before.size)]
        moved = await move(gateway, months[0], folder)
        path = folder / moved.file
        assert (moved.month, moved.entries, moved.file) == (months[0], 7, f"entries-{written(months[0])}.txt")
        assert moved.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(from_folder(folder)(months[0])) == list(enumerate(stood[:7]))
        assert bodies_of(gateway, months[0]) == 0

        without, with_files = whole(gateway, None), whole(gateway, folder)
        assert (without.unread, with_files.unread) == (7, 0)
        assert without.root == with_files.root and with_files.size == before.size + 1
        assert with_files.kinds["intent"] == 6

        await move(gateway, months[1], folder)
        assert whole(gateway, folder).unread == 0
        with gateway.store.snapshot() as connection:
            assert [each.month for each in archives(connection)] == months
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert whole(gateway, folder).kinds["intent"] == 7


@both_engines
async def test_the_act_is_an_entry_that_names_the_file_and_its_digest(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        moved = await move(gateway, months[0], tmp_path / "files")
        size = whole(gateway, None).size
        with gateway.store.snapshot() as connection:
            entry = entry_at(connection, size - 1).content
            assert archives(connection) == [moved]
            with pytest.raises(NotFound, match="was moved to a file"):
                entry_at(connection, 2)
        assert [entry[name] for name in ("act", "caller", "person", "month", "entries", "sha256", "file")] == [
            "archive", "compliance", SAID["person"], moved.month, 7, moved.sha256, moved.file,
        ]  # fmt: skip


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_the_partition_is_gone(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        await move(gateway, months[0], tmp_path / "files")
        with gateway.store.snapshot() as connection:
            query = "SELECT to_regclass(?)::text"
            there = [connection.execute(query, (f"entries_{month}",)).scalar() for month in months]
        assert there == [None, f"entries_{months[1]}"]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_beside_a_long_read_it_is_refused_in_words_and_nobody_waits_for_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = await history(house)
    folder = tmp_path / "files"
    async with house.gateway() as gateway, house.gateway() as other:
        asked = request(request_document(PERSON))
        await other.disclose("loan-scoring", asked)
        with gateway.store.snapshot() as reader:
            assert reader.execute("SELECT count(*) FROM entries").scalar()
            moving = asyncio.create_task(move(gateway, months[0], folder))
            await asyncio.sleep(0.2)
            while not moving.done():
                began = asyncio.get_running_loop().time()
                await other.disclose("loan-scoring", asked)
                assert asyncio.get_running_loop().time() - began < 1.5
            with pytest.raises(InvalidRequest, match="while the ledger is read at length"):
                await moving
            assert list(folder.iterdir()) == []
            moving = asyncio.create_task(move(gateway, months[0], folder))
            await asyncio.sleep(0.5)
        assert (await moving).entries == 7  # the read was over in time
        assert whole(gateway, folder).unread == 0


@both_engines
async def test_the_file_of_a_move_that_was_surely_undone_is_removed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        real = gateway.ledger.record

        async def failing(*_given: object, **_named: object) -> int:
            raise StoreUnavailable("no session")

        monkeypatch.setattr(gateway.ledger, "record", failing)
        with pytest.raises(StoreUnavailable):
            await move(gateway, months[0], tmp_path / "files")
        assert list((tmp_path / "files").iterdir()) == []
        monkeypatch.setattr(gateway.ledger, "record", real)

        async def answer_lost(*given: Any, **named: Any) -> int:
            await real(*given, **named)
            raise StoreUnavailable("the answer to the commit was lost")

        monkeypatch.setattr(gateway.ledger, "record", answer_lost)
        with pytest.raises(StoreUnavailable):
            await move(gateway, months[0], tmp_path / "files")
        assert whole(gateway, tmp_path / "files").unread == 0, "it was moved, and this is the only copy"


@both_engines
async def test_a_session_that_knew_the_month_goes_on_after_it_was_moved(house: House, tmp_path: Path) -> None:
    months = await history(house)
    late = house.clock() + TWO_MONTHS
    async with house.gateway() as gateway, house.gateway() as other:
        for _ in range(2):  # the second time each session knows the month's partition
            for each in (gateway, other):
                await each.ledger.record(Kind.REVIEW, entries.review("compliance", "list", {}, at=late))
        await make_upkeep(gateway.setup, gateway.ledger)._checkpoints.make()
        assert (await move(gateway, months[0], tmp_path)).entries == 11
        for each in (other, gateway):
            await each.ledger.record(Kind.REVIEW, entries.review("compliance", "list", {}, at=late))
        await other.disclose("loan-scoring", request(request_document(PERSON)))
        assert bodies_of(gateway, months[0]) == 2
        await make_upkeep(gateway.setup, gateway.ledger)._checkpoints.make()
        with pytest.raises(InvalidRequest, match=r"was moved to .* before; what was entered into it since stays"):
            await move(gateway, months[0], tmp_path / "again")
        assert whole(gateway, tmp_path).unread == 0


@both_engines
async def test_the_month_that_is_not_over_is_refused(house: House, tmp_path: Path) -> None:
    await history(house)
    async with house.gateway() as gateway:
        for offset in (timedelta(0), timedelta(days=40)):
            with pytest.raises(InvalidRequest, match="is not over yet"):
                await move(gateway, month_of(house, offset), tmp_path / "files")
        assert not (tmp_path / "files").exists()


@both_engines
async def test_a_month_is_moved_once(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        moved = await move(gateway, months[0], tmp_path / "files")
        for folder in (tmp_path / "files", tmp_path / "others"):
            with pytest.raises(InvalidRequest, match=f"was moved to {moved.file} before"):
                await move(gateway, months[0], folder)
        assert whole(gateway, tmp_path / "files").unread == 0


@both_engines
async def test_nothing_is_overwritten_and_a_month_without_entries_leaves_no_file(house: House, tmp_path: Path) -> None:
    months = await history(house)
    folder = tmp_path / "files"
    folder.mkdir()
    taken = folder / archive.file_name(months[0])
    taken.write_bytes(b"something")
    async with house.gateway() as gateway:
        with pytest.raises(InvalidRequest, match="exists; nothing is overwritten"):
            await move(gateway, months[0], folder)
        assert taken.read_bytes() == b"something"
        with pytest.raises(NotFound, match="there is no entry of 2020-01"):
            await move(gateway, 202001, folder)
        assert [each.name for each in folder.iterdir()] == [taken.name]
        assert whole(gateway, None).unread == 0


@both_engines
async def test_what_is_entered_into_the_month_while_it_is_written_is_not_lost(house: House, tmp_path: Path) -> None:
    # With a clock that was set back, an entry that needs no right date is still dated in a month that is over.
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"))
    months = await history(house)
    folder = tmp_path / "files"
    async with house.gateway() as gateway:
        record = gateway.ledger.record

        async def then_record(*given: object, **named: object) -> int:
            late = entries.review("compliance", "list", {}, at=house.clock() + TWO_MONTHS)
            await record(Kind.REVIEW, late)
            return await record(*given, **named)  # type: ignore[arg-type]

        gateway.ledger.record = then_record  # type: ignore[method-assign]
        with pytest.raises(InvalidRequest, match="got entries while it was written"):
            await move(gateway, months[0], folder)
        gateway.ledger.record = record  # type: ignore[method-assign]
        assert whole(gateway, None).unread == 0
        assert list(folder.iterdir()) == []
        with pytest.raises(InvalidRequest, match="is not in the tree yet"):
            await move(gateway, months[0], folder)
        assert list(folder.iterdir()) == []
        await make_upkeep(gateway.setup, gateway.ledger)._checkpoints.make()
        assert (await move(gateway, months[0], folder)).entries == 8
        assert whole(gateway, folder).unread == 0


@both_engines
async def test_what_is_entered_into_the_month_after_it_was_moved_verifies(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        await move(gateway, months[0], tmp_path)
        late = entries.review("compliance", "list", {}, at=house.clock() + TWO_MONTHS)
        await gateway.ledger.record(Kind.REVIEW, late)
        assert timestamp(house.clock() + TWO_MONTHS)[:7] == written(months[0])
        assert bodies_of(gateway, months[0]) == 1
        assert (whole(gateway, None).unread, whole(gateway, tmp_path).unread) == (7, 0)


@both_engines
async def test_a_file_that_cannot_be_written_moves_nothing(house: House, tmp_path: Path) -> None:
    months = await history(house)
    (tmp_path / "file").write_text("")
    async with house.gateway() as gateway:
        with pytest.raises(StoreUnavailable, match=r"cannot be written: .*nothing was moved"):
            await move(gateway, months[0], tmp_path / "file" / "folder")
        assert whole(gateway, None).unread == 0


def swapped(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


def shortened(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


SPOILT: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff\x00 garbage\n"),
    "an entry edited": lambda path: path.write_bytes(path.read_bytes().replace(b'"delivered"', b'"rejected!"', 1)),
    "an entry gone at the end": shortened,
    "two entries swapped": swapped,
}


@pytest.mark.promise(4)
@pytest.mark.parametrize("spoilt", SPOILT)
async def test_a_file_that_is_not_what_was_moved_is_found_out(house: House, spoilt: str, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        moved = await move(gateway, months[0], tmp_path / "files")
        SPOILT[spoilt](tmp_path / "files" / moved.file)
        with pytest.raises(VerificationFailed):
            whole(gateway, tmp_path / "files")
        assert whole(gateway, None).unread == 7
    ran = await house.cli("ledger", "verify", "--archives", str(tmp_path / "files"))
    assert ran.code == 6 and ran.err.strip().startswith("verification_failed: "), ran.err


@pytest.mark.promise(4)
async def test_the_file_of_another_month_is_found_out(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        files = [tmp_path / (await move(gateway, month, tmp_path)).file for month in months]
        shutil.copy(files[1], files[0])
        with pytest.raises(VerificationFailed, match="does not hold entry 0"):
            whole(gateway, tmp_path)


@both_engines
async def test_from_a_shell(house: House, tmp_path: Path, store_url: str) -> None:
    months = await history(house)
    folder = str(tmp_path / "files")
    ran = await house.cli("ledger", "archive", written(months[0]), "--to", folder, *ACT)
    assert ran.code == 0 and "moved 7 entries to" in ran.out, ran.err
    alone = await house.cli("ledger", "verify")
    assert alone.code == 0 and "7 entries lie in files" in " ".join(alone.out.split()) and "--archives" in alone.out
    assert (await house.cli("ledger", "verify", "--json")).json["unread"] == 7
    assert (await house.cli("ledger", "verify", "--whole")).code == 6
    with store_at(store_url, house.home).snapshot() as connection:
        told = last_verification(connection)
        assert told is not None and told.result is VerificationResult.PARTLY, "nothing that was read is wrong"
        assert connection.execute("SELECT count(*) FROM alerts").scalar() == 0
    checked = await house.cli("ledger", "verify", "--archives", folder)
    assert checked.code == 0 and "lie in files" not in checked.out
    again = await house.cli("ledger", "archive", written(months[0]), "--to", folder, *ACT)
    assert again.code == 2 and "before" in again.err
    for month in ("2026", "2026-13", "26-01", "x"):
        wrong = await house.cli("ledger", "archive", month, "--to", folder, *ACT)
        assert wrong.code == 2 and "is written as 2026-01" in wrong.err


@both_engines
async def test_people_whose_entries_were_moved_are_served_and_their_keys_rotated(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        before = await gateway.ledger.subjects.find(PERSON.iin)
        await move(gateway, months[0], tmp_path)
        await gateway.store.write(lambda connection: connection.execute("UPDATE subjects SET iin = NULL"))
        await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)
        assert await gateway.ledger.subjects.find(PERSON.iin) == before
        assert whole(gateway, tmp_path).unread == 0
